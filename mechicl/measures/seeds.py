"""Curves over seeds: the middle of several runs, and how far they are apart."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mechicl.errors import SeriesError
from mechicl.evaluators import EVALUATORS
from mechicl.measures.asked import Names, chosen_names
from mechicl.measures.door import measure
from mechicl.series import Series
from mechicl.series.alike import check_seeds
from mechicl.statistics import t_interval

__all__ = ["seed_bands"]


def aligned(runs: Sequence[Series], evaluator: str, metric: str) -> pd.DataFrame:
    """One recorded curve of every run at the times of all of them: index sequences, a column per run.

    Runs may have saved different steps: between its own checkpoints a run is taken as straight. Times at which
    some run was not yet or no longer measured are left out.
    """
    curves = []
    for i, series in enumerate(runs):
        x, y = series.curve(evaluator, metric)
        curves.append(pd.Series(y, index=x, name=i))
    table = pd.concat(curves, axis=1).sort_index()
    return table.interpolate(method="index", limit_area="inside").dropna().rename_axis("sequences")


@measure("seed_bands", rows="evaluator and time, over seeds", value="mean, median, t-interval and range over runs")
def seed_bands(runs: Sequence[Series], evaluators: Names = None, metric: str | None = None) -> pd.DataFrame:
    """Mean, median and bands over seeds, as recorded in training.

    Args:
        runs: seeds of one recipe, each once.
        evaluators: default: those that every run recorded.
        metric: 'in_context_acc', 'acc' or 'loss'; default: the primary metric of each evaluator.

    Returns:
        One row per evaluator and time, ascending: evaluator, metric, sequences (training sequences seen),
        n (runs), mean with the 95% t-interval over runs ci_low, ci_high (NaN for one run; of few runs it can reach
        beyond what the metric can be), median, and the range low, high. Accuracies are shares of 1, losses nats. Runs
        that saved different steps: `aligned`.

    Raises:
        SeriesError: no run was given, they are not seeds of one recipe, or one did not record an evaluator or metric.

    Examples:
        >>> mechicl.seed_bands([series], ["icl", "flip"]).evaluator.unique().tolist()
        ['icl', 'flip']
    """
    runs = list(runs)
    if not runs:
        raise SeriesError("no run was given: expected series, such as [mechicl.open_series(r) for r in roots].")
    check_seeds(runs)
    return bands(runs, evaluators, metric)


def bands(runs: Sequence[Series], evaluators: Names = None, metric: str | None = None) -> pd.DataFrame:
    """`seed_bands`, of runs that are known to belong together."""
    found = [set() if not s.metrics.size else set(s.metrics.evaluator) for s in runs]
    names = chosen_names(evaluators, [e for e in EVALUATORS if all(e in f for f in found)])
    if not names:
        each = (f"{s.name} has {', '.join(sorted(f)) or 'none'}" for s, f in zip(runs, found, strict=True))
        raise SeriesError(f"the runs have no recorded evaluator in common: {'; '.join(each)}.")
    return pd.concat([_band(runs, name, metric) for name in names], ignore_index=True)


def _band(runs: Sequence[Series], evaluator: str, metric: str | None) -> pd.DataFrame:
    metric = metric or (EVALUATORS[evaluator].primary_metric if evaluator in EVALUATORS else "")
    for series in runs:
        recorded = series.metrics
        if not recorded.size or not ((recorded.evaluator == evaluator) & (recorded.metric == metric)).any():
            raise SeriesError(
                f"{series.root} recorded no {metric or 'metric'} of {evaluator!r}; `mechicl show "
                f"{series.root}` lists what it has."
            )
    table = aligned(runs, evaluator, metric)
    n, (mean, low, high) = table.shape[1], t_interval(table.to_numpy(), axis=1)
    return pd.DataFrame(
        {
            "evaluator": evaluator,
            "metric": metric,
            "sequences": table.index,
            "n": n,
            "mean": mean,
            "ci_low": low,
            "ci_high": high,
            "median": table.median(axis=1).to_numpy(),
            "low": table.min(axis=1).to_numpy(),
            "high": table.max(axis=1).to_numpy(),
        }
    )
