"""Sequences of tokens as plain arrays (`TaskBatch.shipped`): the metrics of batch.py, spans.py and last.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from mechicl.errors import ConfigError
from mechicl.protocol.shipped import Scored, Shipped, last_of, mean_over, of_tokens

if TYPE_CHECKING:
    from mechicl.tasks.text.batch import TokenBatch
    from mechicl.tasks.text.last import ConflictBatch, LastBatch

_FROM_BOTH = {"in_context_gain": 1.0, "in_context_score": -1.0}


def of_spans(batch: TokenBatch, metric: str) -> Shipped:
    """Of means over positions, and of the in-context score, which is a difference of two.

    Raises:
        ConfigError: there is no such metric.
    """
    following, spans = batch.tokens[:, 1:], batch.spans
    if metric in _FROM_BOTH and "_early" in spans:
        early, late = (mean_over(spans[name]) for name in ("_early", "_late"))
        at, weight = torch.cat([early["at"], late["at"]]), torch.cat([-early["weight"], late["weight"]])
        order = at.argsort(stable=True)
        target = following.flatten()[at[order]]
        # loss_early - loss_late is the mean log q of the late positions without that of the early ones
        scored = Scored(
            term="log",
            at=at[order],
            weight=_FROM_BOTH[metric] * weight[order],
            offset=early["offset"],
            outputs=target[:, None],
            share=torch.ones(len(target), 1),
        )
        return of_tokens(batch.ids, scored)
    for name in ("loss", "token_acc"):
        if not metric.startswith(name) or (span := metric.removeprefix(name)) not in spans:
            continue
        rows = mean_over(spans[span])
        target = following.flatten()[rows["at"]]
        if name == "token_acc":
            return of_tokens(batch.ids, Scored(term="right", target=target, **rows))
        less: dict[str, Any] = {"outputs": target[:, None], "share": -torch.ones(len(target), 1)}
        return of_tokens(batch.ids, Scored(term="log", **less, **rows))
    raise ConfigError(f"metric {metric!r}: the page scores loss and token_acc of these sequences, and in_context_gain.")


def of_last(batch: LastBatch | ConflictBatch, metric: str) -> Shipped:
    """Of sequences with one answer.

    Raises:
        ConfigError: there is no such metric.
    """
    rows = last_of(*batch.ids.shape)
    shown = getattr(batch, "shown", None)
    targets = {"acc": batch.held, "weights_acc": batch.held, "context_acc": shown}
    if metric not in batch.recorded or (metric not in targets and metric not in ("follows_context", "loss")):
        raise ConfigError(f"metric {metric!r}: the page scores {', '.join((*targets, 'follows_context', 'loss'))}.")
    if metric == "loss":
        outputs: dict[str, Any] = {"outputs": batch.right[:, None], "share": -torch.ones(len(batch), 1)}
        return of_tokens(batch.ids, Scored(term="log", **outputs, **rows))
    if metric == "follows_context":
        assert shown is not None
        scored = Scored(
            term="more",
            outputs=torch.stack([shown, batch.held], 1),
            share=torch.tensor([[1.0, -1.0]]).repeat(len(batch), 1),
            bound=torch.zeros(len(batch)),
            yes_or_no=True,
            **rows,
        )
        return of_tokens(batch.ids, scored)
    return of_tokens(batch.ids, Scored(term="right", target=targets[metric], yes_or_no=True, **rows))
