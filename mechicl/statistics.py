"""All intervals, tests and corrections: over sequences, over seeds, over many comparisons.

Intervals over sequences are written out here, because every evaluation in training makes them. Their bounds of
proportions equal those of statsmodels except for the last bit. The others are scipy's, which is imported when it is
needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

LEVEL = 0.9  # of exact intervals over seeds: each end is a one-sided bound of 95%
_ACCURACIES = ("in_context_acc", "acc")  # right or wrong, as all that is bool; else the interval is the normal one
_Z = 1.959963984540054  # the normal distribution's 97.5% point


def normal_interval(values: Tensor | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and normal 95% interval over the last axis; NaN bounds for a single value."""
    x = _array(values).astype(np.float64, copy=False)
    n, mean = x.shape[-1], x.mean(-1)
    half = _Z * x.std(-1, ddof=1) / np.sqrt(n) if n > 1 else np.full_like(mean, np.nan)
    return mean, mean - half, mean + half


def mean_interval(values: Tensor | np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and 95% interval over the last axis: Wilson for accuracies and all else that is bool, normal for numbers."""
    x = _array(values)
    if metric not in _ACCURACIES and x.dtype != np.bool_:
        return normal_interval(values)
    x = x.astype(np.float64, copy=False)
    n, mean, z = x.shape[-1], x.mean(-1), _Z
    centre = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
    return mean, np.clip(centre - half, 0.0, mean), np.clip(centre + half, mean, 1.0)


def paired_interval(
    before: Tensor | np.ndarray, after: Tensor | np.ndarray, metric: str = "acc"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of after - before over the last axis, the same sequences in both, and its 95% interval.

    For accuracies, and all else that is bool, it is Agresti and Min's (2005). It adds half a sequence to each of the
    four cases right or wrong, before and after. So a change that occurred in none of n sequences does not count as
    certainly 0. For all other metrics it is the normal interval.
    """
    x, y = _array(before), _array(after)
    if metric not in _ACCURACIES and y.dtype != np.bool_:
        return normal_interval(y.astype(np.float64) - x)
    n = np.broadcast_shapes(x.shape, y.shape)[-1]
    won, lost = (y & ~x).sum(-1), (x & ~y).sum(-1)
    value, centre = (won - lost) / n, (won - lost) / (n + 2)
    half = _Z * np.sqrt(won + lost + 1 - (won - lost) ** 2 / (n + 2)) / (n + 2)
    return value, np.minimum(value, centre - half), np.maximum(value, centre + half)


def ratio_interval(part: Tensor | np.ndarray, whole: Tensor | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean of `part` over that of `whole`, both over the last axis and of the same sequences, and its 95% interval
    to first order (delta method). All are NaN where the interval of `whole` holds 0: there is nothing to share.
    """
    x, y = _array(whole).astype(np.float64), _array(part).astype(np.float64)
    mean, low, high = normal_interval(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = y.mean(-1) / mean
        _, below, above = normal_interval((y - share[..., None] * x) / mean[..., None])
    none = ~((low > 0) | (high < 0))
    return tuple(np.where(none, np.nan, each) for each in (share, share + below, share + above))  # type: ignore[return-value]


def _array(values: Tensor | np.ndarray) -> np.ndarray:
    """Tensors may lie on any device."""
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)  # pyright: ignore[reportAttributeAccessIssue]


def t_interval(values: Sequence[float] | np.ndarray, axis: int = -1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and Student's 95% interval over an axis, as over seeds; NaN bounds for a single value."""
    from scipy import stats

    x = np.asarray(values, dtype=np.float64)
    n, mean = x.shape[axis], x.mean(axis)
    if n < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    half = stats.t.ppf(0.975, n - 1) * x.std(axis, ddof=1) / np.sqrt(n)
    return mean, mean - half, mean + half


def t_test(differences: Sequence[float] | np.ndarray) -> float:
    """The two-sided p of the paired t-test. If all differences are equal, it is 1 if they are 0, else 0."""
    from scipy import stats

    x = np.asarray(differences, dtype=np.float64)
    middle, error = float(x.mean()), float(x.std(ddof=1) / np.sqrt(len(x)))
    return float(2 * stats.t.sf(abs(middle) / error, len(x) - 1)) if error > 0 else float(middle == 0)


def median_interval(
    values: Sequence[float] | pd.Series | np.ndarray, level: float = LEVEL
) -> tuple[float, float, float]:
    """The median and its exact interval, from the sign test. Its ends are two of the ordered values. Values may be
    infinite. With fewer than five values there is no interval of LEVEL, and both ends are NaN. With five it goes from
    the lowest to the highest."""
    from scipy import stats

    x = np.asarray(values, float)
    found = stats.quantile_test(x, q=0, p=0.5).confidence_interval(level)
    return float(np.median(x)), float(found.low), float(found.high)


def share_interval(count: int, of: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact (Clopper-Pearson) interval of a share: `count` of `of` runs."""
    from scipy import stats

    found = stats.binomtest(count, of).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)


def several(count: int) -> float:
    """The factor by which 95% intervals must be wider so that `count` of them hold together with 95% (Bonferroni)."""
    from scipy import stats

    return float(stats.norm.ppf(1 - 0.025 / max(1, count)) / stats.norm.ppf(0.975))


def holm(p: list[float]) -> np.ndarray:
    """p-values corrected for their number by Holm's step-down method. NaN stays NaN and does not count."""
    values = np.asarray(p, float)
    out = np.full(len(values), np.nan)
    order = [i for i in np.argsort(values, kind="stable") if not np.isnan(values[i])]
    worst = 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, values[i] * (len(order) - rank)))
        out[i] = worst
    return out
