"""Loss and gradients of one training step, written out layer by layer.

What autograd gives through `forward` (a test compares them), without its bookkeeping, which
at this size costs as much as the arithmetic. Each piece returns its output and its pullback:
a function from the gradient at the output to the gradient at the input, which notes the
gradients of its parameters on the way.

Parameters are packed, plain or stacked over models (axis s, which the batch then has too).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.data.banks import Batch
from mechicl.engine.ops import Attention, embed, map_rows, matmul, normalize, project, rows, sequences, stacked
from mechicl.engine.params import Params, sinusoidal_positions

Pullback = Callable[..., Tensor]


def loss_and_gradients(
    params: Params, batch: Batch, model: ModelConfig, d_table: np.ndarray
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean cross-entropy at the query (a scalar, or [s]) and the gradient of every parameter
    but the label embedding, whose gradient is added to `d_table` [s, v, d] in the few rows
    that the batch shows.

    Not for rotary positions: there, autograd serves.
    """
    grads: dict[str, Tensor] = {}
    x, back = _embed(params, batch, model, d_table, grads)
    pullbacks: list[Pullback] = [back]
    for layer in range(model.n_layers):
        block = f"blocks.{layer}"
        x, back = _attention(params, x, model, block, layer == model.n_layers - 1, grads)
        pullbacks.append(back)
        if model.has_mlp(layer):
            x, back = _mlp(params, x, model, block, grads)
            pullbacks.append(back)
    if model.layer_norm:
        x, back = _norm(params, "ln_final", x, grads)
        pullbacks.append(back)
    value, dx = _head(params, x, batch.target, grads)
    for back in reversed(pullbacks):
        dx = back(dx)
    return value, grads


def _embed(params: Params, batch: Batch, model: ModelConfig, d_table: np.ndarray, grads: Params):
    from mechicl.engine.kernels import interleave_backward

    w, bias, table = (params[name] for name in ("exemplar_embed.W", "exemplar_embed.b", "embed.W_E"))
    features, t = batch.exemplars.to(w.dtype), 2 * batch.n_pairs + 1
    learned = model.positions == "learned"
    if learned:
        positions = params["pos_embed.W_pos"]
    else:
        positions = sinusoidal_positions(t, model.d_model, model.position_time).to(w.dtype)

    def back(dx: Tensor) -> Tensor:
        d_shown, d_positions = dx.new_empty(*features.shape[:-1], w.shape[-1]), torch.empty_like(positions)
        labels = batch.labels.numpy().reshape(len(d_table), -1, batch.n_pairs)
        interleave_backward(sequences(dx), labels, sequences(d_shown), d_table, sequences(d_positions))
        grads["exemplar_embed.W"], grads["exemplar_embed.b"] = _outer(features, d_shown, w), _sum(d_shown, w)
        if learned:
            grads["pos_embed.W_pos"] = d_positions
        return dx

    return embed(features, w, bias, table, batch.labels, positions), back


def _attention(params: Params, x: Tensor, model: ModelConfig, block: str, query_only: bool, grads: Params):
    w, w_out = params[f"{block}.attn.W_QKV"], params[f"{block}.attn.W_O"]
    y, norm_back = _norm(params, f"{block}.ln1", x, grads) if model.layer_norm else (x, None)
    q, kv = project(y, w, query_only)
    attention = Attention(q, kv, model.n_heads)
    out = map_rows(attention.z, w_out)
    out += x[..., -1:, :] if query_only else x

    def back(d_out: Tensor) -> Tensor:
        grads[f"{block}.attn.W_O"] = _outer(attention.z, d_out, w_out)
        dq, dkv = attention.gradient(map_rows(d_out, w_out.mT), q, kv)
        if query_only:
            d = model.d_model
            dy, last = map_rows(dkv, w[..., d:].mT), y[..., -1:, :]
            dy[..., -1:, :] += map_rows(dq, w[..., :d].mT)
            grads[f"{block}.attn.W_QKV"] = torch.cat([_outer(last, dq, w), _outer(y, dkv, w)], -1)
        else:
            dy, grads[f"{block}.attn.W_QKV"] = map_rows(dq, w.mT), _outer(y, dq, w)
        dx = dy if norm_back is None else norm_back(dy)
        if query_only:
            dx[..., -1:, :] += d_out
        else:
            dx += d_out
        return dx

    return out, back


