"""Interventions, as data: what is done to a model, printable and saved with the result.

An intervention says what; `edits` turns one or many of them into the engine's edits, and
`ICLTransformer.hooks_for` into TransformerLens hooks. Heads are ablated at `hook_z`, the
head's output before W_O.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mechicl.config import ConfigError, ModelConfig
from mechicl.engine.forward import Edit
from mechicl.loading import check_types, whole

Kind = Literal["zero", "mean", "resample", "pattern_preserving", "value_preserving"]

BASELINES: dict[str, str] = {
    "zero": "0",
    "mean": "mean over the evaluation set, per position",
    "resample": "the same head on the next sequence of the evaluation set",
    "pattern_preserving": "0, with every attention pattern held at its intact value",
    "value_preserving": "0, with every layer's values held at their intact ones",
}


@dataclass(frozen=True, kw_only=True)
class AblateHeads:
    """Replace the output of attention heads by a baseline.

    heads: (layer, head) pairs, counted from 0; kind: which baseline (BASELINES). The two
    'preserving' kinds are Singh et al. 2024's (2404.07129, science.md 4.2): the head's values
    are zeroed while the patterns (or the values) elsewhere stay as in the intact model.
    """

    heads: tuple[tuple[int, int], ...]
    kind: Kind = "zero"

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", tuple(sorted({_pair(head, self.heads) for head in _listed(self.heads)})))
        check_types(self, "AblateHeads")

    def __str__(self) -> str:
        return f"{self.kind} " + (" ".join(f"L{la}H{h}" for la, h in self.heads) or "nothing")

    @property
    def first_layer(self) -> int:
        """The layer from which activations differ from the intact model's."""
        return min((layer for layer, _ in self.heads), default=0)

    def check(self, model: ModelConfig) -> None:
        """Raise if a head is not one of the model's."""
        for layer, head in self.heads:
            if not (0 <= layer < model.n_layers and 0 <= head < model.n_heads):
                raise ConfigError(
                    f"there is no head L{layer}H{head}: this model has layers 0..{model.n_layers - 1} "
                    f"with heads 0..{model.n_heads - 1}."
                )


def _listed(heads: object) -> Iterable:
    if isinstance(heads, (str, bytes)) or not isinstance(heads, Iterable):
        raise ConfigError(f"heads={heads!r}: expected (layer, head) pairs, as heads=((0, 1), (1, 3)).")
    return heads


def _pair(head: object, heads: object) -> tuple[int, int]:
    """(layer, head) as ints, from whatever a pair can be: a tuple, a list, a row of an array."""
    try:
        layer, number = head  # type: ignore[misc]
        return whole("layer", layer), whole("head", number)
    except (TypeError, ValueError):  # no pair; or of what are no whole numbers (ConfigError is a ValueError)
        pass
    near = ""
    if isinstance(heads, (tuple, list)) and len(heads) == 2 and all(isinstance(x, int) for x in heads):
        near = f" One head is a pair in a tuple: heads=(({heads[0]}, {heads[1]}),)."
    raise ConfigError(f"heads={heads!r}: expected (layer, head) pairs of whole numbers, as heads=((0, 1), (1, 3)); "
                      f"{head!r} is none.{near}")  # fmt: skip


def as_interventions(ablate: object) -> list[AblateHeads]:
    """One intervention, several or None, as a list.

    Raises:
        ConfigError: it is something else, as hooks.
    """
    if ablate is None or isinstance(ablate, AblateHeads):
        return [] if ablate is None else [ablate]
    listed: list[Any] = list(ablate) if isinstance(ablate, Iterable) and not isinstance(ablate, str) else [ablate]
    for each in listed:
        if not isinstance(each, AblateHeads):
            hooks = " Hooks go to model.run_with_hooks(batch, fwd_hooks=...)." if isinstance(each, tuple) else ""
            raise ConfigError(f"ablate={each!r}: expected an AblateHeads or several, as AblateHeads(heads=((1, 3),)), "
                              f"not {type(each).__name__}.{hooks}")  # fmt: skip
    return listed


def every_head(model: ModelConfig, kind: Kind = "zero") -> list[AblateHeads]:
    """Each head of the model ablated on its own."""
    return [
        AblateHeads(heads=((layer, head),), kind=kind)
        for layer in range(model.n_layers)
        for head in range(model.n_heads)
    ]


