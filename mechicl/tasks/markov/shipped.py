"""Samples of Markov chains as plain arrays (`TaskBatch.shipped`): the metrics of batch.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mechicl.errors import ConfigError
from mechicl.protocol.shipped import Scored, Shipped, mean_over, of_tokens

if TYPE_CHECKING:
    from mechicl.tasks.markov.batch import MarkovBatch

SCORED = ("kl", "inference_gain", "recall_gain", "follows_context")


def shipped(batch: MarkovBatch, metric: str) -> Shipped:
    """All of them are sums over log q: with p the row of the chain, KL(p || q) is sum p log p - sum p log q.

    Raises:
        ConfigError: there is no such metric, or the batch is one to train on.
    """
    if metric not in SCORED or metric not in batch.recorded:
        raise ConfigError(f"metric {metric!r}: the page scores one of {', '.join(SCORED)} of an evaluation set.")
    rows = mean_over(batch.scored)
    true = batch.true[batch.scored]
    if metric == "follows_context":  # KL(p || q) < KL(p' || q), and both sums of log q on one side
        held = batch.held[batch.scored]
        scored = Scored(term="more", share=true - held, bound=_own(true) - _own(held), **rows)
        return of_tokens(batch.ids, scored)
    known = _own(batch.true)
    kl: dict[str, Any] = {"share": -true, "offset": (known * batch.scored).sum(-1) / batch.scored.sum(-1)}
    if metric != "kl":
        u, b, r = batch.levels.unbind(-1)
        top, bottom = (u, b) if metric == "inference_gain" else (b, r)
        each = (top - bottom).repeat_interleave(batch.scored.sum(-1))
        rows["weight"] = -rows["weight"] / each
        kl["offset"] = (top - kl["offset"]) / (top - bottom)
    return of_tokens(batch.ids, Scored(term="log", **(rows | kl)))


def _own(p: Tensor) -> Tensor:
    """Sum of p log p over the last axis."""
    return torch.special.xlogy(p, p).sum(-1)
