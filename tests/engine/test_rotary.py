"""Rotary positions in place: the same as out of place, and their gradient."""

import pytest
import torch

from mechicl.config import ModelConfig
from mechicl.engine.rotary import tables, turn, turned

MODEL = ModelConfig(n_layers=1, d_model=24, n_heads=3, positions="rotary")


def reference(qkv):
    t = qkv.shape[-2]
    cos, sin = (x[:, None] for x in tables(MODEL, t, qkv.dtype, qkv.device))
    q, k, v = (part.unflatten(-1, (3, 8)) for part in qkv.chunk(3, -1))
    return torch.cat([x.flatten(-2) for x in (turned(q, cos, sin), turned(k, cos, sin), v)], -1)


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_in_place_is_what_it_is_out_of_place(lead):
    qkv = torch.randn(*lead, 7, 72)
    want = reference(qkv)
    torch.testing.assert_close(turn(qkv.clone(), MODEL), want)
    back = turn(qkv.half(), MODEL)  # of no compiled type: torch's own way
    assert back.dtype == torch.half
    torch.testing.assert_close(back.float(), want, atol=1e-2, rtol=1e-2)


def test_lengths_of_pairs_stay_and_the_first_position_is_not_turned():
    qkv = torch.randn(4, 7, 72)
    found = turn(qkv.clone(), MODEL)
    torch.testing.assert_close(found[:, 0], qkv[:, 0])
    torch.testing.assert_close(found[..., 48:], qkv[..., 48:])

    def lengths(x):
        return x[..., :48].unflatten(-1, (6, 2, 4)).square().sum(-2)

    torch.testing.assert_close(lengths(found), lengths(qkv))
    assert not torch.allclose(found[:, 1:, :48], qkv[:, 1:, :48])


def test_the_gradient_is_autograd_s():
    x, w = torch.randn(2, 7, 24, dtype=torch.double), torch.randn(24, 72, dtype=torch.double, requires_grad=True)
    grads = [
        torch.autograd.grad(f(x @ w).square().mul(x[..., :1]).sum(), w)[0]
        for f in (lambda y: turn(y, MODEL), reference)
    ]
    torch.testing.assert_close(*grads)
