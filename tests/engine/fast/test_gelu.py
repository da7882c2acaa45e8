"""GELU's tanh form and its slope against torch, in both precisions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mechicl.engine.fast.gelu import gelu_tanh, times_slope

TOLERANCE = {np.float32: 4e-6, np.float64: 1e-13}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_slopes_and_the_biases_gradient_are_torchs(dtype):
    rng = np.random.default_rng(0)
    pre = (4 * rng.standard_normal((2, 3, 101))).astype(dtype)
    pre[0, 0, :7] = [-1000, 1000, -30, 30, 0, 1e-6, -1e-30]  # where a tanh is flat, and near 0
    bias, back = (0.1 * rng.standard_normal((2, 3))).astype(dtype), rng.standard_normal(pre.shape).astype(dtype)
    x = torch.tensor(pre + bias[..., None], dtype=torch.float64, requires_grad=True)
    want = F.gelu(x, approximate="tanh")
    want.backward(torch.tensor(back, dtype=torch.float64))

    post, d_bias = np.empty_like(pre), np.empty_like(bias)
    gelu_tanh(pre, bias, post)
    times_slope(back, pre, d_bias)
    found = {"post": (post, want.detach()), "back": (back, x.grad), "bias": (d_bias, x.grad.sum(-1))}
    for name, (ours, theirs) in found.items():
        np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE[dtype], atol=10 * TOLERANCE[dtype], err_msg=name)