def _mlp(params: Params, x: Tensor, model: ModelConfig, block: str, grads: Params):
    w_in, w_out = params[f"{block}.mlp.W_in"], params[f"{block}.mlp.W_out"]
    y, norm_back = _norm(params, f"{block}.ln2", x, grads) if model.layer_norm else (x, None)
    pre = map_rows(y, w_in, params[f"{block}.mlp.b_in"])
    post = F.gelu(pre)
    out = map_rows(post, w_out, params[f"{block}.mlp.b_out"])
    out += x

    def back(d_out: Tensor) -> Tensor:
        grads[f"{block}.mlp.W_out"], grads[f"{block}.mlp.b_out"] = _outer(post, d_out, w_out), _sum(d_out, w_out)
        d_pre = torch.ops.aten.gelu_backward(map_rows(d_out, w_out.mT), pre)
        grads[f"{block}.mlp.W_in"], grads[f"{block}.mlp.b_in"] = _outer(y, d_pre, w_in), _sum(d_pre, w_in)
        dy = map_rows(d_pre, w_in.mT)
        dx = dy if norm_back is None else norm_back(dy)
        dx += d_out
        return dx

    return out, back


def _norm(params: Params, name: str, x: Tensor, grads: Params) -> tuple[Tensor, Pullback]:
    from mechicl.engine.kernels import layer_norm_backward

    w = params[f"{name}.w"]
    x, models = x.contiguous(), len(w) if w.dim() == 2 else 1
    y, (mean, rstd) = normalize(x, w, params[f"{name}.b"])

    def back(dy: Tensor) -> Tensor:
        dx, dw, db = torch.empty_like(x), torch.empty_like(w), torch.empty_like(w)
        grads[f"{name}.w"], grads[f"{name}.b"] = dw, db
        layer_norm_backward(rows(dy), rows(x), stacked(w), len(mean) // models, mean, rstd,
                            rows(dx), stacked(dw), stacked(db))  # fmt: skip
        return dx

    return y, back


def _head(params: Params, x: Tensor, target: Tensor, grads: Params) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient at x [*lead, b, 1 or t, d]."""
    from mechicl.engine.head import cross_entropy

    w, bias = params["unembed.W_U"], params["unembed.b_U"]
    final = x[..., -1, :]
    z, db, b = map_rows(final, w, bias), torch.empty_like(bias), target.shape[-1]  # z becomes its own gradient
    logits, losses = rows(z), np.empty(target.numel(), rows(z).dtype)
    kernel = cross_entropy(losses.dtype == np.float64)
    kernel(logits, target.numpy().reshape(-1), b, losses.dtype.type(1 / b), losses, stacked(db))
    grads["unembed.W_U"], grads["unembed.b_U"] = _outer(final, z, w), db
    return torch.from_numpy(losses).view(target.shape).mean(-1), map_rows(z, w.mT).view(x.shape)


def _outer(x: Tensor, dy: Tensor, w: Tensor) -> Tensor:
    """The gradient of `map_rows(x, w)` at w."""
    if w.dim() == 2:
        return matmul(x.reshape(-1, x.shape[-1]).mT, dy.reshape(-1, dy.shape[-1]))
    return torch.stack([_outer(*each) for each in zip(x, dy, w, strict=True)])


def _sum(dy: Tensor, w: Tensor) -> Tensor:
    """The gradient of `map_rows(x, w, bias)` at bias."""
    return dy.flatten(0, -2).sum(0) if w.dim() == 2 else dy.flatten(1, -2).sum(1)
