"""Measured curves for the accounts, from the gathered tables or from run directories.

One frame either way: condition, seed, step, sequences, evaluator, value (the evaluator's headline accuracy), complete.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from mechicl.accounts.fit import Curves
from mechicl.accounts.links import ACCURACIES
from mechicl.evaluators import EVALUATORS
from mechicl.series import open_series

COLUMNS = ["condition", "seed", "step", "sequences", "evaluator", "value", "complete"]
Runs = dict[tuple[str, int], Curves]


def read_tables(tables: Path) -> pd.DataFrame:
    """`competition.parquet` and, with more checkpoints of the untreated condition, `demo.parquet`."""
    frames = []
    demo, competition = tables / "demo.parquet", tables / "competition.parquet"
    if demo.exists():
        frames.append(pd.read_parquet(demo).assign(condition="mixed"))
    if competition.exists():
        frames.append(pd.read_parquet(competition))
    if not frames:
        raise SystemExit(f"no demo.parquet or competition.parquet in {tables}; give run directories with --runs.")
    return pd.concat([f[COLUMNS] for f in frames], ignore_index=True)


def from_runs(roots: Iterable[Path]) -> pd.DataFrame:
    """The same frame from run directories named <condition>-s<seed>; demo's runs are the untreated condition."""
    frames = []
    for root in roots:
        if not (root / "manifest.json").exists():
            continue
        series = open_series(root)
        table = series.metrics
        if not table.size:
            continue
        headline = [EVALUATORS[str(name)].headline for name in table.evaluator]
        name = root.name.rsplit("-s", 1)[0]
        condition = "mixed" if name in ("demo", "demo-run") else name
        frames.append(table[table.metric == headline].assign(condition=condition, complete=series.complete))
    if not frames:
        raise SystemExit("no run with recorded metrics among the directories given with --runs.")
    return pd.concat([f[COLUMNS] for f in frames], ignore_index=True)


def runs(frame: pd.DataFrame) -> Runs:
    """(condition, seed) -> evaluator -> (million sequences, accuracy), of complete runs. Where a step was
    recorded twice (a run and its denser twin), the first row counts."""
    out: Runs = {}
    rows = frame[frame.complete.astype(bool) & frame.evaluator.isin(ACCURACIES) & (frame.sequences > 0)]
    rows = rows.drop_duplicates(["condition", "seed", "evaluator", "sequences"])
    for (condition, seed), run in rows.groupby(["condition", "seed"], sort=False):
        curves = {}
        for evaluator, curve in run.groupby("evaluator", sort=False):
            curve = curve.sort_values("sequences")
            curves[str(evaluator)] = (
                curve.sequences.to_numpy(dtype=float) / 1e6, curve.value.to_numpy(dtype=np.float64)
            )  # fmt: skip
        out[str(condition), int(str(seed))] = curves
    return out
