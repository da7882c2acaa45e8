"""Weights changed by hand: parts taken from another checkpoint of the same series
(docs/references.md#singh-2025-halves).

A graft is post hoc: nothing is trained. The donor is one step, and the parts that change hands are named as data:

    PARTS of `treatments.GROUPS`        'embeddings', 'unembedding' (with the final LayerNorm),
                                        'attention.L', 'mlp.L', 'layer.L', 'all', ...
    'qk', 'qk.L'                        W_Q and W_K of all layers, or of layer L: where heads look
    'ov', 'ov.L'                        W_V and W_O: what heads copy
    'encoder', 'exemplar_embed', 'embed', 'pos_embed'  one of the parts that 'embeddings' holds: the
                                        convolutions, the linear map of exemplars (with its bias),
                                        labels, learned positions

In 'qk' and 'ov' the LayerNorm that the heads read through stays where it is.

A graft that fails may only show that parts of different steps no longer fit together, so read it beside a graft of the
same parts from another step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mechicl.config import ModelConfig
from mechicl.errors import ConfigError
from mechicl.interventions.base import Checkpoint, Intervention
from mechicl.loading import at_least, check_types
from mechicl.models.params import Params
from mechicl.treatments import GROUPS, in_groups

_HALVES = {"qk": ("W_Q", "W_K"), "ov": ("W_V", "W_O")}  # of attention
_TABLES = ("encoder", "exemplar_embed", "embed", "pos_embed")


@dataclass(frozen=True, kw_only=True)
class Graft(Intervention):
    """parts: names as in the module; source: the donor's step; rest: all but the parts instead."""

    parts: tuple[str, ...]
    source: int
    rest: bool = False

    def __post_init__(self) -> None:
        check_types(self, "graft")
        at_least("graft", self, source=0)

    def __str__(self) -> str:
        return f"graft {'all but ' if self.rest else ''}{' '.join(self.parts)} from step {self.source}"

    @property
    def baseline(self) -> str:
        return f"step {self.source}"

    @property
    def donors(self) -> tuple[int, ...]:
        return (self.source,)

    def takes(self, name: str) -> bool:
        """Whether a parameter (its TransformerLens name) is the donor's."""
        return self.rest != in_parts(name, self.parts)

    def weights(self, weights: Params, checkpoint: Checkpoint) -> Params:
        """The host's weights with the donor's parts; nothing is copied.

        Raises:
            ConfigError: a part is none of this model's.
        """
        layers = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
        for part in self.parts:
            if not any(in_parts(name, (part,)) for name in weights):
                names = (*GROUPS, *_HALVES, *(f"{half}.L" for half in _HALVES), *_TABLES)
                raise ConfigError(
                    f"graft: this model has no part {part!r}: expected one of {', '.join(names)}, with L "
                    f"a layer, 0..{layers - 1}."
                )
        donor = checkpoint(self.source)
        return {name: donor[name] if self.takes(name) else w for name, w in weights.items()}


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
