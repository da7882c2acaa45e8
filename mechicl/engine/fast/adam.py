"""Adam on the CPU, compiled with numba: one pass over flat arrays (three times as fast as torch's fused Adam)."""

# pyright: reportMissingParameterType=false
# (compiled: numba finds the types, and the docstrings give the shapes)
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mechicl.engine.fast.kernels import compiled

PIECE = 2**18  # numbers that are one piece of work: a quarter of a millisecond


def pieces(bounds: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Arrays from start to stop in one block of memory, cut for `share`: small ones together, large ones in slices.
    Each piece is `adam`'s segments [n, 3]: which array, start, stop."""
    small, out = [], []
    for k, (start, stop) in enumerate(bounds):
        if stop - start <= PIECE:
            small.append((k, start, stop))
        else:
            out += [np.array([(k, at, min(at + PIECE, stop))]) for at in range(start, stop, PIECE)]
    return [np.array(small, np.int64).reshape(-1, 3), *out]


@compiled
def adam(flat, segments, shared, each):
    """One Adam update in place. flat [4, n]: parameters, moments, squares and gradients, of which
    only the segments [*, 3] (array, start, stop) are touched.

    shared: b1, b2, eps. each [arrays, 5]: whether the array is updated at all (else 0),
    lr / (1 - b1^t), 1 / sqrt(1 - b2^t), the penalty (penalty * p joins the gradient) and the
    shrink, which first multiplies p (decoupled decay; 1 without).
    """
    b1, b2, eps = shared
    one = shared.dtype.type(1)
    for k, start, stop in segments:
        p, m, v, g = flat[0, start:stop], flat[1, start:stop], flat[2, start:stop], flat[3, start:stop]
        live, rate, bias2, penalty, shrink = each[k]
        if live == 0:
            continue
        for i in range(stop - start):
            d = g[i] + penalty * p[i]
            m[i] = b1 * m[i] + (one - b1) * d
            v[i] = b2 * v[i] + (one - b2) * d * d
            p[i] = shrink * p[i] - rate * m[i] / (np.sqrt(v[i]) * bias2 + eps)


@compiled
def clear_rows(table, labels):
    """table [s, v, d] becomes 0 at labels [s, n]."""
    for s in range(table.shape[0]):
        for i in range(labels.shape[1]):
            for e in range(table.shape[2]):
                table[s, labels[s, i], e] = 0
