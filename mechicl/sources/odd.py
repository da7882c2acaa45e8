"""What is odd about a series that somebody else made. Published ones have been wrong: of one, 86 of 154 revisions
served the weights of late training, step 0 included (pythia#205)."""

from __future__ import annotations

import itertools
import math
from typing import Any

from mechicl.registry import EVALUATORS
from mechicl.series import Series

_UNTRAINED = 0.9  # of a uniform guess's loss: an untrained model is not so good
_WORSE = 0.5  # nats by which a checkpoint's loss is above both its neighbours'


def remarks(series: Series) -> list[str]:
    """Sentences, one for each thing that is odd; none where nothing is.

    Compared are the numbers of all pairs of checkpoints, whatever their files are; and the losses beside each step.
    """
    lines = series.recorded()
    return [*_equal(lines), *_losses(series, lines)]


def fixed_losses(series: Series) -> list[tuple[int, float]]:
    """(step, loss on the fixed sequences of the first evaluator) of every checkpoint."""
    return [(line["step"], _loss(line)) for line in series.recorded()]


def _equal(lines: list[dict[str, Any]]) -> list[str]:
    alike: dict[str, list[int]] = {}
    for line in lines:
        if "weights_sha256" in line:
            alike.setdefault(line["weights_sha256"], []).append(line["step"])
    order = [line["step"] for line in lines]
    out = []
    for steps in alike.values():
        if len(steps) == 1:
            continue
        at = [order.index(step) for step in steps]
        beside = all(b - a == 1 for a, b in itertools.pairwise(at))
        listed = ", ".join(f"{step:,}" for step in steps[:8]) + (", ..." if len(steps) > 8 else "")
        where = "neighbours" if beside else "not all of them neighbours"
        out.append(f"steps {listed} have the same weights ({len(steps)} checkpoints, {where}).")
    return out


def _losses(series: Series, lines: list[dict[str, Any]]) -> list[str]:
    losses, even = [(line["step"], _loss(line)) for line in lines], math.log(series.task.n_outputs)
    out = [
        f"step {step:,} has a loss of {loss:.3f} where a uniform guess has {even:.3f}: these are not untrained weights."
        for step, loss in losses
        if step == 0 and loss < _UNTRAINED * even
    ]
    for (_, before), (step, loss), (_, after) in zip(losses, losses[1:], losses[2:], strict=False):
        if loss > max(before, after) + _WORSE:
            out.append(f"step {step:,} has a loss of {loss:.3f}, but its neighbours {before:.3f} and {after:.3f}.")
    return out


def _loss(line: dict[str, Any]) -> float:
    """Of text where there is some, which every model has a loss of that falls; else of repeated random tokens."""
    rows = [row for row in line["evaluators"] if row["metric"] == "loss"]
    known = [row for name in EVALUATORS for row in rows if row["evaluator"] == name]
    return next((row["value"] for row in known if row["evaluator"] == "text"), known[0]["value"])
