"""The parts of an induction head made perfect, on exemplars and labels (docs/references.md#singh-2024-clamps).

A perfect match: the query looks at the right label with a given strength. A perfect copy: the answer is read from one
head's attention scores at the labels, not from the unembedding: the logit of a label in the context is the head's
score, before the softmax, at the position of that label; every other label has -1e9. Where several positions show one
label, its logit is the logsumexp of theirs: the head copies what its attention, limited to labels, rests on.

Legend: b sequences, C context pairs.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from mechicl.tasks.exemplar_label.batch import Batch

ELSEWHERE = 1e9  # minus the logit of a label that the context does not show


def match_row(batch: Batch, strength: float, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """The query's attention under a match clamp [b, 2C+1], rows sum to 1; and whether a sequence has the answer in
    its context, bool [b] (rows of those that have not say nothing)."""
    right = batch.labels == batch.target[:, None]  # [b, C]
    n_right, n_other = right.sum(1, keepdim=True), (~right).sum(1, keepdim=True)
    on_right = torch.where(n_other > 0, strength, 1.0) / n_right.clamp(min=1)
    on_other = (1 - strength) / n_other.clamp(min=1)
    row = torch.zeros(len(batch), 2 * batch.n_pairs + 1, dtype=dtype, device=right.device)
    row[:, 1::2] = torch.where(right, on_right, on_other).to(dtype)
    return row, right.any(1)


def copied_loss(scores: Tensor, batch: Batch) -> Tensor:
    """-log of the answer's probability of every sequence, [*lead, b], from the query's scores [*lead, b, 2C+1];
    differentiable. 1e9 where the context does not show the answer."""
    scores = scores[..., 1::2]
    right = batch.labels == batch.target[:, None]
    shown = scores.logsumexp(-1) - scores.masked_fill(~right, -torch.inf).logsumexp(-1)
    return torch.where(right.any(-1), shown, ELSEWHERE)


def score_copied(scores: Tensor, batch: Batch, metrics: Iterable[str]) -> dict[str, Tensor]:
    """`evaluators.score` of a perfect copy: metric -> [*lead, b], from the query's scores [*lead, b, 2C+1]."""
    loss = copied_loss(scores, batch)
    scores = scores[..., 1::2]
    wanted, shown = tuple(metrics), (batch.labels == batch.target[:, None]).any(-1)
    same = batch.labels[:, :, None] == batch.labels[:, None, :]  # [b, C, C]
    share = torch.einsum("...bc,bcd->...bd", scores.softmax(-1), same.to(scores))  # of a slot's label, all its slots
    chosen = batch.labels.expand(share.shape).gather(-1, share.argmax(-1, keepdim=True)).squeeze(-1)
    values = {
        "in_context_acc": chosen == batch.target,
        "acc": chosen == batch.target,  # a label that the context does not show is never the likeliest
        "loss": loss,
        "in_context_prob": torch.where(shown, (-loss).exp(), 0.0),
        "in_context_loss": torch.where(shown, loss, torch.nan),
    }
    return {name: values[name] for name in wanted}