def only_head(model: ModelConfig, layer: int, head: int, kind: Kind = "zero") -> AblateHeads:
    """All other heads of the head's layer ablated ('only this head', science.md IH4)."""
    rest = tuple((layer, h) for h in range(model.n_heads) if h != head)
    return AblateHeads(heads=rest, kind=kind)


def random_heads(
    model: ModelConfig, count: int, rng: np.random.Generator, *,
    layer: int | None = None, excluding: Collection[tuple[int, int]] = (),
) -> tuple[tuple[int, int], ...]:  # fmt: skip
    """`count` different heads at random, as a control: of one layer or of all, none of `excluding`.

    Raises:
        ConfigError: there are not as many.
    """
    layers = range(model.n_layers) if layer is None else [layer]
    heads = [(la, h) for la in layers for h in range(model.n_heads) if (la, h) not in excluding]
    if len(heads) < count:
        raise ConfigError(f"{count} random heads were asked for, but only {len(heads)} can be chosen from.")
    return tuple(sorted(heads[int(i)] for i in rng.choice(len(heads), count, replace=False)))


def matched_heads(
    model: ModelConfig, like: Collection[tuple[int, int]], rng: np.random.Generator
) -> tuple[tuple[int, int], ...]:
    """The control of a set of heads: as many others at random, of the same layers where those have as many
    others. What is missing is drawn from other layers; all others, where `like` is most of the model."""
    drawn: list[tuple[int, int]] = []
    for layer in range(model.n_layers):
        count = sum(la == layer for la, _ in like)
        drawn += random_heads(model, min(count, model.n_heads - count), rng, layer=layer, excluding=like)
    missing = min(len(like), model.n_layers * model.n_heads - len(like)) - len(drawn)
    if missing:
        drawn += random_heads(model, missing, rng, excluding=(*like, *drawn))
    return tuple(sorted(drawn))


def needs(kind: Kind, model: ModelConfig) -> list[str]:
    """Hooks whose intact activations `edits` must be given for a kind."""
    hook = {"mean": "hook_z", "resample": "hook_z", "pattern_preserving": "hook_pattern",
            "value_preserving": "hook_v"}.get(kind)  # fmt: skip
    return [] if hook is None else [f"blocks.{la}.attn.{hook}" for la in range(model.n_layers)]


def edits(
    conditions: Sequence[AblateHeads], model: ModelConfig, intact: Mapping[str, Tensor]
) -> dict[str, Edit]:
    """The engine's edits for several interventions of one kind, one per index of axis c.

    Args:
        conditions: c interventions, all of the same kind.
        intact: the activations named by `needs`, from the intact model on the same batch,
            [*lead, b, ...]. It may hold more.
    """
    kinds = {c.kind for c in conditions}
    if len(kinds) != 1:
        raise ConfigError(f"conditions of one forward pass share a kind; given {sorted(kinds)}.")
    (kind,) = kinds
    out: dict[str, Edit] = {}
    device = next(iter(intact.values())).device if intact else None
    for layer in range(model.n_layers):
        # [c, b, t, h, k], not broadcast along k: heads and their dimensions are then one axis to torch, 4x faster
        keep = torch.ones(len(conditions), 1, 1, model.n_heads, model.d_head, device=device)
        touched = False
        for i, condition in enumerate(conditions):
            condition.check(model)
            for la, head in condition.heads:
                if la == layer:
                    keep[i, ..., head, :], touched = 0, True
        if not touched:
            continue
        name = f"blocks.{layer}.attn.hook_z"
        # By kind, not by what `intact` happens to hold: other kinds' needs may be in it too.
        replaced = kind in ("mean", "resample")
        out[name] = Edit(keep, _replacement(kind, intact[name]) * (1 - keep) if replaced else 0.0)
    if kind in ("pattern_preserving", "value_preserving"):
        # Up to the first ablated layer everything is intact: nothing to hold there.
        first = min(c.first_layer for c in conditions)
        out |= {name: Edit(0.0, intact[name]) for name in needs(kind, model)[first + 1 :]}
    return out


def _replacement(kind: Kind, z: Tensor) -> Tensor:
    """What takes the place of z [*lead, b, t, h, k]."""
    if kind == "mean":
        return z.mean(-4, keepdim=True)
    return z.roll(1, dims=-4)  # sequences are independent draws: the next one is a random other
