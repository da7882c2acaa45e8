"""A perfect copy: the answer is read from one head's attention scores at the labels, not from the unembedding.

The published copy clamp (docs/references.md#singh-2024-clamps): the final logit of a label in the context is the head's
score, before the softmax, at the position of that label; every other label has -1e9. Where several positions show one
label, its logit is the logsumexp of theirs: the head copies what its attention, limited to labels, rests on.

Legend: b sequences, C context pairs, v labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.tasks.batch import TaskBatch
from mechicl.tasks.exemplar_label.batch import Batch

ELSEWHERE = 1e9  # minus the logit of a label that the context does not show


def scores_hook(model: ModelConfig) -> str:
    """The activation that `label_scores` reads: the last layer's scores."""
    return f"blocks.{model.n_layers - 1}.attn.hook_attn_scores"


def label_scores(acts: Mapping[str, Tensor], model: ModelConfig, head: int) -> Tensor:
    """[*lead, b, C]: the query's scores, in a head of the last layer, at the labels."""
    return acts[scores_hook(model)][..., head, -1, 1::2]


def copied_loss(scores: Tensor, batch: TaskBatch) -> Tensor:
    """-log of the answer's probability of every sequence, [*lead, b], from `label_scores`; differentiable. 1e9 where
    the context does not show the answer."""
    assert isinstance(batch, Batch)  # other tasks are refused before
    right = batch.labels == batch.target[:, None]
    shown = scores.logsumexp(-1) - scores.masked_fill(~right, -torch.inf).logsumexp(-1)
    return torch.where(right.any(-1), shown, ELSEWHERE)


def score_copied(scores: Tensor, batch: TaskBatch, metrics: Iterable[str]) -> dict[str, Tensor]:
    """`evaluators.score` of a perfect copy: metric -> [*lead, b], from `label_scores`."""
    assert isinstance(batch, Batch)
    wanted, shown = tuple(metrics), (batch.labels == batch.target[:, None]).any(-1)
    same = batch.labels[:, :, None] == batch.labels[:, None, :]  # [b, C, C]
    share = torch.einsum("...bc,bcd->...bd", scores.softmax(-1), same.to(scores))  # of a slot's label, all its slots
    chosen = batch.labels.expand(share.shape).gather(-1, share.argmax(-1, keepdim=True)).squeeze(-1)
    loss = copied_loss(scores, batch)
    values = {
        "in_context_acc": chosen == batch.target,
        "acc": chosen == batch.target,  # a label that the context does not show is never the likeliest
        "loss": loss,
        "in_context_prob": torch.where(shown, (-loss).exp(), 0.0),
        "in_context_loss": torch.where(shown, loss, torch.nan),
    }
    return {name: values[name] for name in wanted}
