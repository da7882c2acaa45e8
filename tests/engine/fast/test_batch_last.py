"""Each compiled loop of the training step against the same arithmetic in torch, in double precision."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mechicl.engine.fast.batch_last import (
    add,
    interleave,
    interleave_backward,
    layer_norm,
    layer_norm_backward,
)

RNG = np.random.default_rng(0)
EPS = 1e-5


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def leaf(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x.copy()).requires_grad_()


def gradients(out: torch.Tensor, d_out: np.ndarray, *leaves: torch.Tensor, keep: bool = False) -> list[np.ndarray]:
    return [g.numpy() for g in torch.autograd.grad(out, leaves, torch.from_numpy(d_out), retain_graph=keep)]


@pytest.mark.parametrize("s", [1, 3])
def test_interleave_and_its_gradient(s):
    d, pairs, b, v = 4, 3, 5, 7
    shown, bias, table = draw(s, d, pairs + 1, b), draw(s, d), draw(s, v, d)
    positions, labels = draw(s, 2 * pairs + 1, d), RNG.integers(0, v, (s, b, pairs))
    x = np.full((s, d, 2 * pairs + 1, b), np.nan)
    interleave(shown, bias, table, labels, positions, x)

    leaves = [leaf(y) for y in (shown, bias, table, positions)]
    rows = torch.stack([leaves[2][i][torch.from_numpy(labels[i])] for i in range(s)])  # [s, b, C, d]
    items = leaves[0] + leaves[1][:, :, None, None]
    parts = [items[:, :, j // 2] if j % 2 == 0 else rows[:, :, j // 2].mT for j in range(2 * pairs + 1)]
    want = torch.stack(parts, dim=2) + leaves[3].mT[..., None]
    np.testing.assert_allclose(x, want.detach(), rtol=1e-14)

    dx = draw(*x.shape)
    d_shown, d_bias, d_positions = (np.full_like(y, np.nan) for y in (shown, bias, positions))
    d_table = np.zeros_like(table)
    interleave_backward(dx, labels, d_shown, d_bias, d_table, d_positions)
    for mine, theirs in zip((d_shown, d_bias, d_table, d_positions), gradients(want, dx, *leaves), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("s", [1, 2])
def test_layer_norm_and_its_gradient(s):
    d, n = 6, 11
    x, w, bias = 3 + draw(s, d, n), draw(s, d), draw(s, d)
    y, stats = np.full_like(x, np.nan), np.full((s, 2, n), np.nan)
    layer_norm(x, w, bias, EPS, y, stats)
    leaves = [leaf(z) for z in (x, w, bias)]
    normal = F.layer_norm(leaves[0].mT, (d,), eps=EPS)
    want = (normal * leaves[1][:, None] + leaves[2][:, None]).mT
    np.testing.assert_allclose(y, want.detach(), rtol=1e-12)
    np.testing.assert_allclose(stats[:, 0], x.mean(1), rtol=1e-12)
    np.testing.assert_allclose(stats[:, 1], 1 / np.sqrt(x.var(1) + EPS), rtol=1e-12)

    dy = draw(*x.shape)
    for columns in (0, 4, n):  # of a gradient that goes past the norm: none, of the last columns, of all
        past = draw(s, d, columns)
        dx, dw, d_bias = (np.full_like(z, np.nan) for z in (x, w, bias))
        layer_norm_backward(dy, x, w, stats, past, dx, dw, d_bias)
        dx[:, :, n - columns :] -= past
        for mine, theirs in zip((dx, dw, d_bias), gradients(want, dy, *leaves, keep=True), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)


def test_bias_and_residual_are_added_in_one_pass():
    out, bias, x = draw(2, 3, 7), draw(2, 3), draw(2, 3, 7)
    want = out + bias[..., None] + x
    add(out, bias, x)
    np.testing.assert_array_equal(out, want)
