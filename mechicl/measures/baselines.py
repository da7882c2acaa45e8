"""Which of many heads differ from a baseline, though many were looked at."""

from __future__ import annotations

import pandas as pd

from mechicl.statistics import several

__all__ = ["joint_intervals"]


def joint_intervals(
    rows: pd.DataFrame, value: str = "value", low: str = "ci_low", high: str = "ci_high"
) -> pd.DataFrame:
    """Rows with simultaneous 95% intervals: wider intervals that all hold together with 95% (Bonferroni).

    If none of 16 heads has an effect, it is still likely that at least one of 16 single 95% intervals excludes 0. So to
    select heads, the intervals must take into account all heads that were considered.

    Args:
        rows: everything that was considered, one row each.
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
