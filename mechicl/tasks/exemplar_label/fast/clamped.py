"""Attention of which some patterns are held, and its gradient, in the written-out gradients.

Legend: s model, h heads, k d_head, t positions, q positions that ask (the last q of the t), b batch.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from mechicl.engine.held import Clamp


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
        self.slots: tuple[int, int, int] = slots
        self.scale: float = scale
        self.parts: tuple[Tensor, ...] = tuple(
            torch.from_numpy(x[:, slot]) for x, slot in zip((q, kv, kv), slots, strict=True)
        )
        queries, keys, values = self.parts
        t, asking = keys.shape[-2], queries.shape[-2]
        scores = torch.einsum("xhkqb,xhksb->xhqsb", queries, keys) * scale
        unseen = torch.ones(t, t, dtype=torch.bool).triu(1) | clamp.banned
        self.free: Tensor = (1 - clamp.held).to(scores.dtype)[:, None, None, None]
        self.learned: Tensor = scores.masked_fill(unseen[:, t - asking :, :, None], -torch.inf).softmax(-2)
        held = clamp.pattern[:, t - asking :] * clamp.held[:, None, None]
        held = held[..., None].to(scores.dtype)  # [h, q, t, 1]
        for head, row, holds in rows:
            at = torch.zeros(scores.shape[1], asking, 1, 1, dtype=scores.dtype)
            at[head, -1] = 1
            now = at * torch.from_numpy(holds)[:, None, None, None]  # [s, h, q, 1, b]
            self.free, held = self.free * (1 - now), held + now * torch.from_numpy(row)[:, None, None]
        self.p: Tensor = self.learned * self.free + held
        self.z: np.ndarray = torch.einsum("xhqsb,xhksb->xhkqb", self.p, values).contiguous().numpy()

    def gradient(self, dz: np.ndarray, dq: np.ndarray, dkv: np.ndarray) -> None:
        """Fills the slots of dq and dkv. What is held of a pattern passes no gradient on to queries and keys."""
        queries, keys, values = self.parts
        d = torch.from_numpy(dz)
        dp = torch.einsum("xhkqb,xhksb->xhqsb", d, values)
        ds = self.learned * (dp - (dp * self.learned).sum(-2, keepdim=True)) * self.free * self.scale
        for to, slot, value in (
            (dq, self.slots[0], torch.einsum("xhqsb,xhksb->xhkqb", ds, keys)),
            (dkv, self.slots[1], torch.einsum("xhqsb,xhkqb->xhksb", ds, queries)),
            (dkv, self.slots[2], torch.einsum("xhqsb,xhkqb->xhksb", self.p, d)),
        ):
            to[:, slot] = value.numpy()
