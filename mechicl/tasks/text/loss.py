"""The mean cross-entropy over a vocabulary, and its gradients, a few positions at a time.

All logits of a batch, their softmax and its gradient are far larger than the caches, and each pass over them waits for
memory. Here a few rows are taken through all of it while they are in the cache, and their logits are then forgotten. It
is the same sum of the same numbers, in another order.

Legend: r rows (positions that count), d d_model, v tokens.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mechicl.engine.fast.unembed import cross_entropy as compiled_loss

_AT_ONCE = 2**17  # logits at a time: half a megabyte, which with their operands stays in the second cache


def cross_entropy(x: Tensor, w: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """mean(-log softmax(x w + bias)[target]), a scalar, differentiable once. x [r, d], w [d, v], bias [v], targets [r].

    On another device than the CPU, and where nothing asks for a gradient, it is torch's own.
    """
    if x.device.type != "cpu" or not torch.is_grad_enabled():
        return F.cross_entropy(x @ w + bias, targets)
    return _CrossEntropy.apply(x, w, bias, targets)  # type: ignore[no-any-return]


class _CrossEntropy(torch.autograd.Function):
    """Its gradients are found with the loss, since the logits are there then."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        x, dw, db = x.contiguous(), torch.zeros_like(w), torch.zeros_like(bias)
        dx, lost, here = torch.empty_like(x), x.new_empty(len(x)), torch.empty_like(bias)[None]
        size, kernel = max(1, _AT_ONCE // w.shape[1]), compiled_loss(x.dtype == torch.float64)
        added, right, scale = bias[None].numpy(), targets.numpy(), x.numpy().dtype.type(1 / len(x))
        for i in range(0, len(x), size):
            rows, part = x[i : i + size], slice(i, i + size)
            z = rows @ w
            kernel(z.numpy(), added, right[part], len(z), scale, lost.numpy()[part], here.numpy())
            torch.mm(z, w.mT, out=dx[part])
            dw.addmm_(rows.mT, z)
            db += here[0]
        ctx.save_for_backward(dx, dw, db)
        return lost.mean()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:  # type: ignore[override]
        dx, dw, db = ctx.saved_tensors
        return dx * grads[0], dw * grads[0], db * grads[0], None
