"""The committed tables: one per experiment, small, and all that the page is built from.

A row is one evaluator (its primary metric, unless there is a column `metric`) at one evaluated step of one run:

    condition, seed, complete   which run; whether it reached its end
    step, sequences             optimiser steps and training sequences seen
    evaluator                   of mechicl.evaluators, or 'training': the mean loss since the row before
    metric                      only in tables of another metric than the primary one (`collect --metric`)
    value, n                    and from how many sequences
    chance                      of that evaluator's set (not for 'training')
    <field> ...                 a column for every field of Config that the sweep varies
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from mechicl.errors import ConfigError
from mechicl.evaluators import EVALUATORS, chance
from mechicl.series import Series, open_series
from mechicl.series.recorded import behind_losses
from mechicl.sweeps.conditions import Plan
from mechicl.sweeps.plan import read_plan
from mechicl.system.commands import command
from mechicl.system.files import write_atomic

TABLES = Path(__file__).parent / "tables"
_COLUMNS = ["condition", "seed", "complete", "step", "sequences", "evaluator", "value", "n", "chance"]


def read(name: str) -> pd.DataFrame | None:
    """The table of an experiment; None if it was not run."""
    path = TABLES / f"{name}.parquet"
    return pd.read_parquet(path) if path.exists() else None


def collect(file: Path, runs: Path, metric: str | None = None) -> pd.DataFrame:
    """The table of a sweep, from all its runs in the folder that have begun. The table keeps runs of the sweep that it
    already has and that are not in the folder, because a grid may be trained in several parts.

    metric: another one than the primary one of each evaluator, in a table of its own, NAME-METRIC.
    """
    plan = read_plan(file)
    name_of_table = plan.name if metric is None else f"{plan.name}-{metric}"
    before = read(name_of_table)
    begun = {run for run in plan.runs if (run.folder(runs) / "manifest.json").exists()}
    if not begun:
        raise ConfigError(f"{runs} holds no run of {file}: {command('sweep', file, '--out', runs)} trains them.")
    parts = []
    for run in plan.runs:
        name = run.condition.name
        if run in begun:
            rows = of_series(open_series(run.folder(runs)), name, metric)
        elif before is not None:
            rows = before.loc[(before.condition == name) & (before.seed == run.seed), _COLUMNS]
            rows = rows if metric is None else rows.assign(metric=metric)
        else:
            continue
        parts.append(rows.assign(**run.condition.fields))
    return save(name_of_table, [rows for rows in parts if len(rows)])


def collect_runs(name: str, runs: Iterable[Path]) -> pd.DataFrame:
    """The table of runs of one recipe; each run's condition is the recipe's name."""
    series = [open_series(run) for run in runs]
    return save(name, [of_series(one, one.config.name) for one in series])


def of_series(series: Series, condition: str, metric: str | None = None) -> pd.DataFrame:
    """What one run has recorded, as rows of a table. metric: as in `collect`."""
    every = series.metrics
    rows = primary_metric(every) if metric is None else every[every.metric == metric]
    rows = rows[["step", "sequences", "evaluator", "value", "n"]]
    loss = series.training_loss.rename(columns={"loss": "value"})
    loss = loss.assign(evaluator="training", n=behind_losses(series))
    levels = {
        name: chance(name, series.evaluation_set(name, step=0), series.task.n_outputs)[
            metric or EVALUATORS[name].primary_metric
        ]
        for name in rows.evaluator.unique()
    }
    table = pd.concat([rows, loss[["step", "sequences", "evaluator", "value", "n"]]], ignore_index=True)
    table["chance"] = table.evaluator.map(levels)
    front = {"condition": condition, "seed": series.config.seeds.init, "complete": series.complete}
    table = table.assign(**front)[_COLUMNS].sort_values(["step", "evaluator"], ignore_index=True)
    return table if metric is None else table.assign(metric=metric)


def primary_metric(rows: pd.DataFrame) -> pd.DataFrame:
    """Of rows with every metric, those of each evaluator's primary metric."""
    return rows[rows.metric == rows.evaluator.map({name: e.primary_metric for name, e in EVALUATORS.items()})]


def save(name: str, parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Write the table of these parts; values as float32, which keeps a committed table small."""
    table = pd.concat(parts, ignore_index=True)
    return write(name, table.astype({"value": "float32", "chance": "float32", "n": "int64", "step": "int32"}))


def write(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Put `table` into `tables/NAME.parquet`, whole or not at all."""
    write_atomic(TABLES / f"{name}.parquet", table.to_parquet(index=False, compression="zstd"))
    return table


def conditions(plan: Plan) -> list[str]:
    """Names of a sweep's conditions, in the file's order."""
    return [condition.name for condition in plan.conditions]
