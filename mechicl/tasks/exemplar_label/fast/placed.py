"""What positions do to queries and keys in the written-out gradients: moved, turned, clamped to a match.

Arrays are q [s, slot, h, k, q, b] and kv [s, slot, h, k, t, b], as in engine/fast/attention.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mechicl.config import ModelConfig
from mechicl.engine.fast.batch_last import rotate
from mechicl.models.params import rotary_tables
from mechicl.tasks.exemplar_label.batch import Batch
from mechicl.tasks.exemplar_label.clamped import match_row

Array = np.ndarray


def sum_and_shares(scores: Array) -> tuple[Array, Array]:
    """logsumexp [s, 1, b] and softmax [s, C, b] over the second axis."""
    top = scores.max(1, keepdims=True)
    each = np.exp(scores - top)
    norm = each.sum(1, keepdims=True)
    return top + np.log(norm), each / norm


def move(q: Array, kv: Array, slots: tuple[int, int, int], at: Array) -> None:
    """Queries and keys, in place: at position j those of position at[j]. Of the last positions, where q has no more."""
    first = len(at) - q.shape[4]
    q[:, slots[0]] = q[:, slots[0]][..., at[first:] - first, :]
    kv[:, slots[1]] = kv[:, slots[1]][..., at, :]


def move_back(dq: Array, dkv: Array, slots: tuple[int, int, int], at: Array) -> None:
    """The gradient of `move`, in place."""
    first = len(at) - dq.shape[4]
    for d, slot, where in ((dq, slots[0], at[first:] - first), (dkv, slots[1], at)):
        moved = d[:, slot].copy()
        d[:, slot] = 0
        for j, i in enumerate(where):
            d[:, slot, :, :, i] += moved[..., j, :]


def clamp_rows(batch: Batch, strength: float, dtype: np.dtype) -> tuple[Array, Array]:
    """A match clamp's rows [s, t, b], and whether each holds [s, b]: stacked batches have an axis s of their own."""
    # The length of a stacked batch is its sequences, not its models.
    stacked = [batch[i] for i in range(len(batch.target))] if batch.stacked else [batch]
    rows, holds = zip(*(match_row(each, strength) for each in stacked), strict=True)
    return np.stack([row.T.numpy() for row in rows]).astype(dtype), np.stack([x.numpy() for x in holds]).astype(dtype)


def turning(
    model: ModelConfig, t: int, dtype: np.dtype, slots: tuple[int, int, int]
) -> Callable[[Array, Array, int], None]:
    """What turns queries and keys in place by their positions (direction 1), or their gradients back (-1)."""
    cos, sin = (table[:, : model.d_head // 2].numpy().astype(dtype) for table in rotary_tables(model, t))

    def turn(q: Array, kv: Array, direction: int) -> None:
        asking = t - q.shape[4]
        rotate(q, slots[0], cos[asking:], direction * sin[asking:])
        rotate(kv, slots[1], cos, direction * sin)

    return turn
