"""The authors' evaluation set beside ours, on the same checkpoints of the runs of Figure 1b.

Their default evaluation draws from the first 1,600 classes and 5 exemplars of each, ours from all 12,800 and 20
(docs/references.md#singh-2025-setup). `python -m research evaluation RUN ...` writes
research/tables/figure-1b-evaluation.parquet: a row is one evaluator at one checkpoint of one seed on one of the sets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from mechicl import Series, open_series
from research import published, tables

TABLE = "figure-1b-evaluation"
FIRST = (1600, 5)  # classes, and exemplars of each
OURS, THEIRS = "all", "first 1,600 x 5"
ASKED = ("icl", "flip", "ciwl")


def collect(runs: Iterable[Path]) -> pd.DataFrame:
    """The table of these runs."""
    found = pd.concat([measure(open_series(run)) for run in runs], ignore_index=True)
    return tables.write(TABLE, found)


def measure(run: Series) -> pd.DataFrame:
    """Columns seed, set, sequences (of the published point), step, evaluator, value, n."""
    points = sorted({sequences for name in ASKED for sequences in published.points()[name]})
    steps = {
        run.nearest(sequences): sequences for sequences in points if sequences <= run.sequences_seen(run.steps[-1])
    }
    parts = []
    for name, first in ((OURS, None), (THEIRS, FIRST)):
        asked = replace(run, config=replace(run.config, eval_first=first))
        table = asked.evaluate([*steps], ASKED, metrics=None)
        table = table.assign(set=name, sequences=table.step.map(steps))
        parts.append(table[["seed", "set", "sequences", "step", "evaluator", "value", "n"]])
    return pd.concat(parts, ignore_index=True)


def moved(table: pd.DataFrame) -> pd.Series:
    """Their set less ours, by evaluator, published point and seed."""
    wide = table.pivot(index=["evaluator", "sequences", "seed"], columns="set", values="value")
    return (wide[THEIRS] - wide[OURS]).rename("moved")
