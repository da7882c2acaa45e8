"""Which of many heads differ from a baseline, though many were looked at."""

from __future__ import annotations

import pandas as pd

from mechicl.statistics import several

__all__ = ["joint_intervals"]


def joint_intervals(
    rows: pd.DataFrame, value: str = "value", low: str = "ci_low", high: str = "ci_high"
) -> pd.DataFrame:
    """Rows with their 95% intervals widened so that all of them hold together with 95% (Bonferroni).

    Of 16 heads that differ from nothing, one has a single 95% interval that excludes it more often than not: to
    pick heads, all that were looked at count.

    Args:
        rows: everything that was looked at, one row each.
        value: the column of the estimate.
        low: the column of its interval's lower end.
        high: the column of its interval's upper end.

    Returns:
        A copy with the columns joint_low and joint_high; NaN where a row has no interval.
    """
    wider = several(len(rows))
    return rows.assign(
        joint_low=rows[value] - wider * (rows[value] - rows[low]),
        joint_high=rows[value] + wider * (rows[high] - rows[value]),
    )
