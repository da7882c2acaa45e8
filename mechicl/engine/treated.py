"""Treatments of heads and of parameters, as the training step meets them.

Legend: h heads, k d_head, t positions, q positions that ask (the last q of the t), d d_model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from mechicl.config import Config, ModelConfig
from mechicl.engine.forward import Edit
from mechicl.engine.params import Params, init, pack
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
    """What is done to one layer's heads. keep [h]: 0 for ablated ones, or None."""

    keep: Tensor | None
    clamp: Clamp | None


@cache
@torch.inference_mode(False)  # kept: an evaluation may ask first, and training by autograd then
def layer_treatments(treatments: tuple[Treatment, ...], model: ModelConfig, t: int) -> dict[int, LayerTreatment]:
    """The treatments in force that change the forward pass, by layer. t: positions."""
    out = {}
    for layer in range(model.n_layers):
        ablated = [h for x in treatments if x.kind == "ablate" for la, h in x.heads if la == layer]
        clamps = [(x.pattern, h) for x in treatments if x.kind == "clamp" for la, h in x.heads if la == layer]
        if not ablated and not clamps:
            continue
        keep = None
        if ablated:
            keep = torch.ones(model.n_heads)
            keep[ablated] = 0
        out[layer] = LayerTreatment(keep, _clamp(clamps, model.n_heads, t) if clamps else None)
    return out


def _clamp(clamps: list[tuple[str | None, int]], heads: int, t: int) -> Clamp:
    held = torch.zeros(heads, dtype=torch.bool)
    pattern, banned = torch.zeros(heads, t, t), torch.zeros(heads, t, t, dtype=torch.bool)
    for name, head in clamps:
        if name == "forbid_previous":
            labels = torch.arange(1, t, 2)
            banned[head, labels, labels - 1] = True
        else:
            held[head], pattern[head] = True, held_pattern(str(name), t)
    return Clamp(held, pattern, banned)


def held_pattern(name: str, t: int) -> Tensor:
    """[t, t], rows sum to 1: 'uniform', 'previous' or 'self' (treatments.PATTERNS)."""
    if name == "uniform":
        return torch.ones(t, t).tril() / torch.arange(1, t + 1)[:, None]
    at = torch.arange(t) if name == "self" else (torch.arange(t) - 1).clamp(min=0)
    return torch.eye(t)[at]


def edits(treated: Mapping[int, LayerTreatment], model: ModelConfig, everywhere: bool = False) -> dict[str, Edit]:
    """The same for `forward` (with query_only, its default). everywhere: as the batch's, where answers are read."""
    out = {}
    for layer, what in treated.items():
        query_alone = layer == model.n_layers - 1 and not everywhere
        name, asked = f"blocks.{layer}.attn", slice(-1 if query_alone else None, None)
        if what.clamp is not None:
            held, banned = what.clamp.held[:, None, None], what.clamp.banned[:, asked]
            out[f"{name}.hook_attn_scores"] = Edit(1.0, torch.zeros(banned.shape).masked_fill(banned, -torch.inf))
            out[f"{name}.hook_pattern"] = Edit((~held).float(), what.clamp.pattern[:, asked] * held)
        if what.keep is not None:
            out[f"{name}.hook_z"] = Edit(what.keep[:, None], 0.0)
    return out


class ClampedAttention:
    """`columns.attention` where some patterns are held, and its gradient: the same arrays
    q [s, slot, h, k, q, b] and kv [s, slot, h, k, t, b], z [s, h, k, q, b]."""

    def __init__(self, q: np.ndarray, kv: np.ndarray, slots: tuple[int, int, int], scale: float, clamp: Clamp):
        self.slots, self.scale = slots, scale
        self.parts = tuple(torch.from_numpy(x[:, slot]) for x, slot in zip((q, kv, kv), slots, strict=True))
        queries, keys, values = self.parts
        t, asking = keys.shape[-2], queries.shape[-2]
        scores = torch.einsum("xhkqb,xhksb->xhqsb", queries, keys) * scale
        unseen = torch.ones(t, t, dtype=torch.bool).triu(1) | clamp.banned
        self.free = (~clamp.held).to(scores.dtype)[:, None, None, None]
        learned = scores.masked_fill(unseen[:, t - asking :, :, None], -torch.inf).softmax(-2)
        held = clamp.pattern[:, t - asking :] * clamp.held[:, None, None]
        self.p = learned * self.free + held[..., None].to(scores.dtype)
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
