"""The tanh form of GELU with its slope in one pass, sixteen numbers at a time (lanes.py).

gelu(x) = x s with s = (1 + tanh u) / 2 and u = sqrt(2/pi) (x + 0.044715 x^3). The slope, s + 2 x u' s (1 - s), is known
then, too, and the way back is a product. In single precision tanh is a ratio of polynomials: within 4e-7 of tanh where
|x| < 4.85, and beyond, where tanh is 1 to single precision, gelu goes on as a line. So gelu is within 1e-6 (or rounded
where x is large), and its slope within 5e-6. With an exp (which is a longer chain of operations) it took 1.8 times as
long.
"""

# pyright: reportMissingParameterType=false
# (compiled: numba finds the types, and the docstrings give the shapes)
from __future__ import annotations

from functools import cache

import numpy as np

from mechicl.engine.fast.kernels import compiled
from mechicl.engine.fast.lanes import WIDTH, exact, exp_double, fma, largest, load, smallest, splat, start, store

_FLAT = 4.85  # |x| from which tanh(u) is 1 to single precision


def gelu_tanh(pre: np.ndarray, bias: np.ndarray, post: np.ndarray) -> None:
    """post = gelu(pre + bias), and pre becomes the slope there. pre and post [s, m, n], bias [s, m]."""
    _kernel(pre.dtype == np.float64)(pre, bias, post, np.zeros((2, WIDTH), pre.dtype))


@exact
def _share_single(u):
    """(1 + tanh u) / 2, tanh as a ratio of polynomials (the coefficients are those of Eigen's `ptanh`)."""
    square, half = u * u, splat(np.float32(0.5))
    p = splat(np.float32(-2.76076847742355e-16))
    p = fma(p, square, splat(np.float32(2.00018790482477e-13)))
    p = fma(p, square, splat(np.float32(-8.60467152213735e-11)))
    p = fma(p, square, splat(np.float32(5.12229709037114e-08)))
    p = fma(p, square, splat(np.float32(1.48572235717979e-05)))
    p = fma(p, square, splat(np.float32(6.37261928875436e-04)))
    p = fma(p, square, splat(np.float32(4.89352455891786e-03)))
    q = splat(np.float32(1.19825839466702e-06))
    q = fma(q, square, splat(np.float32(1.18534705686654e-04)))
    q = fma(q, square, splat(np.float32(2.26843463243900e-03)))
    q = fma(q, square, splat(np.float32(4.89352518554385e-03)))
    return fma(u * p / q, half, half)


@exact
def _share_double(u):
    one = splat(np.float64(1))
    return one / (one + exp_double(splat(np.float64(-2)) * u))


@cache
def _kernel(double: bool):
    kind, share_at = (np.float64, _share_double) if double else (np.float32, _share_single)
    root, cubic, flat = np.sqrt(2 / np.pi), 0.044715, np.inf if double else _FLAT
    u_1, u_3, slope_1, slope_3 = (kind(root * x) for x in (1, cubic, 2, 6 * cubic))  # u = u_1 x + u_3 x^3; 2 x u'
    low, high = kind(-flat), kind(flat)

    @exact
    def both(x):
        """gelu and its slope."""
        near = smallest(largest(x, splat(low)), splat(high))
        square = near * near
        share = share_at(near * fma(square, splat(u_3), splat(u_1)))
        bend = near * fma(square, splat(slope_3), splat(slope_1))
        value = fma(near, share, largest(x - splat(high), splat(kind(0))))
        return value, fma(bend, share - share * share, share)

    @exact
    def kernel(pre, bias, post, spare):
        n, at, come, go = pre.shape[2], 0, start(pre), start(post)
        rest, end = start(spare), pre.shape[2] % WIDTH
        for s in range(pre.shape[0]):
            for e in range(pre.shape[1]):
                b = splat(bias[s, e])
                for i in range(at, at + n - end, WIDTH):
                    value, slope = both(load(come, i) + b)
                    store(go, i, value)
                    store(come, i, slope)
                at += n
                if end:
                    for i in range(end):
                        rest[i] = come[at - end + i]
                    value, slope = both(load(rest, 0) + b)
                    store(rest, 0, value)
                    store(rest, WIDTH, slope)
                    for i in range(end):
                        go[at - end + i], come[at - end + i] = rest[i], rest[WIDTH + i]

    return kernel


@compiled
def times_slope(d_post, slope, d_bias):
    """d_post times the slope, in place, and its sums [s, m]. d_post and slope [s, m, n]."""
    for s in range(slope.shape[0]):
        for e in range(slope.shape[1]):
            grad, by = d_post[s, e], slope[s, e]
            total = grad.dtype.type(0)
            for i in range(grad.shape[0]):
                grad[i] *= by[i]
                total += grad[i]
            d_bias[s, e] = total
