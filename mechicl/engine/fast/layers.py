"""The layers that any task's fast step has: a linear map, layer norm and an MLP, each with its pullback.

Activations are [s, d, n], their columns n all positions of all sequences, the batch last (batch_last.py says why). So a
linear map is w.T @ x: weights [s, i, o] take x [s, i, n] to [s, o, n].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F

from mechicl.config import ModelConfig
from mechicl.engine.fast.batch_last import add, layer_norm, layer_norm_backward
from mechicl.engine.fast.gelu import gelu_tanh, times_slope
from mechicl.engine.ops import EPS, matmul_arrays

Array = np.ndarray
Arrays = dict[str, np.ndarray]
Pullback = Callable[[Array], Array]


class NormPullback(Protocol):
    """From the gradient at a norm's output and that which goes past it (of the last columns) to that at x."""

    def __call__(self, dy: Array, past: Array) -> Array: ...


def linear(w: Array, x: Array) -> Array:
    """w [s, i, o] and x [s, i, n] -> w.T x [s, o, n]."""
    return matmul_arrays(w.mT, x)


def outer(x: Array, dy: Array, out: Array) -> None:
    """The gradient of `linear` at w, from that at its output."""
    matmul_arrays(x, dy.mT, out)


def norm(params: Arrays, name: str, x: Array, grads: Arrays) -> tuple[Array, NormPullback]:
    w, b = f"{name}.w", f"{name}.b"
    y, stats = np.empty_like(x), np.empty((x.shape[0], 2, x.shape[2]), x.dtype)
    layer_norm(x, params[w], params[b], EPS, y, stats)

    def back(dy: Array, past: Array) -> Array:
        dx = np.empty_like(x)
        layer_norm_backward(dy, x, params[w], stats, past, dx, grads[w], grads[b])
        return dx

    return y, back


def add_last(dy: Array, past: Array) -> Array:
    """A norm's pullback where there is none: `past` is added to the last columns, in place."""
    dy[:, :, dy.shape[2] - past.shape[2] :] += past
    return dy


def activation(pre: Array, bias: Array, model: ModelConfig, d_bias: Array) -> tuple[Array, Pullback]:
    """gelu(pre + bias), and its pullback. pre, which is overwritten, [s, m, n]; bias [s, m] and its gradient."""
    if model.activation == "gelu_tanh":
        post = np.empty_like(pre)
        gelu_tanh(pre, bias, post)  # pre is its slope now

        def back(d_post: Array) -> Array:
            times_slope(d_post, pre, d_bias)
            return d_post

        return post, back

    pre += bias[..., None]  # the exact form is torch's: its bits are those of committed runs
    x = torch.from_numpy(pre)

    def exact_back(d_post: Array) -> Array:
        d_pre = torch.ops.aten.gelu_backward(torch.from_numpy(d_post), x).numpy()
        d_pre.sum(2, out=d_bias)
        return d_pre

    return F.gelu(x).numpy(), exact_back


def mlp(
    params: Arrays, x: Array, model: ModelConfig, block: str, grads: Arrays
) -> tuple[Array, Callable[[Array], Array]]:
    w_in, w_out = params[f"{block}.mlp.W_in"], params[f"{block}.mlp.W_out"]
    y, norm_back = norm(params, f"{block}.ln2", x, grads) if model.layer_norm else (x, add_last)
    pre = linear(w_in, y)
    post, act_back = activation(pre, params[f"{block}.mlp.b_in"], model, grads[f"{block}.mlp.b_in"])
    out = linear(w_out, post)
    add(out, params[f"{block}.mlp.b_out"], x)

    def back(d_out: Array) -> Array:
        outer(post, d_out, grads[f"{block}.mlp.W_out"])
        d_out.sum(2, out=grads[f"{block}.mlp.b_out"])
        d_pre = act_back(linear(w_out.mT, d_out))
        outer(y, d_pre, grads[f"{block}.mlp.W_in"])
        return norm_back(linear(w_in.mT, d_pre), d_out)

    return out, back
