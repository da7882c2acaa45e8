"""The pieces of a forward pass: linear maps, LayerNorm, attention.

On the CPU, without autograd, each runs the fastest implementation that was found
(docs/speed.md): compiled loops, and oneDNN's matmuls in single precision. Elsewhere it is
plain torch, differentiable and on any device. Parameters may be stacked over models on a
first axis s, which pairs with the first axis of x. A model in a stack then gets the same numbers, bit for bit, as
alone.

Legend: s model, d d_model, i inputs, o outputs, h head, k d_head, t positions, r rows.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-5  # of every LayerNorm
GELU = {"gelu": "none", "gelu_tanh": "tanh"}  # ModelConfig.activation -> what torch calls the form
LONG = 64  # positions: of longer sequences torch's own operators are the faster ones, whose loops run along positions
_SMALL = 2**20  # multiplications, below which oneDNN's 10 us of preparation are not worth it
_TINY = 2**17  # the same for torch's 2 us, where MKL serves


def _intel() -> bool:
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "Intel" in platform.processor()


# Which library's matmuls: the CPU decides, not a timing, so that a machine always gives the same bits.
# On Intel's CPUs MKL, torch's default, is the fastest (155 to 170 GFLOP/s where numpy's OpenBLAS
# has 90 to 130 and oneDNN 60 to 138). On AMD's with AVX-512 oneDNN is twice as fast as MKL; with
# AVX2 only, it is slower than either. oneDNN's operator is torch's own but not public: without
# it, numpy's and torch's defaults serve.
_MKL = torch.backends.mkl.is_available() and _intel()
_ONEDNN = (
    not _MKL
    and torch.backends.mkldnn.is_available()
    and torch.backends.cpu.get_cpu_capability() == "AVX512"
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
_LINEAR: Any = torch.ops.mkldnn._linear_pointwise.default if _ONEDNN else None  # looked up once


def compiled(*tensors: Tensor) -> bool:
    """Whether the compiled kernels can be used: on the CPU, and if nothing asks for autograd."""
    grad = torch.is_grad_enabled()
    return all(x.device.type == "cpu" and not (grad and x.requires_grad) for x in tensors)


def matmul(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a [m, k] @ b [k, n] + bias [n], without gradient. Either may be a transposed view."""
    large = a.shape[0] * a.shape[1] * b.shape[1] > _SMALL
    if _ONEDNN and large and a.dtype == torch.float32 and a.device.type == "cpu":
        return _LINEAR(_dense(a), _dense(b).mT, bias, "none", [], "")
    return a @ b if bias is None else torch.addmm(bias, a, b)


