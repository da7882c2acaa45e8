"""How the answers of exemplar-label sequences are scored, and what their heads' attention is called.

Per sequence, with z the logits at the query, y the target, S the context's labels, V all:

    in_context_acc = 1[argmax_{v in S} z_v = y]     0 by construction where y is not in S
    acc            = 1[argmax_{v in V} z_v = y]
    loss           = -log softmax_V(z)[y]

and, where asked for by name,

    in_context_prob = softmax_S(z)[y]           0 where y is not in S
    in_context_loss = -log in_context_prob      not a number where y is not in S
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from mechicl.engine.answers import answered
from mechicl.engine.forward import label_logits
from mechicl.models.params import Params
from mechicl.tasks.exemplar_label.batch import Batch

METRICS = Batch.recorded
ALL_METRICS = (*METRICS, "in_context_prob", "in_context_loss")


def chance(batch: Batch, n_labels: int) -> dict[str, float]:
    """What guessing scores, computed from the set itself: uniformly among the context's
    distinct labels for in_context_acc, among all labels for acc; loss of a uniform guess."""
    in_context = [
        (len(set(row)) and (y in row) / len(set(row)))
        for row, y in zip(batch.labels.tolist(), batch.target.tolist(), strict=True)
    ]
    return {
        "in_context_acc": float(np.mean(in_context)),
        "acc": 1 / n_labels,
        "loss": float(np.log(n_labels)),
    }


def in_context_correct(scores: Tensor, batch: Batch) -> Tensor:
    """in_context_acc per sequence. scores [*lead, b, C] are the logits of batch.labels;
    returns bool [*lead, b]."""
    best = scores.argmax(-1, keepdim=True)
    chosen = batch.labels.expand(*scores.shape[:-1], -1).gather(-1, best).squeeze(-1)
    return chosen == batch.target


def in_context_loss(scores: Tensor, batch: Batch) -> Tensor:
    """-log of the answer's share of softmax over the context's distinct labels, per sequence; not a number where
    the context does not show the answer. scores [*lead, b, C] are the logits of batch.labels; returns [*lead, b]."""
    same = batch.labels[:, :, None] == batch.labels[:, None, :]  # [b, C, C]
    first = ~same.tril(-1).any(-1)  # of the slots that show one label, the first stands for it
    logp = scores.masked_fill(~first, -torch.inf).log_softmax(-1)
    right = (batch.labels == batch.target[:, None]) & first
    return torch.where(right.any(-1), -logp.masked_fill(~right, 0.0).sum(-1), torch.nan)


def score(params: Params, final: Tensor, batch: Batch, metrics: Iterable[str] = METRICS) -> dict[str, Tensor]:
    """Metrics of every sequence, from the final residual stream at the query.

    Args:
        final: [*lead, b, d] (`engine.forward`).
        metrics: which of ALL_METRICS; those of the context never touch the full vocabulary.

    Returns:
        metric -> [*lead, b].

    Raises:
        ConfigError: there is no such metric.
    """
    wanted = batch.checked(metrics, ALL_METRICS)
    out, shown = {}, None
    if any(name.startswith("in_context") for name in wanted):
        shown = label_logits(params, final, batch.labels)
        if "in_context_acc" in wanted:
            out["in_context_acc"] = in_context_correct(shown, batch)
        if "in_context_prob" in wanted or "in_context_loss" in wanted:
            loss = in_context_loss(shown, batch)
            if "in_context_prob" in wanted:
                shows = (batch.labels == batch.target[:, None]).any(-1)
                out["in_context_prob"] = torch.where(shows, (-loss).exp(), 0.0)
            if "in_context_loss" in wanted:
                out["in_context_loss"] = loss
    if "acc" in wanted or "loss" in wanted:
        acc, loss = answered(params, final, batch.target, "loss" in wanted)
        if "acc" in wanted:
            out["acc"] = acc
        if "loss" in wanted:
            out["loss"] = loss
    return out


def attention(pattern: Tensor, batch: Batch) -> dict[str, Tensor]:
    """`Batch.attention`: every score of every head and sequence (`measures.attention.scores`)."""
    c = batch.n_pairs
    correct = (batch.classes[:, :-1] == batch.classes[:, -1:])[:, None]  # [b, 1, C]
    own = (batch.labels == batch.trained_labels[:, -1:])[:, None]
    shown = torch.where(correct.any(-1), 0.0, torch.nan)  # added: NaN where there is no correct pair
    has_own = torch.where(own.any(-1), 0.0, torch.nan)
    positions = torch.arange(2 * c + 1, device=pattern.device)
    to_exemplars, to_labels = pattern[..., -1, 0:-1:2], pattern[..., -1, 1::2]  # [*lead, b, h, C]
    at_labels = positions[1::2]
    right = (to_labels * correct).sum(-1) + shown
    wrong = (to_labels * ~correct).sum(-1)
    return {
        "previous_token": pattern[..., positions[1:], positions[:-1]].mean(-1),
        "label_to_exemplar": pattern[..., at_labels, at_labels - 1].mean(-1),
        "label_to_self": pattern[..., at_labels, at_labels].mean(-1),
        "query_to_match": (to_exemplars * correct).sum(-1) + shown,
        "query_to_label": right,
        "query_to_wrong": wrong,
        "induction_strength": right - wrong,
        "query_to_self": pattern[..., -1, -1],
        "query_to_own": (to_labels * own).sum(-1) + has_own,
    }
