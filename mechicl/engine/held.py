"""What training interventions hold in each layer of a forward pass: heads, attention patterns, where answers are read.

Legend: b sequences, h heads, t positions, q positions that ask (the last q of the t).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mechicl.attention_patterns import PATTERNS
from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit
from mechicl.system.devices import CPU
from mechicl.training_interventions import TrainingIntervention

if TYPE_CHECKING:
    from mechicl.protocol.batch import TaskBatch


@dataclass(frozen=True)
class Clamp:
    """Attention patterns of one layer that are held.

    held [h]: the share of the attention, 0 to 1, that is `pattern` [h, t, t], whatever queries and keys; the rest is as
    learned.
    banned [h, t, t]: never attended to, by heads that are not held.
    """

    held: Tensor
    pattern: Tensor
    banned: Tensor


@dataclass(frozen=True)
class HeldLayer:
    """What is done to one layer's heads. keep [h]: 0 for ablated ones, or None. The rest of the last layer alone:

    match: (head, strength), which looks at the right answer with that strength (`TaskBatch.match_row`).
    moved: for each position, that whose query and key it takes (`clamped_layer`).
    reads: the head whose scores are the answer (`TaskBatch.score_copied`).
    """

    keep: Tensor | None
    clamp: Clamp | None
    match: tuple[tuple[int, float], ...] = ()
    moved: tuple[int, ...] | None = None
    reads: int | None = None


@cache
@torch.inference_mode(False)  # kept: an evaluation may ask first, and training by autograd then
def held_layers(
    interventions: tuple[TrainingIntervention, ...], model: ModelConfig, t: int, device: str = CPU
) -> dict[int, HeldLayer]:
    """What the interventions in force hold in the forward pass, by layer. t: positions; device: of the model."""
    out = {}
    for layer in range(model.n_layers):
        ablated = [h for x in interventions if x.kind == "ablate" for la, h in x.heads if la == layer]
        clamps = [
            (x.pattern, h, x.strength) for x in interventions if x.kind == "clamp" for la, h in x.heads if la == layer
        ]
        match = [(h, x.strength) for x in interventions if x.kind == "clamp_match" for la, h in x.heads if la == layer]
        perfect = any(x.kind == "clamp_layer" for x in interventions)
        if perfect and layer == 0:
            ablated = [*range(model.n_heads)]
        moved = previous(t) if perfect and layer == 1 else None
        reads = next((h for x in interventions if x.kind == "clamp_copy" for la, h in x.heads if la == layer), None)
        if not (ablated or clamps or match or moved or reads is not None):
            continue
        keep = None
        if ablated:
            keep = torch.ones(model.n_heads)
            keep[ablated] = 0
            keep = keep.to(device)
        clamp = _clamp(clamps, model.n_heads, t, device) if clamps or match else None
        out[layer] = HeldLayer(keep, clamp, tuple(match), moved, reads)
    return out


def previous(t: int) -> tuple[int, ...]:
    """For each of t positions, that before it; the first and the last (the query) stay."""
    return (0, *range(t - 2), t - 1)


def clamped_layer(model: ModelConfig, t: int, device: torch.device | str = CPU) -> dict[str, Edit]:
    """A perfect first layer of two: its heads write nothing, so that values in layer 1 are of the embeddings, and a
    position's query and key there are of the embedding before it."""
    moved = Edit(at=previous(t))
    return {
        "blocks.0.attn.hook_z": Edit(torch.zeros(model.n_heads, 1, device=device), 0.0),
        "blocks.1.attn.hook_q": moved,
        "blocks.1.attn.hook_k": moved,
    }


def reading_head(held: Mapping[int, HeldLayer]) -> int | None:
    """The head of the last layer from whose scores the answer is read, in place of the unembedding; mostly none."""
    return next((what.reads for what in held.values() if what.reads is not None), None)


def scores_hook(model: ModelConfig) -> str:
    """The activation that `query_scores` reads: the last layer's scores."""
    return f"blocks.{model.n_layers - 1}.attn.hook_attn_scores"


def query_scores(acts: Mapping[str, Tensor], model: ModelConfig, head: int) -> Tensor:
    """[*lead, b, t]: what the last position's scores are in a head of the last layer, before the softmax."""
    return acts[scores_hook(model)][..., head, -1, :]


def _clamp(clamps: list[tuple[str | None, int, float]], heads: int, t: int, device: str) -> Clamp:
    held = torch.zeros(heads)
    pattern, banned = torch.zeros(heads, t, t), torch.zeros(heads, t, t, dtype=torch.bool)
    for name, head, strength in clamps:
        given = PATTERNS[str(name)]
        if given.banned is not None:
            banned[head] |= given.banned(t)
        if given.held is not None:
            held[head], pattern[head] = strength, given.held(t)
    return Clamp(held.to(device), pattern.to(device), banned.to(device))


def edits(held: Mapping[int, HeldLayer], model: ModelConfig, batch: TaskBatch | None = None) -> dict[str, Edit]:
    """The same for `forward` (with query_only, its default), but for what `reading_head` says.

    Args:
        batch: the sequences; needed where a match is clamped, and where answers are read at every position.
    """
    everywhere = batch is not None and batch.everywhere
    out = {}
    for layer, what in held.items():
        query_alone = layer == model.n_layers - 1 and not everywhere
        name, asked = f"blocks.{layer}.attn", slice(-1 if query_alone else None, None)
        if what.clamp is not None:
            fixed, banned = what.clamp.held[:, None, None], what.clamp.banned[:, asked]
            if banned.any():
                none = torch.zeros(banned.shape, device=banned.device)
                out[f"{name}.hook_attn_scores"] = Edit(1.0, none.masked_fill(banned, -torch.inf))
            keep, add = 1 - fixed, what.clamp.pattern[:, asked] * fixed
            for head, strength in what.match:
                assert batch is not None  # given wherever a match is clamped
                row, shows = batch.match_row(strength)
                alone = torch.eye(model.n_heads, device=shows.device)[head]
                one = alone[:, None, None] * shows[:, None, None, None]  # [b, h, 1, 1]
                keep, add = keep * (1 - one), add + one * row[:, None, None]
            out[f"{name}.hook_pattern"] = Edit(keep, add)
        if what.keep is not None:
            out[f"{name}.hook_z"] = Edit(what.keep[:, None], 0.0)
        if what.moved is not None:
            out |= {f"{name}.hook_{x}": Edit(at=what.moved) for x in "qk"}
    return out
