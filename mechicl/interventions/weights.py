"""Weights changed by hand: parts taken from another checkpoint of the same series
(docs/references.md#singh-2025-halves).

A graft is post hoc: nothing is trained. The donor is one step, and the parts that change hands are named as data:

    PARTS of `parameter_groups.GROUPS`     'embeddings', 'unembedding' (with the final LayerNorm),
                                        'attention.L', 'mlp.L', 'layer.L', 'all', ...
    'qk', 'qk.L'                        W_Q and W_K of all layers, or of layer L: where heads look
    'ov', 'ov.L'                        W_V and W_O: what heads copy
    'pos_embed', 'embed', ...           one of the parts that 'embeddings' holds: learned positions, and what the task's
                                        inputs pass through (`Task.tables`)

In 'qk' and 'ov' the LayerNorm that the heads read through stays where it is.

A graft that fails may only show that parts of different steps no longer fit together, so read it beside a graft of the
same parts from another step.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mechicl.config import ModelConfig
from mechicl.errors import ConfigError
from mechicl.interventions.base import Checkpoint, Intervention
from mechicl.interventions.others import LISTED
from mechicl.loading import at_least, check_types
from mechicl.models.params import Params
from mechicl.parameter_groups import GROUPS, in_groups
from mechicl.protocol.known import every_task

_HALVES = {"qk": ("W_Q", "W_K"), "ov": ("W_V", "W_O")}  # of attention


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

    drawn: ClassVar[Mapping[str, str]] = {"parts": "parts"}

    def controls(self, model: ModelConfig, count: int) -> list[Intervention]:
        return [replace(self, parts=parts) for parts in other_parts(self.parts, model, count)]

    def same_pattern(self, layer: int, head: int) -> str:
        first = min((_first_pattern(part) for part in self.parts), default=0.0)
        return "" if self.rest or layer >= first else "no weights before it are changed"

    def check(self, model: ModelConfig) -> None:
        for part in self.parts:
            name, dot, layer = part.partition(".")
            by_layer = name in _HALVES or f"{name}.L" in GROUPS
            there = by_layer and layer.isdigit() and int(layer) < model.n_layers
            if not (there if dot else part in (*_tables(model), *_HALVES, *GROUPS[:5])):
                raise _no_part(part, model.n_layers, _tables(model))

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
                raise _no_part(part, layers, dict.fromkeys(name.split(".")[0] for name in weights if _of_tables(name)))
        donor = checkpoint(self.source)
        return {name: donor[name] if self.takes(name) else w for name, w in weights.items()}


def in_parts(name: str, parts: Iterable[str]) -> bool:
    """Whether a parameter, by its TransformerLens name, belongs to one of the parts."""
    return any(_in_part(name, part) for part in parts)


def _in_part(name: str, part: str) -> bool:
    half, _, layer = part.partition(".")
    if half in _HALVES:
        ends = tuple(f".attn.{w}" for w in _HALVES[half])
        return name.endswith(ends) and (not layer or name.startswith(f"blocks.{layer}."))
    if part in GROUPS[:5] or (f"{half}.L" in GROUPS and layer.isdigit()):
        return in_groups(name, (part,))
    return _of_tables(name) and name.split(".")[0] == part


def _of_tables(name: str) -> bool:
    """Whether a parameter is of one of the parts of 'embeddings'."""
    return in_groups(name, ("embeddings",))


def _tables(model: ModelConfig) -> tuple[str, ...]:
    """The parts of 'embeddings' that such a model can have, whatever its task."""
    positions = ("pos_embed",) if model.positions == "learned" else ()
    return (*dict.fromkeys(name for task in every_task() for name in task.tables(model)), *positions)


def _no_part(part: str, layers: int, tables: Iterable[str]) -> ConfigError:
    names = (*GROUPS, *_HALVES, *(f"{half}.L" for half in _HALVES), *tables)
    return ConfigError(
        f"graft: this model has no part {part!r}: expected one of {', '.join(names)}, with L a layer, 0..{layers - 1}."
    )


_ALIKE = (("qk", "ov"), ("attention", "mlp"), ("layer",), ("embeddings", "unembedding"))


def _others_like(part: str, model: ModelConfig) -> list[str]:
    """Parts of a part's own kind: of the same layer, else of other layers."""
    name, dot, layer = part.partition(".")
    kinds = next((group for group in (*_ALIKE, _tables(model)) if name in group), ())
    if dot and not layer.isdigit():
        return []
    if not dot:
        return [other for other in kinds if other != name]

    def there(kind: str, la: int) -> bool:
        return kind != "mlp" or model.has_mlp(la)

    beside = [f"{other}.{layer}" for other in kinds if other != name and there(other, int(layer))]
    return beside or [f"{name}.{la}" for la in range(model.n_layers) if la != int(layer) and there(name, la)]


def other_parts(parts: Iterable[str], model: ModelConfig, count: int) -> list[tuple[str, ...]]:
    """`count` different draws of others from a fixed seed, one for each different part, in their order. None shares
    weights with the parts or with another. There are fewer where fewer exist, and none where some part has no other.
    """
    own = list(dict.fromkeys(parts))
    holds = {part: _weights_of(part, model) for part in own}
    taken = frozenset().union(*holds.values())
    listed = []
    for part in own:
        holds |= {other: _weights_of(other, model) for other in _others_like(part, model)}
        listed.append([other for other in _others_like(part, model) if holds[other] and not holds[other] & taken])
    rng, met = np.random.default_rng(0), {}
    if math.prod(map(len, listed)) <= LISTED:
        for drawn in itertools.product(*listed):
            if sum(len(holds[x]) for x in drawn) == len(frozenset().union(*(holds[x] for x in drawn))):
                met.setdefault(frozenset(drawn), drawn)
        free = [drawn for drawn in met.values() if drawn]
        return [free[int(i)] for i in rng.permutation(len(free))[:count]]
    for _ in range(100 * count):
        drawn, used = {}, taken
        for i in rng.permutation(len(own)):
            free = [x for x in listed[i] if not holds[x] & used]
            if not free:
                break
            drawn[own[i]] = free[int(rng.integers(len(free)))]
            used |= holds[drawn[own[i]]]
        if len(drawn) == len(own):
            met.setdefault(frozenset(drawn.values()), tuple(drawn[part] for part in own))
        if len(met) == count:
            break
    return list(met.values())


def _weights_of(part: str, model: ModelConfig) -> frozenset[str]:
    """What a part holds, by one parameter of each of the smallest parts."""
    names = [f"{table}." for table in _tables(model)] + ["unembed."]
    for la in range(model.n_layers):
        names += [f"blocks.{la}.{name}" for name in ("ln1.w", "attn.W_Q", "attn.W_V")]
        names += [f"blocks.{la}.{name}" for name in ("ln2.w", "mlp.W_in") if model.has_mlp(la)]
    return frozenset(name for name in names if in_parts(name, (part,)))


def _first_pattern(part: str) -> float:
    """The first layer whose attention patterns a part can change."""
    name, _, layer = part.partition(".")
    if name == "unembedding":
        return math.inf
    if not layer:
        return 1.0 if name in ("ov", "mlp") else 0.0
    return int(layer) + (name in ("ov", "mlp"))


def first_half(model: ModelConfig) -> tuple[str, ...]:
    """Embeddings and every layer but the last."""
    return ("embeddings", *(f"layer.{la}" for la in range(model.n_layers - 1)))


def second_half(model: ModelConfig) -> tuple[str, ...]:
    """The last layer, the final LayerNorm and the unembedding."""
    return (f"layer.{model.n_layers - 1}", "unembedding")
