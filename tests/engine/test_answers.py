"""Answers scored in blocks are those of all logits at once."""

import pytest
import torch

from mechicl.engine import answers
from mechicl.engine.answers import answered


def given(lead: tuple[int, ...], models: int | None, dtype=torch.float32):
    """Parameters, final streams [*lead, 13, 5] and answers, of 11 labels; the first answer is right in every model."""
    g = torch.Generator().manual_seed(0)
    w, b = ((models,) if models else ()), (*lead, 13)
    params = {
        "unembed.W_U": torch.randn((*w, 5, 11), generator=g, dtype=dtype),
        "unembed.b_U": torch.randn((*w, 11), generator=g, dtype=dtype),
    }
    return params, torch.randn((*b, 5), generator=g, dtype=dtype), torch.randint(11, (13,), generator=g)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("lead", "models"), [((), None), ((3,), None), ((2, 3), 2)])
@pytest.mark.parametrize("grad", [False, True], ids=["compiled", "torch"])
def test_blocks_are_the_whole(lead, models, dtype, grad, monkeypatch):
    params, final, target = given(lead, models, dtype)
    for name, size in {"_BLOCK": 4, "_LOGITS": 33, "_ELSEWHERE": 50}.items():
        monkeypatch.setattr(answers, name, size)
    w, b = params["unembed.W_U"], params["unembed.b_U"]
    z = torch.einsum("s...rd,sdv->s...rv", final, w) + b[:, None, None] if models else final @ w + b
    if grad:
        w.requires_grad_()
        right, loss = answered(params, final, target)
        loss = loss.detach()
    else:
        right, loss = answered(params, final, target)
    assert right.shape == loss.shape == (*lead, 13)
    torch.testing.assert_close(right, z.argmax(-1).detach() == target)
    each = target.expand(z.shape[:-1])[..., None]
    torch.testing.assert_close(loss, (z.logsumexp(-1) - z.gather(-1, each)[..., 0]).detach())


def test_the_loss_can_be_left_out():
    params, final, target = given((), None)
    assert torch.equal(answered(params, final, target, with_loss=False)[0], answered(params, final, target)[0])