def matmul_arrays(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """a [s, m, k] @ b [s, k, n] in numpy, into `out` if given. Either may be a transposed view."""
    if not (_MKL or _ONEDNN):
        return np.matmul(a, b, out=out)
    size = a.shape[1] * a.shape[2] * b.shape[2]
    if _ONEDNN and size > _SMALL and a.dtype == np.float32:
        return _onednn_arrays(a, b, out)
    if not (_MKL and size > _TINY):
        return np.matmul(a, b, out=out)
    if out is None:
        out = np.empty((*a.shape[:2], b.shape[2]), a.dtype)
    for each in zip(a, b, out, strict=True):
        x, y, z = (torch.from_numpy(array) for array in each)
        torch.mm(x, y, out=z)
    return out


def _onednn_arrays(a: np.ndarray, b: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """oneDNN returns an array of its own. It is copied only where the product must lie in a given place."""
    if len(a) == 1 and out is None:
        return _onednn(a[0], b[0])[None]
    out = np.empty((*a.shape[:2], b.shape[2]), a.dtype) if out is None else out
    for x, y, z in zip(a, b, out, strict=True):
        z[:] = _onednn(x, y)
    return out


def _onednn(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x [m, k] @ y [k, n], with as little around it as possible: a training step has 150 of them."""
    x, y = (each if each.flags.forc else np.ascontiguousarray(each) for each in (x, y))
    return _LINEAR(torch.from_numpy(x), torch.from_numpy(y.T), None, "none", [], "").numpy()


def _dense(x: Tensor) -> Tensor:
    """For any other layout (such as a slice of columns) oneDNN uses a reference loop that is 1,000x slower."""
    return x if x.is_contiguous() or x.mT.is_contiguous() else x.contiguous()


def linear(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [*lead, i] @ w [i, o] + bias [o]; or w [s, i, o] and bias [s, o] for x [s, *lead, i]."""
    if compiled(x, w):
        return map_rows(x, w, bias)
    if w.dim() == 2:
        return x @ w if bias is None else x @ w + bias
    out = torch.bmm(x.flatten(1, -2), w).unflatten(1, x.shape[1:-1])
    return out if bias is None else out + beside(bias, out)


def map_rows(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """`linear`, without gradient."""
    if w.dim() == 2:
        return matmul(x.reshape(-1, x.shape[-1]), w, bias).view(*x.shape[:-1], w.shape[-1])
    biases = [None] * len(w) if bias is None else bias
    return torch.stack([map_rows(*each) for each in zip(x, w, biases, strict=True)])


def layer_norm(x: Tensor, w: Tensor, bias: Tensor) -> Tensor:
    """LayerNorm over the last axis. x [*lead, d]; w, bias [d], or [s, d] for x [s, *lead, d]."""
    if not compiled(x, w):
        if w.dim() == 1 and x.shape[-2] > LONG:
            return F.layer_norm(x, x.shape[-1:], w, bias, EPS)
        return F.layer_norm(x, x.shape[-1:], eps=EPS) * beside(w, x) + beside(bias, x)
    from mechicl.engine.fast.kernels import layer_norm as kernel

    x, models = x.contiguous(), len(w) if w.dim() == 2 else 1
    y, source = torch.empty_like(x), rows(x)
    kernel(source, stacked(w), stacked(bias), len(source) // models, EPS, rows(y))
    return y


def project(y: Tensor, w: Tensor, query_only: bool) -> tuple[Tensor, Tensor]:
    """Queries, keys and values side by side: [*lead, t, 3d], returned twice. If only the last position needs queries:
    its queries [*lead, 1, d] and all keys and values [*lead, t, 2d]."""
    if not query_only:
        qkv = linear(y, w)
        return qkv, qkv
    d = w.shape[-1] // 3
    return linear(y[..., -1:, :], w[..., :d]), linear(y, w[..., d:])


def attend(q: Tensor, kv: Tensor, h: int, add: Tensor | None = None) -> Tensor:
    """Causal softmax attention of `project`ed queries, keys and values, on the CPU and without
    gradient: z [*lead, positions with queries, h, k].

    add: [b or 1, h or 1, positions with queries, t], to the scores before the softmax; b is the last axis of lead.
    """
    from mechicl.engine.fast.kernels import attention

    query_only, t = q is not kv, kv.shape[-2]
    d = kv.shape[-1] // (2 if query_only else 3)
    queries, keys = (x.numpy().reshape(-1, x.shape[-2], x.shape[-1] // d, h, d // h) for x in (q, kv))
    z = q.new_empty(*q.shape[:-1], h, d // h)
    slots, more = (0, 0, 1) if query_only else (0, 1, 2), 0 if add is None else add.shape[1]
    kernel = attention(h, d // h, t, q.shape[-2], slots, queries.dtype == np.float64, more)
    # [b, q, t, h], so that the heads of a pair of positions lie side by side, as the kernel reads them
    scores = (
        np.ascontiguousarray(add.permute(0, 2, 3, 1).numpy())
        if add is not None
        else np.zeros((1,) * 4, z.numpy().dtype)
    )
    kernel(queries, keys, queries.dtype.type((d // h) ** -0.5), scores, z.numpy().reshape(-1, *z.shape[-3:]))
    return z


def beside(p: Tensor, x: Tensor) -> Tensor:
    """Parameters [*, o] reshaped to broadcast against activations [*lead, ..., o]."""
    return p if p.dim() == 1 else p.view(p.shape[0], *[1] * (x.dim() - 2), p.shape[-1])


def sequences(x: Tensor) -> np.ndarray:
    """[*lead, t, d] as numpy [n, t, d]."""
    return x.numpy().reshape(-1, *x.shape[-2:])


def rows(x: Tensor) -> np.ndarray:
    """[*lead, d] as numpy [r, d]."""
    return x.numpy().reshape(-1, x.shape[-1])


stacked = rows  # of a parameter [s, d], or of a single model's [d]
