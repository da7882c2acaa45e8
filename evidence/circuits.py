"""The table of analyses/circuits over seeds: `python evidence/circuits.py OUT.parquet RUN [RUN ...]`.

HOSTS checkpoints of each run are measured; kept are all numbers but, of single heads' subspaces, every
fourth checkpoint. A minute or less per run of the demo recipe, on one quiet thread.
"""

import sys

import pandas as pd
import torch

from analyses.circuits import run
from mechicl.series import open_series

HOSTS = 18  # checkpoints per measurement, spread evenly over those saved, with before ICL, peak and end
COLUMNS = ["run", "seed", "step", "sequences", "topic", "condition", "intervention", "baseline", "evaluator", "layer",
           "head", "metric", "value", "effect", "n", "ci_low", "ci_high"]  # fmt: skip


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


if __name__ == "__main__":
    torch.set_num_threads(1)
    out, *paths = sys.argv[1:]
    tables = []
    for path in paths:
        found = run(open_series(path), hosts=HOSTS)
        print(f"# {path}", *found.text, sep="\n- ", flush=True)
        tables.append(found.table)
    compact(pd.concat(tables, ignore_index=True)).to_parquet(out, index=False, compression="zstd")
