"""Attention edges cut: who may not look at whom, named by the roles that positions play (attention knock-out, Geva et
al. 2023, 2304.14767).

An edge is written 'FROM->TO', where FROM looks at TO. Roles are the task's (`TaskBatch.roles`): of exemplars and
labels 'query', 'exemplar', 'label', 'match' (exemplars of the query's class), 'match_label', 'other', 'other_label'. A
relation (`TaskBatch.relations`) is an edge by itself: 'previous', 'self', 'first', and of tokens 'same_token',
'after_same_token'. 'FROM->RELATION' is the part of it that begins at a role: 'label->previous' runs from a label to its
own exemplar.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit
from mechicl.errors import ConfigError
from mechicl.interventions.base import Intervention
from mechicl.interventions.heads import check_heads, head_pairs, names
from mechicl.interventions.others import as_random, random_names, random_others
from mechicl.interventions.positions import check_layers, position_mask
from mechicl.loading import check_types
from mechicl.protocol.batch import TaskBatch


@dataclass(frozen=True, kw_only=True)
class CutEdges(Intervention):
    """Cut attention edges: the attention along them is redistributed to the other positions that the head can attend
    to.

    edges: such as 'query->match_label' or 'previous'. layers: cut in all heads of these layers (default: all layers).
    heads: cut only in these heads, as (layer, head) pairs. Give layers or heads, not both.
    """

    edges: tuple[str, ...]
    layers: tuple[int, ...] | None = None
    heads: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", head_pairs(self.heads))
        check_types(self, "CutEdges")
        object.__setattr__(self, "edges", spelled(self.edges))
        if not self.edges:
            raise ConfigError("CutEdges.edges=(): expected at least one, such as ('query->match_label',).")
        if self.heads and self.layers is not None:
            raise ConfigError(
                f"CutEdges.layers={self.layers} and heads={names(self.heads)}: give layers or heads, not both."
            )

    def __str__(self) -> str:
        where = names(self.heads)
        if not self.heads:
            where = "" if self.layers is None else " ".join(f"L{la}" for la in self.layers)
        return f"cut {' '.join(self.edges)} {where}".rstrip()

    @property
    def baseline(self) -> str:
        return "attention along these edges is 0, the rest of it scaled up to 1"

    @property
    def first_layer(self) -> int:
        layers = [la for la, _ in self.heads] if self.heads else self.layers
        return min(layers, default=0) if layers else 0

    def check(self, model: ModelConfig) -> None:
        check_layers(self.layers or (), model)
        check_heads(self.heads, model)

    def check_on(self, batch: TaskBatch) -> None:
        for edge in self.edges:
            edge_mask(batch[:1], edge)

    def found_in(self, batch: TaskBatch) -> bool:
        """What comes later is not seen. Most edges are in the first sequences, so those are asked first."""
        return any(edge_mask(part, edge).tril().any() for part in (batch[:8], batch) for edge in self.edges)

    drawn: ClassVar[Mapping[str, str]] = {"edges": "edges"}

    @property
    def kept_heads(self) -> tuple[tuple[int, int], ...]:
        return self.heads

    def controls(self, model: ModelConfig, count: int) -> list[Intervention]:
        return [replace(self, edges=names) for names in random_names(self.edges, count)]

    def same_pattern(self, layer: int, head: int) -> str:
        return "nothing before it is cut" if layer < self.first_layer else ""

    def needs(self, model: ModelConfig) -> list[str]:
        """z, which says how many positions ask (in the last layer it may be the query alone), and which a pass that
        starts at a layer has anyway."""
        return [f"blocks.{layer}.attn.hook_z" for layer in self._by_layer(model)]

    def _by_layer(self, model: ModelConfig) -> dict[int, list[int]]:
        """Layer -> its heads that do not see."""
        if self.heads:
            named = dict.fromkeys(layer for layer, _ in self.heads)
            return {layer: [h for la, h in self.heads if la == layer] for layer in named}
        layers = range(model.n_layers) if self.layers is None else self.layers
        return {layer: list(range(model.n_heads)) for layer in layers}

    def edits(
        self, model: ModelConfig, intact: Mapping[str, Tensor], batch: TaskBatch | None = None
    ) -> dict[str, Edit]:
        if batch is None:
            raise ConfigError(
                "CutEdges depends on the sequences: give the batch, as in edits(conditions, model, intact, batch)."
            )
        banned = torch.stack([edge_mask(batch, edge) for edge in self.edges]).any(0)  # [b, t, t]
        future = torch.ones(banned.shape[1:], dtype=torch.bool, device=banned.device).triu(1)
        blind = (banned | future).all(-1)  # a position that would see nothing
        out: dict[str, Edit] = {}
        for layer, heads in self._by_layer(model).items():
            z = intact[f"blocks.{layer}.attn.hook_z"]  # [*lead, b, q, h, k]
            asking = z.shape[-3]
            if blind[:, -asking:].any():
                b, t = blind[:, -asking:].nonzero()[0].tolist()
                raise ConfigError(
                    f"{self}: position {t + blind.shape[1] - asking} of sequence {b} could attend to nothing. "
                    "Keep at least one edge from it, such as the one to itself."
                )
            cut = torch.zeros(len(banned), 1, asking, banned.shape[-1], dtype=z.dtype, device=banned.device)
            cut = cut.masked_fill_(banned[:, None, -asking:], -torch.inf)
            if set(heads) != set(range(model.n_heads)):
                add = torch.zeros_like(cut).repeat(1, model.n_heads, 1, 1)
                add[:, heads] = cut
                cut = add
            out[f"blocks.{layer}.attn.hook_attn_scores"] = Edit(1.0, cut)
        return out


def spelled(edges: tuple[str, ...]) -> tuple[str, ...]:
    """Each edge once and in one way, 'query->match' for 'query -> match': the names of random others are split at
    spaces."""
    return tuple(dict.fromkeys("->".join(end.strip() for end in edge.split("->")) for edge in edges))


def edge_mask(batch: TaskBatch, edge: str) -> Tensor:
    """Where an edge runs, bool [b, t, t]: from the first position to the second. 'random 3 for query->match_label' is
    draw 3 of as many other edges from the same positions (`others.py`).

    Raises:
        ConfigError: there is no such role or relation; the message lists those there are.
    """
    if (random := as_random(edge)) is not None:
        own, of = (torch.stack([edge_mask(batch, each) for each in names]).any(0) for names in random[1:])
        seen = torch.ones_like(own).tril()
        return random_others(own & seen, seen, random[0], of & seen)
    roles = batch.roles()
    if "->" not in edge:
        relations = batch.relations()
        if edge not in relations:
            raise ConfigError(
                f"edge {edge!r}: expected FROM->TO with roles, of which there are {_listed(roles)}, or a "
                f"relation: {', '.join(relations)}."
            )
        return relations[edge]
    ends = edge.split("->", 1)
    relations = {} if all(end in roles for end in ends) else batch.relations()
    along = relations.get(ends[1]) if ends[1] not in roles else None
    for end in ends if along is None else ends[:1]:
        if end not in roles and not (end.isdigit() and int(end) < batch.shape[-1]):
            raise ConfigError(
                f"edge {edge!r}: there is no role {end!r}; there are {_listed(roles)}, and positions by "
                f"number, 0 to {batch.shape[-1] - 1}; a relation, such as {', '.join(relations)}, can be the end."
            )
    if along is not None:
        return position_mask(batch, (ends[0],))[:, :, None] & along
    looking, seen = (position_mask(batch, (end,)) for end in ends)
    return looking[:, :, None] & seen[:, None, :]


def _listed(roles: Mapping[str, Tensor]) -> str:
    return ", ".join(roles) or "none in these sequences"
