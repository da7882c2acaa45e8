"""The cross-entropy in pieces is torch's own, with its gradients."""

import pytest
import torch
import torch.nn.functional as F

from mechicl.tasks.text import loss
from mechicl.tasks.text.loss import cross_entropy


@pytest.mark.parametrize("at_once", [1, 50, 2**17])
def test_loss_and_gradients_are_torch_s(at_once, monkeypatch):
    monkeypatch.setattr(loss, "_AT_ONCE", at_once)
    x, w, bias = (torch.randn(shape, dtype=torch.float64) for shape in ((13, 5), (5, 11), (11,)))
    targets, leaves = torch.randint(11, (13,)), [each.requires_grad_() for each in (x, 4 * w, bias)]
    leaves = [each.detach().requires_grad_() for each in leaves]
    found, want = cross_entropy(*leaves, targets), F.cross_entropy(leaves[0] @ leaves[1] + leaves[2], targets)
    torch.testing.assert_close(found, want)
    for mine, its in zip(torch.autograd.grad(3 * found, leaves), torch.autograd.grad(3 * want, leaves), strict=True):
        torch.testing.assert_close(mine, its)
    with torch.no_grad():
        torch.testing.assert_close(cross_entropy(*leaves, targets), want)


def test_large_logits_are_no_infinity():
    x, w = torch.full((2, 1), 300.0, requires_grad=True), torch.tensor([[1.0, -1.0]], requires_grad=True)
    value = cross_entropy(x, w, torch.zeros(2, requires_grad=True), torch.tensor([0, 1]))
    assert float(value.detach()) == pytest.approx(300)
