"""Attention heads taken out: their output before W_O (`hook_z`) replaced by a baseline.

What later layers make of the change can be held back in part: `hold` keeps their attention patterns, queries,
keys or values as in the intact model, so that a head acts through the rest alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit
from mechicl.errors import ConfigError
from mechicl.interventions.base import Intervention
from mechicl.interventions.baselines import BASELINES as BASELINES
from mechicl.interventions.baselines import Kind as Kind
from mechicl.interventions.baselines import of_others
from mechicl.loading import check_types, whole
from mechicl.protocol.batch import TaskBatch

Held = Literal["pattern", "q", "k", "v"]
HELD = {"pattern": "attention patterns", "q": "queries", "k": "keys", "v": "values"}
_HOLDS: dict[str, tuple[Held, ...]] = {"pattern_preserving": ("pattern",), "value_preserving": ("v",)}


class OfHeads(Intervention):
    """An intervention on the heads in its field `heads`: what all of these have in common."""

    heads: tuple[tuple[int, int], ...]

    @property
    def first_layer(self) -> int:
        """The layer from which activations differ from the intact model's."""
        return min((layer for layer, _ in self.heads), default=0)

    @property
    def place(self) -> tuple[int | None, int | None]:
        return self.heads[0] if len(self.heads) == 1 else (None, None)

    def check(self, model: ModelConfig) -> None:
        """Raise if a head is not one of the model's."""
        check_heads(self.heads, model)

    drawn: ClassVar[Mapping[str, str]] = {"heads": "heads"}

    def controls(self, model: ModelConfig, count: int) -> list[Intervention]:
        sets = matched_sets(model, self.heads, count, 100 * count)
        return [replace(self, heads=heads) for heads in sets]  # type: ignore[type-var] (subclasses are dataclasses)


