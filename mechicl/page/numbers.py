"""A mean over sequences with its interval, and the difference of two: of one number per sequence each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mechicl.statistics import mean_interval, paired_interval


@dataclass(frozen=True)
class Number:
    """A mean over n sequences with its 95% interval."""

    value: float
    low: float
    high: float
    n: int


def mean(answers: np.ndarray) -> Number:
    """Mean of a primary metric with its interval: of right answers [n] bool their share and Wilson's, of other
    numbers the normal one."""
    value, low, high = (float(x) for x in mean_interval(answers, _kind(answers)))
    return Number(value, low, high, len(answers))


def paired(before: np.ndarray, after: np.ndarray) -> Number:
    """Mean difference on the same sequences, with its 95% interval (`paired_interval`). Both [n]."""
    value, low, high = (float(x) for x in paired_interval(before, after, _kind(before)))
    return Number(value, low, high, len(after))


def _kind(answers: np.ndarray) -> str:
    """A metric whose intervals are those of these answers."""
    return "acc" if answers.dtype == np.bool_ else "loss"


def unpaired(a: np.ndarray, b: np.ndarray) -> Number:
    """b's mean minus a's on other sequences, with Newcombe's (1998) 95% interval, which joins the intervals of the two;
    n is the smaller one's. a [m], b [n]."""
    x, y = mean(a), mean(b)
    value = y.value - x.value
    low = value - float(np.hypot(y.value - y.low, x.high - x.value))
    high = value + float(np.hypot(y.high - y.value, x.value - x.low))
    return Number(value, low, high, min(x.n, y.n))


def percent(value: float, span: tuple[float, float]) -> float:
    """Where a value stands on a scale from span[0] to span[1]; what is beyond stands at the end."""
    return round(100 * min(1.0, max(0.0, (value - span[0]) / (span[1] - span[0]))), 2)
