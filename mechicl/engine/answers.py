"""Whether answers are right, and their loss, over all labels or tokens.

A few rows are scored at a time, so that their logits stay in the caches.

Legend: r rows (answers), d d_model, v labels or tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mechicl.engine.ops import compiled, linear, matmul_arrays

_BLOCK = 256  # rows at once, of up to 16,384 labels
_LOGITS = 2**22  # at once, of more
_ELSEWHERE = 2**24  # logits at once on another device, where each block is a call that waits


def answered(params: dict[str, Any], final: Tensor, target: Tensor, with_loss: bool = True) -> tuple[Tensor, Tensor]:
    """Whether the likeliest of all labels is the right one, and -log softmax of the right one.

    Args:
        params: with the unembedding [d, v] and its bias, or stacked over models on a first axis, as final then is.
        final: [*lead, r, d], the normed residual stream where the answers are read (`engine.forward`).
        target: [r].
        with_loss: or the loss is not computed, and means nothing.

    Returns:
        right, bool, and loss, both [*lead, r].
    """
    w, bias = params["unembed.W_U"], params["unembed.b_U"]
    parts = [(final, w, bias)] if w.dim() == 2 else list(zip(final, w, bias, strict=True))
    right, loss = zip(*(_of_a_model(*part, target, with_loss) for part in parts), strict=True)
    return torch.stack(right).view(final.shape[:-1]), torch.stack(loss).view(final.shape[:-1])


def _of_a_model(final: Tensor, w: Tensor, bias: Tensor, target: Tensor, with_loss: bool) -> tuple[Tensor, Tensor]:
    """Of one model, [rows]."""
    rows = final.reshape(-1, final.shape[-1])
    answers = target.expand(final.shape[:-1]).reshape(-1)
    right, loss = rows.new_empty(len(rows), dtype=torch.bool), rows.new_empty(len(rows))
    quick, v = compiled(rows, w), w.shape[-1]
    size = max(1, min(_BLOCK, _LOGITS // v) if quick else _ELSEWHERE // v)
    blocks = [slice(i, i + size) for i in range(0, len(rows), size)]
    if not quick:
        for block in blocks:
            z = linear(rows[block], w, bias)
            right[block] = z.argmax(-1) == answers[block]
            if with_loss:
                loss[block] = F.cross_entropy(z, answers[block], reduction="none")
        return right, loss
    from mechicl.engine.fast.unembed import score_rows

    x, wanted, correct, lost = (each.numpy() for each in (rows, answers, right, loss))
    kernel, table, added = score_rows(x.dtype == np.float64, with_loss), w[None].numpy(), bias.numpy()
    held = np.empty((1, min(size, len(x)), v), x.dtype)  # fresh memory would cost as much as filling it
    for block in blocks:
        z = matmul_arrays(x[None, block], table, held[:, : len(x[block])])[0]
        kernel(z, added, wanted[block], correct[block], lost[block])
    return right, loss
