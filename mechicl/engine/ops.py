"""The differentiable pieces of a forward pass: linear maps, LayerNorm, attention.

On the CPU in single precision each runs the fastest implementation that was found, with its
gradient (docs/speed.md); elsewhere (a GPU, double precision) it is plain torch. Parameters
may be stacked over models on a first axis s, which pairs with the first axis of x; a stacked
model's numbers are then, bit for bit, those it would get alone.

Legend: s model, d d_model, i inputs, o outputs, h head, k d_head, t positions.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-5  # of every LayerNorm


def matmul(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a [m, k] @ b [k, n] + bias [n], without gradient. Either may be a transposed view.

    oneDNN's kernels use AVX-512 on every vendor's CPU; torch's default (MKL) only on Intel's.
    """
    large = a.shape[0] * a.shape[1] * b.shape[1] > _SMALL
    if _ONEDNN and large and a.dtype == torch.float32 and a.device.type == "cpu":
        return torch.ops.mkldnn._linear_pointwise(_dense(a), _dense(b).mT, bias, "none", [], "")
    return a @ b if bias is None else torch.addmm(bias, a, b)


def _dense(x: Tensor) -> Tensor:
    """oneDNN meets any other layout (a slice of columns) with a reference loop, 1,000x slower."""
    return x if x.is_contiguous() or x.mT.is_contiguous() else x.contiguous()


