"""The unembedding's compiled ends against torch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mechicl.engine.fast.unembed import cross_entropy, label_logits, score_rows

RNG = np.random.default_rng(2)


@pytest.mark.parametrize("models", [1, 3])
@pytest.mark.parametrize("double", [True, False])
def test_cross_entropy_and_its_gradient(models, double):
    rows, v, dtype, scale = 4, 9, np.float64 if double else np.float32, 0.25
    z, bias = RNG.normal(0, 3, (models * rows, v)).astype(dtype), RNG.normal(0, 1, (models, v)).astype(dtype)
    target = RNG.integers(0, v, models * rows)
    leaf, at = torch.from_numpy(z.copy()).requires_grad_(), torch.from_numpy(bias).repeat_interleave(rows, 0)
    want = F.cross_entropy(leaf + at, torch.from_numpy(target), reduction="none")
    (gradient,) = torch.autograd.grad(want.sum() * scale, leaf)
    loss, db = np.full(models * rows, np.nan, dtype), np.full((models, v), np.nan, dtype)
    cross_entropy(double)(z, bias, target, rows, dtype(scale), loss, db)
    tight = {"rtol": 1e-10 if double else 1e-5, "atol": 1e-12 if double else 1e-6}
    np.testing.assert_allclose(loss, want.detach(), **tight)
    np.testing.assert_allclose(z, gradient, **tight)
    np.testing.assert_allclose(db, gradient.view(models, rows, v).sum(1), **tight)


@pytest.mark.parametrize("double", [True, False])
def test_scores_of_rows(double):
    dtype = np.float64 if double else np.float32
    z, bias = RNG.normal(0, 2, (50, 70)).astype(dtype), RNG.normal(size=70).astype(dtype)
    target = RNG.integers(0, 70, 50)
    target[:10] = (z + bias)[:10].argmax(1)
    right, loss, untouched = np.zeros(50, bool), np.full(50, np.nan, dtype), z.copy()
    score_rows(double, True)(z, bias, target, right, loss)
    np.testing.assert_array_equal(right, (z + bias).argmax(1) == target)
    np.testing.assert_allclose(loss, _losses(z + bias, target), rtol=1e-10 if double else 1e-6, atol=1e-6)
    np.testing.assert_array_equal(z, untouched)


@pytest.mark.parametrize("higher", [20.0, 86.0, 89.0, 300.0, 1e30])
@pytest.mark.parametrize("double", [True, False])
def test_a_label_far_below_the_highest_has_its_loss(double, higher):
    z = np.array([[0.0, higher, -3.0, -1e30], [0.0, -higher, -3.0, -1e30]], np.float64 if double else np.float32)
    right, loss = np.zeros(2, bool), np.zeros(2, z.dtype)
    score_rows(double, True)(z, np.zeros(4, z.dtype), np.array([0, 0]), right, loss)
    np.testing.assert_allclose(loss, _losses(z, np.array([0, 0])), rtol=1e-6, atol=3e-7)
    assert right.tolist() == [False, True]


def _losses(z, target):
    """In double precision."""
    return F.cross_entropy(torch.from_numpy(z).double(), torch.from_numpy(target), reduction="none")


@pytest.mark.parametrize("double", [True, False])
def test_of_equal_logits_the_first_is_the_answer_and_nan_is_never_right(double):
    dtype = np.float64 if double else np.float32
    z = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [np.nan, 1.0, 0.0], [0.0, np.nan, 1.0], [0, 1, np.nan]], dtype)
    right, loss = np.ones(5, bool), np.full(5, 7.0, dtype)
    target = np.array([0, 1, 0, 1, 1])
    score_rows(double, False)(z, np.zeros(3, dtype), target, right, loss)
    assert right.tolist() == [True, False, False, False, False]
    assert (loss == 7).all()  # not asked for
    score_rows(double, True)(z, np.zeros(3, dtype), target, right, loss)
    assert right.tolist() == [True, False, False, False, False]
    assert np.isnan(loss[2:]).all()


def test_chosen_logits_are_those_of_the_whole_unembedding():
    s, c, b, d, v, pairs = 2, 3, 5, 4, 11, 2
    final, w, bias = RNG.normal(size=(s, c, b, d)), RNG.normal(size=(s, v, d)), RNG.normal(size=(s, v))
    labels, out = RNG.integers(0, v, (b, pairs)), np.full((s, c, b, pairs), np.nan)
    label_logits(final, w, bias, labels, out)
    every = np.einsum("scbd,svd->scbv", final, w) + bias[:, None, None]
    chosen = np.take_along_axis(every, np.broadcast_to(labels, (s, c, b, pairs)), axis=-1)
    np.testing.assert_allclose(out, chosen, rtol=1e-12)
