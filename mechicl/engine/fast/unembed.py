"""What follows the unembedding on the CPU, compiled with numba: cross-entropy, scores, chosen logits.

Legend: s models, c conditions, b sequences, r rows, v labels, d d_model, C context labels.
"""

# pyright: reportMissingParameterType=false
# (compiled: numba finds the types, and the docstrings give the shapes)
from __future__ import annotations

import math
from functools import cache

import numpy as np

from mechicl.engine.fast.kernels import compiled, exp_double, exp_single
from mechicl.system import compiling

_LANES = 64  # so many running maxima side by side: with one alone, each comparison would wait for the one before


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


@compiling.compiled(error_model="numpy", fastmath={"contract"})
def _power_of_two(y):
    """2^y in float32 within 2e-7 of its value, for y in [-126, 126], to which y is cut. A power of
    two needs no splitting of n ln 2, and adding 1.5 * 2^23 leaves round(y) in the number's last
    bits: with a polynomial of degree 5 (interpolated at Chebyshev's points), two thirds of
    `exp_single`'s work."""
    y = min(max(y, np.float32(-126.0)), np.float32(126.0))
    shifted = np.float32(y + np.float32(12582912.0))
    r = y - (shifted - np.float32(12582912.0))
    p = np.float32(_POWERS[5]) * r + np.float32(_POWERS[4])
    p = p * r + np.float32(_POWERS[3])
    p = p * r + np.float32(_POWERS[2])
    p = p * r + np.float32(_POWERS[1])
    p = p * r + np.float32(_POWERS[0])
    return np.int32(np.float32(p).view(np.int32) + (shifted.view(np.int32) << np.int32(23))).view(np.float32)


_POWERS = tuple(
    np.polynomial.Chebyshev.interpolate(lambda r: 2.0**r, 5, [-0.5, 0.5]).convert(kind=np.polynomial.Polynomial).coef
)
_LOG2_E = np.float32(1.4426950408889634)


@compiled
def _precise_loss(row, bias, wanted):
    """-log softmax at the label whose logit is `wanted`, in double precision, as exponents are
    taken from the largest logit."""
    top, total = -np.inf, 0.0
    for j in range(row.shape[0]):
        top = max(top, float(row[j]) + bias[j])
    for j in range(row.shape[0]):
        total += math.exp(float(row[j]) + bias[j] - top)
    return math.log(total) + top - wanted


@cache
def score_rows(double: bool, with_loss: bool):
    """`score_rows(z, bias, target, right, loss)` for float32, or for double precision.

    z [r, v] + bias [v] logits; right [r] = argmax == target; loss [r] = -log softmax[target], only
    `with_loss`. z is not changed. A row with a nan is not right.

    With the loss it is one pass over z. Exponents are relative to the target's own logit, so no maximum has to be
    known first. If another logit is so much higher that this overflows, the row is computed again. The sum of the
    exponentials is 1 / softmax[target], so it often tells whether the answer is right.
    """
    single = not double

    @compiled
    def kernel(z, bias, target, right, loss):
        v, zero, one = z.shape[1], z.dtype.type(0), z.dtype.type(1)
        for i in range(z.shape[0]):
            row, at = z[i], target[i]
            wanted, total = row[at] + bias[at], zero
            if with_loss and single:
                for j in range(v):
                    total += _power_of_two((row[j] + bias[j] - wanted) * _LOG2_E)
                loss[i] = np.log(total) if total < np.float32(1e37) else _precise_loss(row, bias, wanted)
                if total < np.float32(1.99) or total > np.float32(1.01) * v:
                    right[i] = total < np.float32(1.99)  # more than half of the probability, or less than 1 / v
                    continue
            elif with_loss:
                loss[i] = _precise_loss(row, bias, wanted)
            higher = zero
            for j in range(v):
                higher += zero if row[j] + bias[j] <= wanted else one  # a nan, too
            if higher == 0:  # of equal logits the first is the answer, as in argmax
                for j in range(at):
                    higher += one if row[j] + bias[j] == wanted else zero
            right[i] = higher == 0

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
