"""The unembedding's ends on the CPU, compiled with numba: cross-entropy, scores, chosen logits.

Legend: s models, c conditions, b sequences, r rows, v labels, d d_model, C context labels.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from mechicl.engine.kernels import compiled, exp_double, exp_single

_LANES = 64  # a maximum is kept in so many lanes: one alone would wait for itself at every number


@compiled
def highest(row, lanes):
    """max(row), where it holds no nan. lanes [_LANES] is overwritten."""
    whole = row.shape[0] // _LANES * _LANES
    top = row[0]
    if whole:
        lanes[:] = row[:_LANES]
        for j in range(_LANES, whole, _LANES):
            for k in range(_LANES):
                lanes[k] = max(lanes[k], row[j + k])
        for k in range(_LANES):
            top = max(top, lanes[k])
    for j in range(whole, row.shape[0]):
        top = max(top, row[j])
    return top


@cache
def cross_entropy(double: bool):
    """`cross_entropy(z, bias, target, rows, scale, loss, db)` for float32, or for double precision.

    z [r, v] + bias [s, v] are logits (model s owns `rows` rows), and z becomes scale times
    their gradient of the summed loss, softmax - onehot(target); loss [r] = -log softmax[target];
    db [s, v] sums the new z over each model's rows.
    """
    exp = exp_double if double else exp_single

    @compiled
    def kernel(z, bias, target, rows, scale, loss, db):
        v, lanes = z.shape[1], np.empty(_LANES, z.dtype)
        db[:] = 0
        for i in range(z.shape[0]):
            row, at, to = z[i], bias[i // rows], db[i // rows]
            for j in range(v):
                row[j] += at[j]
            top = highest(row, lanes)
            right = row[target[i]] - top
            total = z.dtype.type(0)
            for j in range(v):
                e = exp(row[j] - top)
                row[j] = e
                total += e
            loss[i] = np.log(total) - right
            factor = scale / total
            row[target[i]] -= total
            for j in range(v):
                row[j] *= factor
                to[j] += row[j]

    return kernel


@cache
def score_rows(double: bool, with_loss: bool):
    """`score_rows(z, target, right, loss)` for float32, or for double precision.

    z [r, v] logits; right [r] = argmax(z) == target; loss [r] = -log softmax(z)[target], only
    `with_loss`. z is not changed. A row with a nan is not right.
    """
    exp = exp_double if double else exp_single

    @compiled
    def kernel(z, target, right, loss):
        v, lanes = z.shape[1], np.empty(_LANES, z.dtype)
        for i in range(z.shape[0]):
            row = z[i]
            top = highest(row, lanes)
            wanted = row[target[i]]
            beaten = 0 if wanted == top else 1
            if beaten == 0:  # of equal logits the first is the answer, as in argmax; beside a nan none is
                for j in range(target[i]):
                    beaten += not row[j] < top
                for j in range(target[i], v):
                    beaten += not row[j] <= top
            right[i] = beaten == 0
            if with_loss:
                total = z.dtype.type(0)
                for j in range(v):
                    total += exp(row[j] - top)
                loss[i] = np.log(total) + top - wanted

    return kernel


@compiled
def label_logits(final, wt, bias, labels, out):
    """out [s, c, b, C] = final [s, c, b, d] . wt[s, label] + bias[s, label], labels [b, C]."""
    for s in range(final.shape[0]):
        for c in range(final.shape[1]):
            for b in range(final.shape[2]):
                x = final[s, c, b]
                for i in range(labels.shape[1]):
                    row = wt[s, labels[b, i]]
                    dot = bias[s, labels[b, i]]
                    for e in range(x.shape[0]):
                        dot += x[e] * row[e]
                    out[s, c, b, i] = dot
