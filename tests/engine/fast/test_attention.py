"""Attention of the training step against the same arithmetic in torch, in double precision, and against itself."""

import numpy as np
import pytest
import torch

from mechicl.engine.fast.attention import attention, attention_backward, unpacked

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def leaf(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x.copy()).requires_grad_()


# s, h, k, t, positions that ask, b: fewer sequences than a vector holds, and two vectors with a rest
SHAPES = {
    "all ask": (1, 2, 4, 5, 5, 21),
    "one asks": (1, 2, 4, 5, 1, 21),
    "some ask": (1, 2, 4, 5, 3, 6),
    "stacked": (3, 2, 3, 4, 4, 6),
    "one head": (1, 1, 8, 3, 3, 32),
    "one position": (2, 4, 2, 1, 1, 6),
}


def inputs(shape: tuple[int, ...]):
    """q and kv, one and the same if all positions ask, and the slots in them."""
    s, h, k, t, tq, b = shape
    q = draw(s, 3 if tq == t else 1, h, k, tq, b)
    return (q, q, (0, 1, 2)) if tq == t else (q, draw(s, 2, h, k, t, b), (0, 0, 1))


def both_ways(q, kv, slots, scale, dz):
    """p, z and the gradients at q and kv, which are one and the same where these are."""
    z = np.full(dz.shape, np.nan, q.dtype)
    p = attention(q, kv, slots, scale, z)
    dq = np.full_like(q, np.nan)
    dkv = dq if q is kv else np.full_like(kv, np.nan)
    attention_backward(q, kv, slots, scale, p, dz, dq, dkv)
    (s, _, h, _, tq, b), t = q.shape, kv.shape[4]
    return unpacked(p, (s, h, tq, t, b)), z, dq, dkv


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_attention_and_its_gradient_are_torchs(shape):
    s, h, k, t, tq, b = shape
    (q, kv, slots), dz, scale = inputs(shape), draw(s, h, k, tq, b), 0.7
    p, z, *found = both_ways(q, kv, slots, scale, dz)

    q_leaf = leaf(q)
    kv_leaf = q_leaf if q is kv else leaf(kv)
    query, key, value = q_leaf[:, slots[0]], kv_leaf[:, slots[1]], kv_leaf[:, slots[2]]
    scores = scale * torch.einsum("shkib,shkjb->shijb", query, key)
    future = torch.ones(tq, t, dtype=torch.bool).triu(t - tq + 1)
    pattern = scores.masked_fill(future[..., None], -torch.inf).softmax(-2)
    want = torch.einsum("shijb,shkjb->shkib", pattern, value)
    np.testing.assert_allclose(p, pattern.detach(), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(z, want.detach(), rtol=1e-12)
    leaves = list(dict.fromkeys((q_leaf, kv_leaf)))
    for mine, theirs in zip(found, torch.autograd.grad(want, leaves, torch.from_numpy(dz)), strict=False):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("shape", [SHAPES["all ask"], SHAPES["one asks"]], ids=["all ask", "one asks"])
def test_a_sequence_has_the_bits_that_it_has_alone(shape):
    """In the middle of a vector, at a batch's odd end, and beside nothing."""
    s, h, k, _, tq, b = shape
    q, kv, slots = inputs(shape)
    dz, scale = draw(s, h, k, tq, b).astype(np.float32), np.float32(0.7)
    single = q.astype(np.float32)
    kv = single if kv is q else kv.astype(np.float32)
    together = both_ways(single, kv, slots, scale, dz)
    for i in (0, 7, b - 1):
        one = np.ascontiguousarray(single[..., i : i + 1])
        beside = one if kv is single else np.ascontiguousarray(kv[..., i : i + 1])
        alone = both_ways(one, beside, slots, scale, np.ascontiguousarray(dz[..., i : i + 1]))
        for many, mine in zip(together, alone, strict=True):
            np.testing.assert_array_equal(many[..., i], mine[..., 0])


def test_attention_holds_its_accuracy_in_single_precision_and_for_scores_of_any_size():
    q = (30 * draw(1, 3, 2, 4, 5, 8)).astype(np.float32)
    dz = draw(1, 2, 4, 5, 8)
    p, *_ = both_ways(q, q, (0, 1, 2), np.float32(1), dz.astype(np.float32))
    double = q.astype(np.float64)
    exact, *_ = both_ways(double, double, (0, 1, 2), 1.0, dz)
    np.testing.assert_allclose(p, exact, atol=1e-4)  # scores reach thousands: they round to 1e-4
    np.testing.assert_allclose(p.sum(3), 1, rtol=1e-5)
