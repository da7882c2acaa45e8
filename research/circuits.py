"""The table of analyses/circuits over seeds: `python -m research circuits NAME RUN [RUN ...]`.

HOSTS checkpoints of each run are measured. All numbers are kept, except that subspaces of single heads are kept for
every fourth checkpoint only. A run of the demo recipe takes a minute or less on one thread of a quiet machine.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analyses.circuits import run
from mechicl.series import open_series
from mechicl.system.work_queue import threads
from research import tables

HOSTS = 18  # checkpoints per measurement, spread evenly over those saved, with before ICL, peak and end
COLUMNS = [
    "run",
    "seed",
    "step",
    "sequences",
    "topic",
    "condition",
    "intervention",
    "baseline",
    "evaluator",
    "layer",
    "head",
    "metric",
    "value",
    "effect",
    "n",
    "ci_low",
    "ci_high",
]


def compact(table: pd.DataFrame) -> pd.DataFrame:
    """Four decimals of everything (accuracies are multiples of 1 / n), texts as categories."""
    steps = sorted(table.step.unique())
    single = (table.topic == "subspaces") & table["head"].notna()
    table = table[COLUMNS][~single | table.step.isin(steps[::4])].copy()
    for column in ("value", "effect", "ci_low", "ci_high"):
        table[column] = table[column].astype("float64").round(4).astype("float32")
    for column in ("run", "topic", "condition", "intervention", "baseline", "evaluator", "metric"):
        table[column] = table[column].fillna("").astype("category")
    return table


def collect(name: str, roots: Sequence[Path]) -> pd.DataFrame:
    """Write `tables/NAME.parquet` of these runs and print what was found in each.

    Raises:
        SeriesError: a run cannot be read, or has no weights.
    """
    parts = []
    for root in roots:
        with threads(1):
            found = run(open_series(root), hosts=HOSTS)
        print(f"# {root}", *found.text, sep="\n- ", flush=True)
        parts.append(found.table)
    return tables.write(name, compact(pd.concat(parts, ignore_index=True)))
