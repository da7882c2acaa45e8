"""The copied answer: by hand, and against the full logits it stands for."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mechicl.tasks.exemplar_label.batch import Batch
from mechicl.tasks.exemplar_label.clamped import copied_loss, score_copied
from mechicl.tasks.exemplar_label.scores import ALL_METRICS


def shown(labels: list[list[int]], target: list[int]) -> Batch:
    slots = torch.zeros(len(target), len(labels[0]) + 1, dtype=torch.long)
    return Batch(torch.zeros(*slots.shape, 2), torch.tensor(labels), torch.tensor(target), slots, slots, slots)


def at_labels(scores: torch.Tensor) -> torch.Tensor:
    """[b, C] as the query's scores at all positions: what the others are must not matter."""
    out = torch.full((len(scores), 2 * scores.shape[1] + 1), 7.0, dtype=scores.dtype)
    out[:, 1::2] = scores
    return out


def full_logits(scores: torch.Tensor, batch: Batch, n_labels: int) -> torch.Tensor:
    """The definition, label by label: the score where it is shown, -1e9 elsewhere."""
    out = torch.full((len(batch), n_labels), -1e9, dtype=scores.dtype)
    for i, row in enumerate(batch.labels.tolist()):
        for label in set(row):
            at = [c for c, other in enumerate(row) if other == label]
            out[i, label] = scores[i, at].exp().sum().log()
    return out


def test_scores_are_those_of_the_full_logits():
    batch = shown([[3, 1, 0, 1], [2, 0, 1, 4], [1, 1, 2, 0], [0, 1, 2, 3]], [1, 4, 2, 4])
    scores = torch.randn(4, 4, dtype=torch.float64)
    z = full_logits(scores, batch, 5)
    got = score_copied(at_labels(scores), batch, ALL_METRICS)
    right = z.argmax(-1) == batch.target
    assert torch.equal(got["acc"], right)
    assert torch.equal(got["in_context_acc"], right)
    loss = F.cross_entropy(z, batch.target, reduction="none")
    torch.testing.assert_close(got["loss"][:3], loss[:3])
    assert got["loss"][3].item() == pytest.approx(1e9)  # its answer is not in the context
    torch.testing.assert_close(got["in_context_prob"], torch.cat([(-loss[:3]).exp(), torch.zeros(1).double()]))
    assert got["in_context_loss"].isnan().tolist() == [False, False, False, True]


def test_two_pairs_by_hand():
    batch = shown([[4, 2], [4, 2]], [4, 2])
    scores = torch.tensor([[1.0, 3.0], [1.0, 3.0]])
    got = score_copied(at_labels(scores), batch, ("loss", "acc"))
    assert got["acc"].tolist() == [False, True]
    np.testing.assert_allclose(got["loss"], [np.log(1 + np.exp(2)), np.log(1 + np.exp(-2))], rtol=1e-6)


def test_a_sequence_without_the_answer_has_no_gradient():
    batch = shown([[4, 2], [4, 2]], [4, 0])
    scores = torch.zeros(2, 2, requires_grad=True)
    (grad,) = torch.autograd.grad(copied_loss(at_labels(scores), batch).sum(), scores)
    assert grad.tolist() == [[-0.5, 0.5], [0, 0]]
