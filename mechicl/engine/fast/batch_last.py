"""The loops of a training step on the CPU, compiled with numba: forward and backward.

Training lays activations out with the batch last: [s, d, t, b]. A sequence has a handful of
positions and a head a handful of dimensions, too few to fill a vector register. The batch has plenty, so every inner
loop runs along it, whatever the sizes of the model. Models (axis s) are computed one by one, so a model in a stack
gets the same numbers, bit for bit, as alone.

Legend: s models, d d_model, h heads, k d_head, t positions, b sequences, v labels, C context pairs, n columns:
positions x sequences.
"""

# pyright: reportMissingParameterType=false
# (compiled: numba finds the types, and the docstrings give the shapes)
from __future__ import annotations

import numpy as np

from mechicl.engine.fast.kernels import compiled
from mechicl.engine.fast.lanes import exact


@compiled
def interleave(shown, bias, table, labels, positions, x):
    """x [s, d, 2C+1, b] = exemplars shown [s, d, C+1, b] + bias [s, d], the rows of their labels
    between them, plus positions [s, 2C+1, d]. table [s, v, d], labels [s, b, C]."""
    for s in range(x.shape[0]):
        for e in range(x.shape[1]):
            for j in range(x.shape[2]):
                to, c = x[s, e, j], j // 2
                if j % 2:
                    at = positions[s, j, e]
                    for i in range(to.shape[0]):
                        to[i] = table[s, labels[s, i, c], e] + at
                else:
                    at = positions[s, j, e] + bias[s, e]
                    row = shown[s, e, c]
                    for i in range(to.shape[0]):
                        to[i] = row[i] + at


@compiled
def interleave_backward(dx, labels, dshown, dbias, dtable, dpositions):
    """Gradients of `interleave`, filled in; dtable must come as zeros."""
    for s in range(dx.shape[0]):
        for e in range(dx.shape[1]):
            dbias[s, e] = 0
            for j in range(dx.shape[2]):
                row, c = dx[s, e, j], j // 2
                total = dx.dtype.type(0)
                for i in range(row.shape[0]):
                    total += row[i]
                dpositions[s, j, e] = total
                if j % 2:
                    for i in range(row.shape[0]):
                        dtable[s, labels[s, i, c], e] += row[i]
                else:
                    dbias[s, e] += total
                    to = dshown[s, e, c]
                    for i in range(row.shape[0]):
                        to[i] = row[i]


@compiled
def layer_norm(x, w, bias, eps, y, stats):
    """y = (x - mean) / std * w + bias over axis d of x [s, d, n]; w, bias [s, d].
    stats [s, 2, n] receives each column's mean and 1/std."""
    d = x.shape[1]
    for s in range(x.shape[0]):
        mean, scale = stats[s, 0], stats[s, 1]
        mean[:] = 0
        for e in range(d):
            row = x[s, e]
            for i in range(row.shape[0]):
                mean[i] += row[i]
        for i in range(mean.shape[0]):
            mean[i] /= d
        scale[:] = 0
        for e in range(d):
            row = x[s, e]
            for i in range(row.shape[0]):
                c = row[i] - mean[i]
                scale[i] += c * c
        for i in range(scale.shape[0]):
            scale[i] = 1 / np.sqrt(scale[i] / d + eps)
        for e in range(d):
            row, to, gain, at = x[s, e], y[s, e], w[s, e], bias[s, e]
            for i in range(row.shape[0]):
                to[i] = (row[i] - mean[i]) * scale[i] * gain + at


@compiled
def layer_norm_backward(dy, x, w, stats, past, dx, dw, dbias):
    """Gradients of `layer_norm`, filled in: dx [s, d, n], dw and dbias [s, d]. dx comes with the gradient `past` added
    that goes past the norm, of the last columns [s, d, <= n]."""
    d, n = x.shape[1], x.shape[2]
    flat, along = np.empty(n, x.dtype), np.empty(n, x.dtype)
    for s in range(x.shape[0]):
        mean, scale = stats[s, 0], stats[s, 1]
        flat[:] = 0
        along[:] = 0
        for e in range(d):
            row, from_, gain = x[s, e], dy[s, e], w[s, e]
            sum_w, sum_b = x.dtype.type(0), x.dtype.type(0)
            for i in range(n):
                c = (row[i] - mean[i]) * scale[i]
                g = from_[i] * gain
                flat[i] += g
                along[i] += g * c
                sum_w += from_[i] * c
                sum_b += from_[i]
            dw[s, e] = sum_w
            dbias[s, e] = sum_b
        for i in range(n):
            flat[i] /= d
            along[i] *= scale[i] / d
        for e in range(d):
            row, from_, to, gain = x[s, e], dy[s, e], dx[s, e], w[s, e]
            for i in range(n):
                to[i] = scale[i] * (from_[i] * gain - flat[i] - (row[i] - mean[i]) * along[i])
            beside, end = past[s, e], to[n - past.shape[2] :]
            for i in range(beside.shape[0]):
                end[i] += beside[i]


@exact
def add(out, bias, x):
    """out + bias + x, in out: one pass, in this order. out and x [s, d, n], bias [s, d]."""
    for s in range(out.shape[0]):
        for e in range(out.shape[1]):
            to, row, at = out[s, e], x[s, e], bias[s, e]
            for i in range(to.shape[0]):
                to[i] = to[i] + at + row[i]


@compiled
def rotate(x, slot, cos, sin):
    """Rotary positions, in place: the pairs (i, i + k/2) of one slot of x [s, slot, h, k, t, b] turned by the angles
    whose cos and sin [t, k/2] are given; by those of -sin, turned back."""
    half = cos.shape[1]
    for s in range(x.shape[0]):
        for a in range(x.shape[2]):
            for e in range(half):
                for j in range(x.shape[4]):
                    low, high, c, d = x[s, slot, a, e, j], x[s, slot, a, e + half, j], cos[j, e], sin[j, e]
                    for i in range(low.shape[0]):
                        was = low[i]
                        low[i] = was * c - high[i] * d
                        high[i] = high[i] * c + was * d
