"""Checkpoints with parts taken from another checkpoint of the same series (docs/references.md#singh-2025-halves).

A graft is post hoc: nothing is trained. The host is each step of a series in turn, the donor one
fixed step, and the parts that change hands are named as data:

    PARTS of `treatments.GROUPS`        'embeddings', 'unembedding' (with the final LayerNorm),
                                        'attention.L', 'mlp.L', 'layer.L', 'all', ...
    'qk', 'qk.L'                        W_Q and W_K of all layers, or of layer L: where heads look
    'ov', 'ov.L'                        W_V and W_O: what heads copy
    'encoder', 'exemplar_embed', 'embed', 'pos_embed'  one of the parts that 'embeddings' holds: the
                                        convolutions, the linear map of exemplars (with its bias),
                                        labels, learned positions

`first_half` is the embeddings and all layers but the last; `second_half` the last layer, the
final LayerNorm and the unembedding: the published split. With `rest`, everything *but* the parts
comes from the donor: the donor's model with the host's parts. In 'qk' and 'ov' the LayerNorm that
the heads read through stays where it is.

A graft that fails may only show that parts of different steps no longer fit together, so a row
is to be read beside a graft of the same parts from a step without ICL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from mechicl.config import Config, ModelConfig
from mechicl.engine.forward import forward
from mechicl.errors import ConfigError
from mechicl.evaluators import Metrics, metric_rows, score, wanted_of
from mechicl.loading import at_least, check_types
from mechicl.measures.cache import cached
from mechicl.measures.tables import chosen_steps, one_by_one, tidy
from mechicl.models.params import Params, pack, shapes
from mechicl.registry import applying
from mechicl.series import Series
from mechicl.system.surroundings import reading
from mechicl.tasks.batch import TaskBatch
from mechicl.treatments import GROUPS, in_groups

__all__ = ["Graft", "evaluate_grafts"]

_HALVES = {"qk": ("W_Q", "W_K"), "ov": ("W_V", "W_O")}  # of attention
_TABLES = ("encoder", "exemplar_embed", "embed", "pos_embed")


@dataclass(frozen=True, kw_only=True)
class Graft:
    """parts: names as in the module; source: the donor's step; rest: all but the parts instead."""

    parts: tuple[str, ...]
    source: int
    rest: bool = False

    def __post_init__(self) -> None:
        check_types(self, "graft")
        at_least("graft", self, source=0)

    def __str__(self) -> str:
        return f"graft {'all but ' if self.rest else ''}{' '.join(self.parts)} from step {self.source}"

    def takes(self, name: str) -> bool:
        """Whether a parameter (its TransformerLens name) is the donor's."""
        return self.rest != in_parts(name, self.parts)

    def check(self, config: Config) -> None:
        """Raise if a part is none of this model's."""
        for part in self.parts:
            if not any(in_parts(name, (part,)) for name in shapes(config)):
                names = (*GROUPS, *_HALVES, *(f"{half}.L" for half in _HALVES), *_TABLES)
                raise ConfigError(f"graft: this model has no part {part!r}: expected one of {', '.join(names)}, with L "
                                  f"a layer, 0..{config.model.n_layers - 1}.")  # fmt: skip


def in_parts(name: str, parts: Iterable[str]) -> bool:
    """Whether a parameter, by its TransformerLens name, belongs to one of the parts."""
    return any(_in_part(name, part) for part in parts)


def _in_part(name: str, part: str) -> bool:
    half, _, layer = part.partition(".")
    if part in _TABLES:
        return name.startswith(f"{part}.")
    if half in _HALVES:
        ends = tuple(f".attn.{w}" for w in _HALVES[half])
        return name.endswith(ends) and (not layer or name.startswith(f"blocks.{layer}."))
    known = part in GROUPS[:5] or (f"{half}.L" in GROUPS and layer.isdigit())
    return known and in_groups(name, (part,))


def first_half(model: ModelConfig) -> tuple[str, ...]:
    """Embeddings and every layer but the last."""
    return ("embeddings", *(f"layer.{la}" for la in range(model.n_layers - 1)))


def second_half(model: ModelConfig) -> tuple[str, ...]:
    """The last layer, the final LayerNorm and the unembedding."""
    return (f"layer.{model.n_layers - 1}", "unembedding")


def grafted(host: Params, donor: Params, graft: Graft) -> Params:
    """The host's weights with the donor's parts. TransformerLens names and shapes; nothing is copied."""
    return {name: donor[name] if graft.takes(name) else w for name, w in host.items()}


@reading()
def evaluate_grafts(
    series: Series,
    grafts: Sequence[Graft],
    steps: Iterable[int] | None = None,
    evaluators: Iterable[str] | None = None,
    n: int | None = None,
    metrics: Metrics | None = "recorded",
    fold: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """The tidy table of host steps x (intact + each graft) x evaluators x metrics.

    Args:
        steps: the hosts, default all; evaluators: default all.
        n: sequences per evaluator; fold: which evaluation set.
        metrics: None for the primary metric of each evaluator alone.

    Returns:
        As `measures.ablation.evaluate`; `intervention` names the graft ('intact' first), `baseline`
        the donor ('step 2500'). All are measured on the same sequences, so that
        `measures.ablation.effects` of this table are paired.
    """
    for graft in grafts:
        graft.check(series.config)
    chosen = chosen_steps(series, steps)
    donors = {step: series.weights(step) for step in sorted({g.source for g in grafts})}
    names = list(applying(series.config) if evaluators is None else evaluators)
    sets = {name: series.evaluation_set(name, n, fold) for name in names}
    wanted = {name: wanted_of(name, batch, metrics) for name, batch in sets.items()}
    settings = {
        "evaluators": wanted, "grafts": [asdict(g) for g in grafts], "fold": fold,
        "n": {name: len(batch) for name, batch in sets.items()},
        "donors": {str(step): series.entry(step).sha256 for step in donors},
    }  # fmt: skip

    def rows() -> Iterator[dict]:
        for step in one_by_one(chosen, "grafts", progress):
            host = series.weights(step)
            for graft in (None, *grafts):
                weights = host if graft is None else grafted(host, donors[graft.source], graft)
                named = {"step": step, "intervention": str(graft) if graft else "intact",
                         "baseline": f"step {graft.source}" if graft else ""}  # fmt: skip
                for row in scored_rows(pack(weights), sets, wanted, series.config.model):
                    yield named | row

    return cached(series, "grafts", chosen, settings, lambda: tidy(series, rows()))


def scored_rows(
    params: Params, sets: dict[str, TaskBatch], wanted: dict[str, tuple[str, ...]], model: ModelConfig
) -> Iterator[dict]:
    """Rows evaluator, metric, value, n, ci_low, ci_high of one model (plain packed parameters)."""
    for name, batch in sets.items():
        final = forward(params, batch, model).final
        yield from metric_rows(name, score(params, final, batch, wanted[name]))
