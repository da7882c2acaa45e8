"""Adam on the CPU, compiled with numba: one pass over flat arrays (three times torch's fused one)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mechicl.engine.kernels import compiled

PIECE = 2**18  # numbers that are one piece of work: a quarter of a millisecond

Arrays = tuple[np.ndarray, ...]


def pieces(walked: Sequence[Arrays]) -> list[tuple[list[int], tuple[Arrays, ...]]]:
    """The arrays that Adam walks (parameters, moments, squares, gradients; all flat), cut for
    `share`: small ones together, large ones in slices. Each piece says which arrays it is of."""
    sizes = [array.size for array in walked[0]]
    small = [k for k, size in enumerate(sizes) if size <= PIECE]
    out = [(small, tuple(tuple(arrays[k] for k in small) for arrays in walked))]
    for k, size in enumerate(sizes):
        if size > PIECE:
            out += [([k], tuple((arrays[k][at : at + PIECE],) for arrays in walked)) for at in range(0, size, PIECE)]
    return out


@compiled
def adam(params, moments, squares, grads, shared, each):
    """One Adam update in place, of tuples of flat arrays.

    shared: b1, b2, eps. each [arrays, 5]: whether the array is updated at all (else 0),
    lr / (1 - b1^t), 1 / sqrt(1 - b2^t), the penalty (penalty * p joins the gradient) and the
    shrink, which first multiplies p (decoupled decay; 1 without).
    """
    b1, b2, eps = shared
    one = shared.dtype.type(1)
    for k in range(len(params)):
        p, m, v, g = params[k], moments[k], squares[k], grads[k]
        live, rate, bias2, penalty, shrink = each[k]
        if live == 0:
            continue
        for i in range(p.shape[0]):
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