@dataclass(frozen=True, kw_only=True, repr=False)
class AblateHeads(OfHeads):
    """Replace the output of attention heads by a baseline.

    heads: (layer, head) pairs, counted from 0; kind: the baseline (BASELINES). hold: what keeps its intact value in
    the layers after the first ablated layer: any of 'pattern', 'q', 'k' and 'v'. Queries and keys are held before
    rotary positions are applied; holding them afterwards would be the same, because the rotation is fixed. With
    `hold=("k", "v")` only later queries are recomputed. With `hold=("q", "k", "v")` only the heads' direct effect on
    the output is removed. The two 'preserving' kinds are those of Singh et al. 2024
    (docs/references.md#singh-2024-measures): kind 'zero' with 'pattern' or 'v' held.

    Examples:
        >>> print(mechicl.AblateHeads(heads=((0, 5), (1, 3)), kind="mean"))
        mean L0H5 L1H3
        >>> mechicl.AblateHeads(heads=((0, 5),), hold=("k", "v")).baseline
        '0, with the keys and values of later layers held at their intact values'
    """

    heads: tuple[tuple[int, int], ...]
    kind: Kind = "zero"
    hold: tuple[Held, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", head_pairs(self.heads))
        check_types(self, "AblateHeads")
        object.__setattr__(self, "hold", _in_order(self.hold))

    def __str__(self) -> str:
        held = f", {' '.join(self.hold)} held" if self.hold else ""
        return f"{self.kind} {names(self.heads)}{held}"

    def __repr__(self) -> str:
        held = f", hold={self.hold!r}" if self.hold else ""
        return f"AblateHeads(heads={self.heads!r}, kind={self.kind!r}{held})"

    @property
    def held(self) -> tuple[Held, ...]:
        """All that is held, by the kind or by `hold`."""
        return _in_order((*_HOLDS.get(self.kind, ()), *self.hold))

    @property
    def baseline(self) -> str:
        if not self.hold:
            return BASELINES[self.kind]
        what = BASELINES["zero" if self.kind in _HOLDS else self.kind]
        held = _listing([HELD[part] for part in self.held])
        return f"{what}, with the {held} of later layers held at their intact values"

    @property
    def family(self) -> str:
        return self.kind + (f", {' '.join(self.hold)} held" if self.hold else "")

    def same_pattern(self, layer: int, head: int) -> str:
        """An ablated head is no exception: its output is removed, behind its pattern."""
        if "pattern" in self.held:
            return "patterns are held"
        if layer > self.first_layer:
            return ""
        its = (layer, head) in self.heads
        return "its output is removed, not its pattern" if its else "nothing before it is removed"

    @property
    def note(self) -> str:
        if "pattern" in self.held:
            return "Every pattern is held as in the intact model; the ablated heads' output is removed."
        return (
            "An ablated head's output is removed, not its pattern: it still attends, and what it reads goes "
            "nowhere. Patterns of later layers may change."
        )

    def needs(self, model: ModelConfig) -> list[str]:
        hooks = needs(self.kind, model)
        return list(dict.fromkeys([*hooks, *(name for part in self.held for name in _hooks(part, model))]))

    def edits(
        self, model: ModelConfig, intact: Mapping[str, Tensor], batch: TaskBatch | None = None
    ) -> dict[str, Edit]:
        out: dict[str, Edit] = {}
        like = next(iter(intact.values())) if intact else batch
        device = None if like is None else like.device
        for layer in sorted({layer for layer, _ in self.heads}):
            # [c, b, t, h, k], not broadcast along k: heads and their dimensions are then one axis to torch, 4x faster
            keep = torch.ones(1, 1, 1, model.n_heads, model.d_head)
            keep[..., [head for la, head in self.heads if la == layer], :] = 0
            keep = keep.to(device)
            name = f"blocks.{layer}.attn.hook_z"
            # By kind, not by what `intact` happens to hold: other kinds' needs may be in it too.
            replaced = self.kind in ("mean", "resample")
            out[name] = Edit(keep, of_others(intact[name], self.kind, -4) * (1 - keep) if replaced else 0.0)
        # Up to the first ablated layer everything is intact: nothing to hold there.
        later = [name for part in self.held for name in _hooks(part, model)[self.first_layer + 1 :]]
        return out | {name: Edit(0.0, intact[name]) for name in later}


def _hooks(part: str, model: ModelConfig) -> list[str]:
    return [f"blocks.{la}.attn.hook_{part}" for la in range(model.n_layers)]


def _in_order(parts: Iterable[Held]) -> tuple[Held, ...]:
    given = set(parts)
    return tuple(part for part in get_args(Held) if part in given)


def _listing(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def names(heads: Iterable[tuple[int, int]]) -> str:
    """Heads as they are written everywhere: 'L0H1 L1H3'."""
    return " ".join(f"L{la}H{h}" for la, h in heads) or "nothing"


def head_pairs(heads: object, called: str = "heads") -> tuple[tuple[int, int], ...]:
    """(layer, head) pairs in order, each once, from whatever pairs can be; `called`: the argument, in an error.

    Raises:
        ConfigError: these are none.
    """
    return tuple(sorted({_pair(head, heads, called) for head in _listed(heads, called)}))


def check_heads(heads: Iterable[tuple[int, int]], model: ModelConfig) -> None:
    """Raise ConfigError if a head is not one of the model's."""
    for layer, head in heads:
        if not (0 <= layer < model.n_layers and 0 <= head < model.n_heads):
            raise ConfigError(
                f"there is no head L{layer}H{head}: this model has layers 0..{model.n_layers - 1} "
                f"with heads 0..{model.n_heads - 1}."
            )


def _listed(heads: object, called: str) -> Iterable[Any]:
    if isinstance(heads, (str, bytes)) or not isinstance(heads, Iterable):
        raise ConfigError(f"{called}={heads!r}: expected (layer, head) pairs, such as {called}=((0, 1), (1, 3)).")
    return heads


def _pair(head: object, heads: object, called: str) -> tuple[int, int]:
    """(layer, head) as ints, from whatever a pair can be: a tuple, a list, a row of an array."""
    try:
        layer, number = head  # type: ignore[misc]
        return whole("layer", layer), whole("head", number)
    except (TypeError, ValueError):  # no pair; or of what are no whole numbers (ConfigError is a ValueError)
        pass
    near = ""
    if isinstance(heads, (tuple, list)) and len(heads) == 2 and all(isinstance(x, int) for x in heads):
        near = f" One head is a pair in a tuple: {called}=(({heads[0]}, {heads[1]}),)."
    raise ConfigError(
        f"{called}={heads!r}: expected (layer, head) pairs, whole numbers, such as {called}=((0, 1), (1, 3)); "
        f"{head!r} is not a pair.{near}"
    )


def every_head(model: ModelConfig, kind: Kind = "zero") -> list[AblateHeads]:
    """One ablation for each head of the model.

    Args:
        model: the model's config, such as `series.config.model`.
        kind: the replacement of a head's output (`BASELINES`).

    Returns:
        One `AblateHeads` per head, by layer and then by head.

    Examples:
        >>> len(mechicl.every_head(series.config.model))
        16
    """
    return [
        AblateHeads(heads=((layer, head),), kind=kind)
        for layer in range(model.n_layers)
        for head in range(model.n_heads)
    ]


def only_head(model: ModelConfig, layer: int, head: int, kind: Kind = "zero") -> AblateHeads:
    """All other heads of the head's layer ablated ('only this head', Singh et al. 2024: docs/references.md#ih4)."""
    rest = tuple((layer, h) for h in range(model.n_heads) if h != head)
    return AblateHeads(heads=rest, kind=kind)


def random_heads(
    model: ModelConfig,
    count: int,
    rng: np.random.Generator,
    *,
    layer: int | None = None,
    excluding: Collection[tuple[int, int]] = (),
) -> tuple[tuple[int, int], ...]:
    """`count` different random heads, as a control: of one layer or of all layers, without those in `excluding`.

    Raises:
        ConfigError: there are not enough heads.
    """
    layers = range(model.n_layers) if layer is None else [layer]
    heads = [(la, h) for la in layers for h in range(model.n_heads) if (la, h) not in excluding]
    if len(heads) < count:
        raise ConfigError(
            f"expected at most {len(heads)} random heads, which is the number of candidates, not {count}."
        )
    return tuple(sorted(heads[int(i)] for i in rng.choice(len(heads), count, replace=False)))


def matched_heads(
    model: ModelConfig,
    like: Collection[tuple[int, int]],
    rng: np.random.Generator,
    apart: Collection[tuple[int, int]] = (),
) -> tuple[tuple[int, int], ...]:
    """The control of a set of heads: as many random other heads, from the same layers if these have enough. The rest is
    drawn from other layers. If `like` is most of the model, it is all other heads. apart: heads never drawn."""
    drawn: list[tuple[int, int]] = []
    out = {*like, *apart}
    for layer in range(model.n_layers):
        count, free = sum(la == layer for la, _ in like), model.n_heads - sum(la == layer for la, _ in out)
        drawn += random_heads(model, min(count, free), rng, layer=layer, excluding=out)
    missing = min(len(like), model.n_layers * model.n_heads - len(out)) - len(drawn)
    if missing:
        drawn += random_heads(model, missing, rng, excluding=(*out, *drawn))
    return tuple(sorted(drawn))


def matched_sets(
    model: ModelConfig,
    like: Collection[tuple[int, int]],
    count: int,
    draws: int,
    apart: Collection[tuple[int, int]] = (),
) -> list[tuple[tuple[int, int], ...]]:
    """`count` different sets of `matched_heads`, drawn with a fixed seed, in the order of the draws. There are fewer if
    `draws` draws find fewer, and none if `like` is the whole model."""
    rng, met = np.random.default_rng(0), {}
    for _ in range(draws):
        met[matched_heads(model, like, rng, apart)] = None
        if len(met) == count:
            break
    return [heads for heads in met if heads]


def needs(kind: Kind, model: ModelConfig) -> list[str]:
    """Hooks whose intact activations a kind of `AblateHeads` needs."""
    part = {"mean": "z", "resample": "z", "pattern_preserving": "pattern", "value_preserving": "v"}.get(kind)
    return [] if part is None else _hooks(part, model)
