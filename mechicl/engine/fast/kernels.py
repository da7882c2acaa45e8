"""Attention and LayerNorm of the forward pass on the CPU, compiled with numba.

A sequence here has a handful of positions and a head a handful of dimensions. Torch's batched
matmuls and softmax over such shapes spend their time on bookkeeping (docs/speed.md has the numbers). These loops keep
one sequence in registers. They take and return numpy arrays and allocate nothing for the caller. Every sequence is
computed on its own, so the other sequences of a batch, or the other models of a stack, never change a sequence's bits.

Legend: n sequences, t key positions, q query positions (the last q of the t), h heads,
k d_head, d d_model, s models, r rows.
"""

# pyright: reportMissingParameterType=false
# (compiled: numba finds the types, and the docstrings give the shapes)
from __future__ import annotations

import math
from functools import cache

import numpy as np

from mechicl.system import compiling
from mechicl.system.compiling import Decorator

# Sums may be reordered, so that they vectorise; nan and inf keep their meaning. The order is
# fixed when the code is compiled: the same machine gives the same bits. They run outside Python's
# lock, so that the app's threads compute side by side.
compiled: Decorator = compiling.compiled(
    nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"}
)


@compiled
def layer_norm(x, w, b, rows, eps, y):
    """y = (x - mean) / std * w + b over the last axis. x, y [r, d]; w, b [s, d]: model s owns
    `rows` rows."""
    d = x.shape[1]
    for s in range(w.shape[0]):
        for i in range(s * rows, (s + 1) * rows):
            total = x.dtype.type(0)
            for j in range(d):
                total += x[i, j]
            m = total / d
            square = x.dtype.type(0)
            for j in range(d):
                c = x[i, j] - m
                square += c * c
            scale = x.dtype.type(1 / np.sqrt(square / d + eps))
            for j in range(d):
                y[i, j] = (x[i, j] - m) * scale * w[s, j] + b[s, j]


@compiling.compiled(error_model="numpy", fastmath={"contract"})
def exp_single(x):
    """exp(x) for x <= 0 in float32, within 1e-7 of its value: Cephes' expf (Moshier 1989),
    written out because a call would keep the loop around it from vectorising (4x). Sums keep
    their order here: the two-part subtraction of n ln 2 is exact only as written."""
    x = max(x, np.float32(-87.0))  # below: 1e-38 instead of 0
    n = np.floor(x * np.float32(1.44269504088896341) + np.float32(0.5))
    r = x - n * np.float32(0.693359375)
    r = r - n * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1.0)
    return p * np.int32((np.int32(n) + 127) << 23).view(np.float32)  # times 2^n


@compiling.compiled(error_model="numpy")
def exp_double(x):
    return math.exp(x)


@compiled
def interleave(shown, table, labels, positions, x):
    """x [n, 2C+1, d] = the exemplars shown [n, C+1, d] with the rows of their labels between
    them, plus positions. table [s, v, d], labels [s, n/s, C], positions [s or 1, 2C+1, d]."""
    n, c1, d = shown.shape
    per = n // table.shape[0]
    for b in range(n):
        s, r = b // per, b % per
        pos = positions[min(s, positions.shape[0] - 1)]
        for c in range(c1):
            for e in range(d):
                x[b, 2 * c, e] = shown[b, c, e] + pos[2 * c, e]
            if c + 1 < c1:
                row = table[s, labels[s, r, c]]
                for e in range(d):
                    x[b, 2 * c + 1, e] = row[e] + pos[2 * c + 1, e]


@cache
def attention(h: int, k: int, t: int, tq: int, slots: tuple[int, int, int], double: bool, more: int = 0):
    """Causal attention for one shape, its sizes known to the compiler: kernel(q, kv, scale, add, z).

    z [n, tq, h, k] = softmax(scale q k + add) v. q [n, tq, slot, h, k] and kv [n, t, slot, h, k] may be
    one and the same; `slots` says where in them the queries, keys and values lie. add [m, tq, t, a], if there are
    `more` = a of them for each pair of positions, h or 1, is the same for every m-th sequence; -inf there takes a
    position out.
    """
    qs, ks, vs = slots
    before = t - tq  # query i stands at position before + i
    exp = exp_double if double else exp_single

    @compiled
    def kernel(q, kv, scale, add, z):
        pi, acc, norm = np.empty((t, h), z.dtype), np.empty((h, k), z.dtype), np.empty(h, z.dtype)
        for b in range(z.shape[0]):
            for i in range(tq):
                qi, zi = q[b, i, qs], z[b, i]
                norm[:] = -np.inf
                for j in range(before + i + 1):
                    kj = kv[b, j, ks]
                    for a in range(h):
                        dot = z.dtype.type(0)
                        for e in range(k):
                            dot += qi[a, e] * kj[a, e]
                        pi[j, a] = dot * scale
                        if more:
                            pi[j, a] += add[b % add.shape[0], i, j, a if more > 1 else 0]
                        norm[a] = max(norm[a], pi[j, a])
                for j in range(before + i + 1):
                    for a in range(h):
                        out = more > 0 and pi[j, a] == -np.inf
                        pi[j, a] = exp(pi[j, a] - norm[a])
                        if out:
                            pi[j, a] = 0
                norm[:] = 0
                for j in range(before + i + 1):
                    for a in range(h):
                        norm[a] += pi[j, a]
                for a in range(h):
                    norm[a] = 1 / norm[a]
                acc[:] = 0
                for j in range(before + i + 1):
                    vj = kv[b, j, vs]
                    for a in range(h):
                        pi[j, a] *= norm[a]
                        w = pi[j, a]
                        for e in range(k):
                            acc[a, e] += w * vj[a, e]
                for a in range(h):
                    for e in range(k):
                        zi[a, e] = acc[a, e]

    return kernel


@compiled
def turn(qkv, cos, sin):
    """Queries and keys of rows of t positions, qkv [r, 3d], turned in place: pairs (i, i + k/2) of each head by the
    angle whose cos and sin [t, k] these are."""
    t, k = cos.shape
    half = k // 2
    for i in range(qkv.shape[0]):
        row, c, s = qkv[i], cos[i % t], sin[i % t]
        for start in range(0, 2 * qkv.shape[1] // 3, k):
            low, high = row[start : start + half], row[start + half : start + k]
            for j in range(half):
                a, b = low[j], high[j]
                low[j] = a * c[j] - b * s[j]
                high[j] = b * c[j] + a * s[j]