_SMALL = 2**20  # multiplications, below which oneDNN's 10 us of preparation are not worth it
# The operator is torch's own but not public: without it, torch's default serves.
_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [*lead, i] @ w [i, o] + bias [o]; or w [s, i, o] and bias [s, o] for x [s, *lead, i]."""
    return _Linear.apply(x, w, bias)


def layer_norm(x: Tensor, w: Tensor, bias: Tensor) -> Tensor:
    """LayerNorm over the last axis. x [*lead, d]; w, bias [d], or [s, d] for x [s, *lead, d]."""
    if x.device.type == "cpu":
        return _LayerNorm.apply(x, w, bias)
    return F.layer_norm(x, x.shape[-1:], eps=EPS) * beside(w, x) + beside(bias, x)


def embed(features: Tensor, w: Tensor, bias: Tensor, table: Tensor, labels: Tensor, positions: Tensor) -> Tensor:
    """The input to the first layer, on the CPU: [*lead, 2C+1, d].

    Args:
        features: [*lead, C+1, i]; w [i, d] and bias [d] embed them (or stacked, as in `linear`).
        table: [v, d] or [s, v, d], label rows, of which labels [*lead, C] are shown between.
        positions: [2C+1, d], added; or [s, 2C+1, d].
    """
    return _Embed.apply(features, w, bias, table, labels, positions)


def cross_entropy(final: Tensor, w: Tensor, bias: Tensor, target: Tensor) -> Tensor:
    """Mean over sequences of -log softmax(final w + bias)[target], on the CPU.

    final [b, d], w [d, v], bias [v], target [b] give a scalar; with a leading s on all of
    them, one value per model [s].
    """
    return _CrossEntropy.apply(final, w, bias, target)


def attend(x: Tensor, norm: tuple[Tensor, Tensor] | None, w: Tensor, h: int, query_only: bool) -> Tensor:
    """LayerNorm (where there is one), projections and causal softmax attention, as one step.

    Args:
        x: [*lead, t, d], on the CPU.
        norm: the LayerNorm's weights and biases.
        w: [d, 3*h*k], or [s, d, 3*h*k]: queries, keys, values.
        query_only: only the last position asks.

    Returns:
        z [*lead, positions that ask, h*k].
    """
    return _Attend.apply(x, *(norm or (None, None)), w, h, query_only)


def beside(p: Tensor, x: Tensor) -> Tensor:
    """Parameters [*, o] reshaped to broadcast against activations [*lead, ..., o]."""
    return p if p.dim() == 1 else p.view(p.shape[0], *[1] * (x.dim() - 2), p.shape[-1])


def _map(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """`linear` without gradient."""
    if w.dim() == 2:
        return matmul(x.reshape(-1, x.shape[-1]), w, bias).view(*x.shape[:-1], w.shape[-1])
    biases = [None] * len(w) if bias is None else bias
    return torch.stack([_map(*each) for each in zip(x, w, biases, strict=True)])


def _outer(x: Tensor, dy: Tensor, w: Tensor) -> Tensor:
    """The gradient of `_map` at w, from x and the gradient dy at its output."""
    if w.dim() == 2:
        return matmul(x.reshape(-1, x.shape[-1]).mT, dy.reshape(-1, dy.shape[-1]))
    return torch.stack([_outer(*each) for each in zip(x, dy, w, strict=True)])


def _rows_sum(dy: Tensor, w: Tensor) -> Tensor:
    """The gradient of `_map` at its bias."""
    return dy.flatten(0, -2).sum(0) if w.dim() == 2 else dy.flatten(1, -2).sum(1)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, bias):
        ctx.save_for_backward(x, w)
        ctx.has_bias = bias is not None
        return _map(x, w, bias)

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        dx = _map(dy, w.mT) if ctx.needs_input_grad[0] else None
        dw = _outer(x, dy, w) if ctx.needs_input_grad[1] else None
        db = _rows_sum(dy, w) if ctx.has_bias and ctx.needs_input_grad[2] else None
        return dx, dw, db


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, bias):
        y, stats = _normalize(x, w, bias)
        ctx.save_for_backward(x, w, stats)
        return y

    @staticmethod
    def backward(ctx, dy):
        return _normalize_backward(dy, *ctx.saved_tensors)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, norm_w, norm_b, w, h, query_only):
        y, stats = (x, None) if norm_w is None else _normalize(x, norm_w, norm_b)
        d = w.shape[-1] // 3
        if query_only:  # two projections: of the last position, and of all
            q = _map(y[..., -1:, :], w[..., :d])
            kv = _map(y, w[..., d:])
        else:
            q = kv = _map(y, w)
        queries, keys = _slots(q, h, q.shape[-1] // d), _slots(kv, h, kv.shape[-1] // d)
        n, tq, size = queries.shape[0], queries.shape[1], d // h
        kernels = _attention(h, size, keys.shape[1], tq, query_only, x.dtype)
        p, z = x.new_empty(n, tq, keys.shape[1], h), x.new_empty(*q.shape[:-1], d)
        scale = queries.dtype.type(size**-0.5)
        kernels[0](queries, keys, keys, scale, p.numpy(), _slots(z, h, 1)[:, :, 0])
        ctx.save_for_backward(x, norm_w, stats, y, w, p)
        ctx.views = queries, keys, scale, kernels[1]
        return z

    @staticmethod
    def backward(ctx, dz):
        x, norm_w, stats, y, w, p = ctx.saved_tensors
        queries, keys, scale, kernel = ctx.views
        n, t, _, h, size = keys.shape
        d, query_only = h * size, queries is not keys and queries.shape[2] == 1
        dq = p.new_empty(*y.shape[:-2], queries.shape[1], queries.shape[2] * d)
        dkv = p.new_empty(*y.shape[:-1], keys.shape[2] * d) if query_only else dq
        to_q, to_kv = _slots(dq, h, queries.shape[2]), _slots(dkv, h, keys.shape[2])
        kernel(queries, keys, keys, scale, p.numpy(), _slots(dz.contiguous(), h, 1)[:, :, 0], to_q, to_kv, to_kv)
        if query_only:
            dy = _map(dkv, w[..., d:].mT)
            dy[..., -1:, :] += _map(dq, w[..., :d].mT)
            dw = torch.cat([_outer(y[..., -1:, :], dq, w), _outer(y, dkv, w)], -1)
        else:
            dy, dw = _map(dq, w.mT), _outer(y, dq, w)
        dx, *dnorm = (dy, None, None) if norm_w is None else _normalize_backward(dy, x, norm_w, stats)
        return dx, *dnorm, dw, None, None


class _Embed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features, w, bias, table, labels, positions):
        from mechicl.engine.kernels import interleave

        shown = _map(features, w, bias)
        x = shown.new_empty(*shown.shape[:-2], 2 * shown.shape[-2] - 1, shown.shape[-1])
        each = labels.detach().numpy().reshape(len(table) if table.dim() == 3 else 1, -1, labels.shape[-1])
        interleave(_sequences(shown), _sequences(table), each, _sequences(positions), _sequences(x))
        ctx.save_for_backward(features, w, bias, table, positions)
        ctx.labels = each
        return x

    @staticmethod
    def backward(ctx, dx):
        from mechicl.engine.kernels import interleave_backward

        features, w, bias, table, positions = ctx.saved_tensors
        dshown = dx.new_empty(*features.shape[:-1], w.shape[-1])
        dtable, dpos = torch.zeros_like(table), torch.empty_like(positions)
        interleave_backward(_sequences(dx.contiguous()), ctx.labels, _sequences(dshown), _sequences(dtable),
                            _sequences(dpos))  # fmt: skip
        dw = _outer(features, dshown, w)
        return None, dw, _rows_sum(dshown, w), dtable, None, dpos


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, final, w, bias, target):
        from mechicl.engine.kernels import cross_entropy

        z = _map(final, w, bias)  # becomes the gradient at itself
        b = target.shape[-1]
        losses, db = final.new_empty(target.shape), torch.empty_like(bias)
        rows = _rows(z)
        cross_entropy(z.dtype == torch.float64)(
            rows, target.numpy().reshape(-1), b, rows.dtype.type(1 / b), losses.numpy().reshape(-1), _stacked(db)
        )  # fmt: skip
        ctx.save_for_backward(final, w, z, db)
        return losses.mean(-1)

    @staticmethod
    def backward(ctx, dloss):
        final, w, z, db = ctx.saved_tensors
        scaled = final * dloss[..., None, None]
        return _map(z, w.mT) * dloss[..., None, None], _outer(scaled, z, w), db * dloss[..., None], None


def _attention(h: int, k: int, t: int, tq: int, query_only: bool, dtype: torch.dtype):
    from mechicl.engine.kernels import attention

    return attention(h, k, t, tq, (0, 0, 1) if query_only else (0, 1, 2), dtype == torch.float64)


def _normalize(x: Tensor, w: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """LayerNorm of x, and the rows' means and 1/std [2, r] for its gradient."""
    from mechicl.engine.kernels import layer_norm

    x, models = x.contiguous(), len(w) if w.dim() == 2 else 1
    y, stats = torch.empty_like(x), x.new_empty(2, x.numel() // x.shape[-1])
    mean, rstd = stats.numpy()
    layer_norm(_rows(x), _stacked(w), _stacked(bias), len(mean) // models, EPS, _rows(y), mean, rstd)
    return y, stats


def _normalize_backward(dy: Tensor, x: Tensor, w: Tensor, stats: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    from mechicl.engine.kernels import layer_norm_backward

    x, models = x.contiguous(), len(w) if w.dim() == 2 else 1
    dx, dw, db = torch.empty_like(x), torch.empty_like(w), torch.empty_like(w)
    mean, rstd = stats.numpy()
    layer_norm_backward(_rows(dy.contiguous()), _rows(x), _stacked(w), len(mean) // models, mean, rstd,
                        _rows(dx), _stacked(dw), _stacked(db))  # fmt: skip
    return dx, dw, db


def _slots(x: Tensor, h: int, slots: int) -> np.ndarray:
    """[*lead, positions, slots*h*k] as numpy [n, positions, slot, h, k]."""
    return x.detach().numpy().reshape(-1, x.shape[-2], slots, h, x.shape[-1] // (slots * h))


def _sequences(x: Tensor) -> np.ndarray:
    return x.detach().numpy().reshape(-1, *x.shape[-2:])


def _rows(x: Tensor) -> np.ndarray:
    return x.detach().numpy().reshape(-1, x.shape[-1])


def _stacked(w: Tensor) -> np.ndarray:
    """[s, d], also of a single model's [d]."""
    return w.detach().numpy().reshape(-1, w.shape[-1])
