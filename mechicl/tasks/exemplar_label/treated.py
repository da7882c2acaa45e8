"""Treatments of heads and of parameters, as the training step meets them.

Legend: h heads, k d_head, t positions, q positions that ask (the last q of the t), d d_model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from mechicl.config import Config, ModelConfig
from mechicl.engine.forward import Edit
from mechicl.models.params import Params, init, pack
from mechicl.system.devices import CPU
from mechicl.tasks.batch import TaskBatch
from mechicl.tasks.exemplar_label.batch import Batch
from mechicl.treatments import Treatment, in_groups


@dataclass(frozen=True)
class Clamp:
    """Attention patterns of one layer that are held.

    held [h]: these heads' patterns are `pattern` [h, t, t], whatever their queries and keys.
    banned [h, t, t]: never attended to, by heads that are not held.
    """

    held: Tensor
    pattern: Tensor
    banned: Tensor


@dataclass(frozen=True)
class LayerTreatment:
    """What is done to one layer's heads. keep [h]: 0 for ablated ones, or None. The rest of the last layer alone:

    match: (head, strength), whose query looks at the right label with that strength (`match_row`).
    moved: for each position, that whose query and key it takes (`clamped_layer`).
    reads: the head whose scores at the labels are the answer (copied.py).
    """

    keep: Tensor | None
    clamp: Clamp | None
    match: tuple[tuple[int, float], ...] = ()
    moved: tuple[int, ...] | None = None
    reads: int | None = None


@cache
@torch.inference_mode(False)  # kept: an evaluation may ask first, and training by autograd then
def layer_treatments(
    treatments: tuple[Treatment, ...], model: ModelConfig, t: int, device: str = CPU
) -> dict[int, LayerTreatment]:
    """The treatments in force that change the forward pass, by layer. t: positions; device: of the model."""
    out = {}
    for layer in range(model.n_layers):
        ablated = [h for x in treatments if x.kind == "ablate" for la, h in x.heads if la == layer]
        clamps = [(x.pattern, h) for x in treatments if x.kind == "clamp" for la, h in x.heads if la == layer]
        match = [(h, x.strength) for x in treatments if x.kind == "clamp_match" for la, h in x.heads if la == layer]
        perfect = any(x.kind == "clamp_layer" for x in treatments)
        if perfect and layer == 0:
            ablated = [*range(model.n_heads)]
        moved = previous(t) if perfect and layer == 1 else None
        reads = next((h for x in treatments if x.kind == "clamp_copy" for la, h in x.heads if la == layer), None)
        if not (ablated or clamps or match or moved or reads is not None):
            continue
        keep = None
        if ablated:
            keep = torch.ones(model.n_heads)
            keep[ablated] = 0
            keep = keep.to(device)
        clamp = _clamp(clamps, model.n_heads, t, device) if clamps or match else None
        out[layer] = LayerTreatment(keep, clamp, tuple(match), moved, reads)
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


def match_row(batch: Batch, strength: float, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """The query's attention under a match clamp [b, 2C+1], rows sum to 1; and whether a sequence has the answer in
    its context, bool [b] (rows of those that have not say nothing)."""
    right = batch.labels == batch.target[:, None]  # [b, C]
    n_right, n_other = right.sum(1, keepdim=True), (~right).sum(1, keepdim=True)
    on_right = torch.where(n_other > 0, strength, 1.0) / n_right.clamp(min=1)
    on_other = (1 - strength) / n_other.clamp(min=1)
    row = torch.zeros(len(batch), 2 * batch.n_pairs + 1, dtype=dtype, device=right.device)
    row[:, 1::2] = torch.where(right, on_right, on_other).to(dtype)
    return row, right.any(1)


def reading_head(treated: Mapping[int, LayerTreatment]) -> int | None:
    """The head of the last layer from which the answer is read, if it is."""
    return next((what.reads for what in treated.values() if what.reads is not None), None)


def _clamp(clamps: list[tuple[str | None, int]], heads: int, t: int, device: str) -> Clamp:
    held = torch.zeros(heads, dtype=torch.bool)
    pattern, banned = torch.zeros(heads, t, t), torch.zeros(heads, t, t, dtype=torch.bool)
    for name, head in clamps:
        if name == "forbid_previous":
            labels = torch.arange(1, t, 2)
            banned[head, labels, labels - 1] = True
        else:
            held[head], pattern[head] = True, held_pattern(str(name), t)
    return Clamp(held.to(device), pattern.to(device), banned.to(device))


def held_pattern(name: str, t: int) -> Tensor:
    """[t, t], rows sum to 1: 'uniform', 'previous' or 'self' (treatments.PATTERNS)."""
    if name == "uniform":
        return torch.ones(t, t).tril() / torch.arange(1, t + 1)[:, None]
    at = torch.arange(t) if name == "self" else (torch.arange(t) - 1).clamp(min=0)
    return torch.eye(t)[at]


def edits(treated: Mapping[int, LayerTreatment], model: ModelConfig, batch: TaskBatch | None = None) -> dict[str, Edit]:
    """The same for `forward` (with query_only, its default), but for what `reading_head` says.

    Args:
        batch: the sequences; needed where a match is clamped, and where answers are read at every position.
    """
    everywhere = batch is not None and batch.everywhere
    out = {}
    for layer, what in treated.items():
        query_alone = layer == model.n_layers - 1 and not everywhere
        name, asked = f"blocks.{layer}.attn", slice(-1 if query_alone else None, None)
        if what.clamp is not None:
            held, banned = what.clamp.held[:, None, None], what.clamp.banned[:, asked]
            if banned.any():
                none = torch.zeros(banned.shape, device=banned.device)
                out[f"{name}.hook_attn_scores"] = Edit(1.0, none.masked_fill(banned, -torch.inf))
            keep, add = (~held).float(), what.clamp.pattern[:, asked] * held
            for head, strength in what.match:
                assert isinstance(batch, Batch)  # treatments of exemplars and labels are refused of other tasks
                row, shows = match_row(batch, strength)
                alone = torch.eye(model.n_heads, device=shows.device)[head]
                one = alone[:, None, None] * shows[:, None, None, None]  # [b, h, 1, 1]
                keep, add = keep * (1 - one), add + one * row[:, None, None]
            out[f"{name}.hook_pattern"] = Edit(keep, add)
        if what.keep is not None:
            out[f"{name}.hook_z"] = Edit(what.keep[:, None], 0.0)
        if what.moved is not None:
            out |= {f"{name}.hook_{x}": Edit(at=what.moved) for x in "qk"}
    return out


class ClampedAttention:
    """`attention` of engine/fast/attention.py where some patterns are held, and its gradient: the same arrays
    q [s, slot, h, k, q, b] and kv [s, slot, h, k, t, b], z [s, h, k, q, b]."""

    def __init__(
        self,
        q: np.ndarray,
        kv: np.ndarray,
        slots: tuple[int, int, int],
        scale: float,
        clamp: Clamp,
        rows: Iterable[tuple[int, np.ndarray, np.ndarray]] = (),
    ):
        """rows: heads whose query is held, with its attention [s, t, b] and where it is held [s, b], 1 or 0."""
        self.slots, self.scale = slots, scale
        self.parts = tuple(torch.from_numpy(x[:, slot]) for x, slot in zip((q, kv, kv), slots, strict=True))
        queries, keys, values = self.parts
        t, asking = keys.shape[-2], queries.shape[-2]
        scores = torch.einsum("xhkqb,xhksb->xhqsb", queries, keys) * scale
        unseen = torch.ones(t, t, dtype=torch.bool).triu(1) | clamp.banned
        self.free = (~clamp.held).to(scores.dtype)[:, None, None, None]
        learned = scores.masked_fill(unseen[:, t - asking :, :, None], -torch.inf).softmax(-2)
        held = clamp.pattern[:, t - asking :] * clamp.held[:, None, None]
        held = held[..., None].to(scores.dtype)  # [h, q, t, 1]
        for head, row, holds in rows:
            at = torch.zeros(scores.shape[1], asking, 1, 1, dtype=scores.dtype)
            at[head, -1] = 1
            now = at * torch.from_numpy(holds)[:, None, None, None]  # [s, h, q, 1, b]
            self.free, held = self.free * (1 - now), held + now * torch.from_numpy(row)[:, None, None]
        self.p = learned * self.free + held
        self.z = torch.einsum("xhqsb,xhksb->xhkqb", self.p, values).contiguous().numpy()

    def gradient(self, dz: np.ndarray, dq: np.ndarray, dkv: np.ndarray) -> None:
        """Fills the slots of dq and dkv. Held patterns pass no gradient on to queries and keys."""
        queries, keys, values = self.parts
        d = torch.from_numpy(dz)
        dp = torch.einsum("xhkqb,xhksb->xhqsb", d, values)
        ds = self.p * (dp - (dp * self.p).sum(-2, keepdim=True)) * self.free * self.scale
        for to, slot, value in (
            (dq, self.slots[0], torch.einsum("xhqsb,xhksb->xhkqb", ds, keys)),
            (dkv, self.slots[1], torch.einsum("xhqsb,xhkqb->xhksb", ds, queries)),
            (dkv, self.slots[2], torch.einsum("xhqsb,xhkqb->xhksb", self.p, d)),
        ):
            to[:, slot] = value.numpy()


def frozen(treatments: tuple[Treatment, ...], update: int, name: str) -> bool:
    """Whether this update leaves a parameter as it is."""
    return any(x.kind == "freeze" and x.holds(update) and in_groups(name, x.groups) for x in treatments)


def drawn_anew(config: Config, update: int) -> Params:
    """The packed parameters that a reset draws just before this update; mostly none."""
    groups = [g for x in config.treatments if x.kind == "reset" and x.falls_on(update) for g in x.groups]
    if not groups:
        return {}
    return {name: p for name, p in pack(init(config, update)).items() if in_groups(name, tuple(groups))}


def moments_since(treatments: tuple[Treatment, ...], update: int, name: str) -> int:
    """The step at which a parameter's Adam moments were last cleared, up to this update: from
    there its bias correction counts. 0 where they never were."""
    return max((_last(x, update) for x in treatments if _clears(x, name)), default=0)


def _clears(treatment: Treatment, name: str) -> bool:
    return treatment.fresh_moments or (treatment.kind == "reset" and in_groups(name, treatment.groups))


def _last(treatment: Treatment, update: int) -> int:
    """The last strike of a treatment at or before an update; 0 before the first."""
    if update < treatment.start:
        return 0
    last = update if treatment.stop is None else min(update, treatment.stop - 1)
    since = last - treatment.start
    return treatment.start + (since // treatment.every * treatment.every if treatment.every else 0)
