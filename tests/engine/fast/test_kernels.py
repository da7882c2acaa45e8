"""The compiled row-by-row loops of the forward pass against torch."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mechicl.engine.fast.kernels import attention, exp_double, exp_single, interleave, layer_norm

RNG = np.random.default_rng(1)


def test_exp_in_single_precision_is_exact_to_its_last_bits_down_to_where_it_vanishes():
    x = np.concatenate([-np.logspace(-8, np.log10(87), 4000), [0.0, -0.5 * math.log(2), -87.0]]).astype(np.float32)
    got = np.array([exp_single(v) for v in x])
    np.testing.assert_allclose(got, np.exp(x.astype(np.float64)), rtol=2.5e-7)
    assert exp_single(np.float32(0)) == 1
    assert exp_single(np.float32(-np.inf)) < 1e-37
    assert exp_double(-1.5) == math.exp(-1.5)


@pytest.mark.parametrize("models", [1, 3])
def test_layer_norm(models):
    rows, d = 4, 6
    x = RNG.standard_normal((models * rows, d))
    w, b = RNG.standard_normal((2, models, d))
    y = np.full_like(x, np.nan)
    layer_norm(x, w, b, rows, 1e-5, y)
    for i in range(models):
        own = slice(i * rows, (i + 1) * rows)
        want = F.layer_norm(torch.from_numpy(x[own]), (d,), torch.from_numpy(w[i]), torch.from_numpy(b[i]), 1e-5)
        np.testing.assert_allclose(y[own], want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("models", [1, 2])
@pytest.mark.parametrize("own_positions", [True, False])
def test_interleave(models, own_positions):
    pairs, d, v, per = 2, 3, 5, 4
    n = models * per
    shown, table = RNG.standard_normal((n, pairs + 1, d)), RNG.standard_normal((models, v, d))
    positions = RNG.standard_normal((models if own_positions else 1, 2 * pairs + 1, d))
    labels, x = RNG.integers(0, v, (models, per, pairs)), np.full((n, 2 * pairs + 1, d), np.nan)
    interleave(shown, table, labels, positions, x)
    for i in range(n):
        model, at = i // per, positions[i // per if own_positions else 0]
        np.testing.assert_array_equal(x[i, 0::2], shown[i] + at[0::2])
        np.testing.assert_array_equal(x[i, 1::2], table[model, labels[model, i % per]] + at[1::2])


@pytest.mark.parametrize("more", [0, 1, "h"], ids=["nothing-added", "the-same-for-all-heads", "of-each-head"])
@pytest.mark.parametrize("shared", [1, 5], ids=["the-same-for-all", "of-each-sequence"])
@pytest.mark.parametrize("tq", [1, 4])
@pytest.mark.parametrize(("h", "k"), [(1, 8), (2, 4), (8, 1)])
@pytest.mark.parametrize("double", [True, False])
def test_attention_is_causal_softmax_attention(h, k, tq, double, shared, more):
    more = h if more == "h" else more
    models, b, t, dtype = 2, 5, 4, np.float64 if double else np.float32
    n = models * b
    q = RNG.standard_normal((n, tq, 3 if tq == t else 1, h, k)).astype(dtype)
    kv = q if tq == t else RNG.standard_normal((n, t, 2, h, k)).astype(dtype)
    slots = (0, 1, 2) if tq == t else (0, 0, 1)
    add = RNG.standard_normal((shared, tq, t, more or 1)).astype(dtype)
    add[..., 1:, :][RNG.random(add[..., 1:, :].shape) < 0.4] = -np.inf  # the first position can always be seen
    z = np.full((n, tq, h, k), np.nan, dtype)
    attention(h, k, t, tq, slots, double, more)(q, kv, dtype(0.6), add, z)
    query, key, value = (torch.from_numpy(x[:, :, slot]) for x, slot in zip((q, kv, kv), slots, strict=True))
    scores = torch.zeros(n, h, tq, t, dtype=query.dtype)
    if more:
        scores += torch.from_numpy(add).permute(0, 3, 1, 2).expand(b, h, -1, -1).repeat(models, 1, 1, 1)
    scores = scores.masked_fill(~torch.ones(tq, t, dtype=torch.bool).tril(t - tq), -torch.inf)
    parts = (x.transpose(1, 2) for x in (query, key, value))
    want = F.scaled_dot_product_attention(*parts, attn_mask=scores, scale=0.6)
    np.testing.assert_allclose(z, want.transpose(1, 2), rtol=1e-12 if double else 1e-5, atol=1e-6)
