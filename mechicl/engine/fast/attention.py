"""Attention of a training step on the CPU, forward and backward, sixteen sequences at a time (lanes.py).

A head's queries, keys and values of sixteen sequences are copied into one small block, [t, k, lanes], and all work on
them is done there: for each query the sums over positions stay in registers, and each pattern is read once. Each
sequence's sums have the order that one loop over positions or dimensions gives them, whatever the other sequences are.

Legend: s models, h heads, k d_head, t key positions, q query positions (the last q of the t), b sequences.
"""

# pyright: reportMissingParameterType=false
# (compiled: numba finds the types, and the docstrings give the shapes)
from __future__ import annotations

from functools import cache

import numpy as np

from mechicl.engine.fast.lanes import (
    LINE,
    WIDTH,
    exact,
    exp_double,
    exp_single,
    fma,
    inlined,
    largest,
    line_start,
    load,
    offset,
    registers,
    splat,
    start,
    store,
)


def attention(
    q: np.ndarray, kv: np.ndarray, slots: tuple[int, int, int], scale: np.floating, z: np.ndarray
) -> np.ndarray:
    """z [s, h, k, q, b] = p v, filled in, with p = softmax(scale q k), causal; returns p as `attention_backward` and
    `unpacked` take it.

    Queries, keys and values are slots[0] of q [s, slot, h, k, q, b] and slots[1], slots[2] of
    kv [s, slot, h, k, t, b], which may be one and the same. p holds [s, h, tiles, pairs, WIDTH] from the first
    line on: WIDTH sequences are a tile, and the pairs are those of a query and a position that it sees.
    """
    (s, _, h, size, queries, b), t = q.shape, kv.shape[4]
    p = np.empty((s * h * -(-b // WIDTH) * _pairs(queries, t) + 1) * WIDTH, q.dtype)
    _forward(q.dtype == np.float64, size)(q, kv, slots, scale, p, z, np.empty((4 * t * size + 1) * WIDTH, q.dtype))
    return p


def attention_backward(
    q: np.ndarray,
    kv: np.ndarray,
    slots: tuple[int, int, int],
    scale: np.floating,
    p: np.ndarray,
    dz: np.ndarray,
    dq: np.ndarray,
    dkv: np.ndarray,
) -> None:
    """From dz, the gradient at z, to those at the slots of q and kv, filled in."""
    size, t = q.shape[3], kv.shape[4]
    room = np.empty((7 * t * size + _pairs(q.shape[4], t) + 1) * WIDTH, q.dtype)
    _backward(q.dtype == np.float64, size)(q, kv, slots, scale, p, dz, dq, dkv, room)


def unpacked(p: np.ndarray, shape: tuple[int, int, int, int, int]) -> np.ndarray:
    """The patterns of `attention` as [s, h, q, t, b], which is their shape: 0 in the future."""
    s, h, queries, t, b = shape
    begin, tiles, pairs = -p.ctypes.data % LINE // p.itemsize, -(-b // WIDTH), _pairs(queries, t)
    held = p[begin : begin + s * h * tiles * pairs * WIDTH].reshape(s, h, tiles, pairs, WIDTH)
    out = np.zeros(shape, p.dtype)
    out[:, :, np.tri(queries, t, t - queries, dtype=bool)] = held.swapaxes(2, 3).reshape(s, h, pairs, -1)[..., :b]
    return out


def _pairs(queries: int, t: int) -> int:
    """How many pairs there are of a query and a position that it sees."""
    return queries * (t - queries) + queries * (queries + 1) // 2


@inlined
def _pack(x, base, size, t, b, at, block):
    """Sequences from `at` on of x [size, t, b], which begins at base, as a block [t, size, WIDTH]; 0 after the last."""
    for e in range(size):
        for j in range(t):
            source, to = base + (e * t + j) * b + at, (j * size + e) * WIDTH
            if at + WIDTH <= b:
                store(block, to, load(x, source))
            else:
                for c in range(WIDTH):
                    block[to + c] = x[source + c] if at + c < b else 0


@inlined
def _unpack(block, size, t, b, at, x, base):
    """The inverse of `_pack`."""
    for e in range(size):
        for j in range(t):
            source, to = (j * size + e) * WIDTH, base + (e * t + j) * b + at
            if at + WIDTH <= b:
                store(x, to, load(block, source))
            else:
                for c in range(b - at):
                    x[to + c] = block[source + c]


def _group(size: int) -> int:
    """How many dimensions are summed at once. Their sums must fit the registers of AVX2."""
    return max(group for group in (1, 2, 3, 4) if size % group == 0)


@cache
def _mix(size: int):
    """A sum over x's positions, weighted: out [size, WIDTH] at `to` is that of weights [past, WIDTH] at `at` times
    x [t, size, WIDTH]."""
    group = _group(size)

    @inlined
    def mix(weights, at, past, zero, x, out, to):
        some = registers(zero, group)
        for e in range(0, size, group):
            for g in range(group):
                store(some, g * WIDTH, zero)
            for j in range(past):
                each = load(weights, at + j * WIDTH)
                for g in range(group):
                    sum_ = fma(each, load(x, (j * size + e + g) * WIDTH), load(some, g * WIDTH))
                    store(some, g * WIDTH, sum_)
            for g in range(group):
                store(out, to + (e + g) * WIDTH, load(some, g * WIDTH))

    return mix


@cache
def _forward(double: bool, size: int):
    """`attention` for heads of one size, which the compiler knows: its loops over dimensions are unrolled."""
    exp, mix = exp_double if double else exp_single, _mix(size)

    @exact
    def kernel(q, kv, slots, scale, p, z, scratch):
        zero = splat(p.dtype.type(0))
        one, low, times = splat(p.dtype.type(1)), splat(p.dtype.type(-np.inf)), splat(scale)
        h, wide, queries, b, t = q.shape[2], q.shape[3], q.shape[4], q.shape[5], kv.shape[4]
        q_slots, kv_slots, models, tiles = q.shape[1], kv.shape[1], q.shape[0], -(-b // WIDTH)
        from_q, from_kv, to_z, w, asks = start(q), start(kv), start(z), line_start(p), line_start(scratch)
        block = t * wide * WIDTH
        keys, values, out = offset(asks, block), offset(asks, 2 * block), offset(asks, 3 * block)
        some, of_q, of_kv, row = registers(zero, size), wide * queries * b, wide * t * b, 0
        for s in range(models):
            for a in range(h):
                for tile in range(tiles):
                    at = WIDTH * tile
                    _pack(from_q, ((s * q_slots + slots[0]) * h + a) * of_q, wide, queries, b, at, asks)
                    _pack(from_kv, ((s * kv_slots + slots[1]) * h + a) * of_kv, wide, t, b, at, keys)
                    _pack(from_kv, ((s * kv_slots + slots[2]) * h + a) * of_kv, wide, t, b, at, values)
                    for i in range(queries):
                        past, top, norm = t - queries + i + 1, low, zero
                        for e in range(size):
                            store(some, e * WIDTH, load(asks, (i * size + e) * WIDTH))
                        for j in range(past):
                            dot = load(some, 0) * load(keys, j * size * WIDTH)
                            for e in range(1, size):
                                dot = fma(load(some, e * WIDTH), load(keys, (j * size + e) * WIDTH), dot)
                            dot = dot * times
                            store(w, row + j * WIDTH, dot)
                            top = largest(top, dot)
                        for j in range(past):
                            each = exp(load(w, row + j * WIDTH) - top)
                            store(w, row + j * WIDTH, each)
                            norm = norm + each
                        norm = one / norm
                        for j in range(past):
                            store(w, row + j * WIDTH, load(w, row + j * WIDTH) * norm)
                        mix(w, row, past, zero, values, out, i * size * WIDTH)
                        row += past * WIDTH
                    _unpack(out, wide, queries, b, at, to_z, (s * h + a) * of_q)

    return kernel


@cache
def _backward(double: bool, size: int):
    """`attention_backward` for heads of one size."""

    mix, group = _mix(size), _group(size)

    @inlined
    def mix_back(weights, at, first, queries, before, zero, x, out, to):
        """As `mix`, but over queries from `first` on, each of which sees one position more than the last."""
        some = registers(zero, group)
        for e in range(0, size, group):
            for g in range(group):
                store(some, g * WIDTH, zero)
            pair = at
            for i in range(first, queries):
                each = load(weights, pair)
                for g in range(group):
                    sum_ = fma(each, load(x, (i * size + e + g) * WIDTH), load(some, g * WIDTH))
                    store(some, g * WIDTH, sum_)
                pair += (before + i + 1) * WIDTH
            for g in range(group):
                store(out, to + (e + g) * WIDTH, load(some, g * WIDTH))

    @exact
    def kernel(q, kv, slots, scale, p, dz, dq, dkv, scratch):
        zero, times = splat(p.dtype.type(0)), splat(scale)
        h, wide, queries, b, t = q.shape[2], q.shape[3], q.shape[4], q.shape[5], kv.shape[4]
        q_slots, kv_slots, models, tiles = q.shape[1], kv.shape[1], q.shape[0], -(-b // WIDTH)
        from_q, from_kv, from_z, to_q, to_kv = start(q), start(kv), start(dz), start(dq), start(dkv)
        block, asks, w = t * wide * WIDTH, line_start(scratch), line_start(p)
        keys, values, pulls = offset(asks, block), offset(asks, 2 * block), offset(asks, 3 * block)
        d_asks, d_keys, d_values = offset(asks, 4 * block), offset(asks, 5 * block), offset(asks, 6 * block)
        ds = offset(asks, 7 * block)
        some, of_q, of_kv, before, tile_at = registers(zero, size), wide * queries * b, wide * t * b, t - queries, 0
        for s in range(models):
            for a in range(h):
                at_q = ((s * q_slots + slots[0]) * h + a) * of_q
                at_k = ((s * kv_slots + slots[1]) * h + a) * of_kv
                at_v = ((s * kv_slots + slots[2]) * h + a) * of_kv
                for tile in range(tiles):
                    at = WIDTH * tile
                    _pack(from_q, at_q, wide, queries, b, at, asks)
                    _pack(from_kv, at_k, wide, t, b, at, keys)
                    _pack(from_kv, at_v, wide, t, b, at, values)
                    _pack(from_z, (s * h + a) * of_q, wide, queries, b, at, pulls)
                    row = 0
                    for i in range(queries):
                        past, mean = before + i + 1, zero
                        for e in range(size):
                            store(some, e * WIDTH, load(pulls, (i * size + e) * WIDTH))
                        for j in range(past):
                            dot = load(some, 0) * load(values, j * size * WIDTH)
                            for e in range(1, size):
                                dot = fma(load(some, e * WIDTH), load(values, (j * size + e) * WIDTH), dot)
                            mean = fma(dot, load(w, tile_at + row + j * WIDTH), mean)
                            store(ds, row + j * WIDTH, dot)
                        for j in range(past):
                            weight = load(w, tile_at + row + j * WIDTH) * times
                            store(ds, row + j * WIDTH, (load(ds, row + j * WIDTH) - mean) * weight)
                        mix(ds, row, past, zero, keys, d_asks, i * size * WIDTH)
                        row += past * WIDTH
                    for j in range(t):
                        first = max(j - before, 0)  # the first query that sees j
                        here = (first * before + first * (first + 1) // 2 + j) * WIDTH
                        mix_back(w, tile_at + here, first, queries, before, zero, pulls, d_values, j * size * WIDTH)
                        mix_back(ds, here, first, queries, before, zero, asks, d_keys, j * size * WIDTH)
                    _unpack(d_asks, wide, queries, b, at, to_q, at_q)
                    _unpack(d_keys, wide, t, b, at, to_kv, at_k)
                    _unpack(d_values, wide, t, b, at, to_kv, at_v)
                    tile_at += row

    return kernel
