"""IH13 and IH17 of Singh et al. 2024 (2404.07129): progress measures, and the toy.

`python -m research.induction_2024_more RUNS`.

Progress measures are the clamps of research/sweeps/induction-2024-clamps.toml applied to the saved checkpoints of the
main runs instead of in training, with the head that is the strongest at the end alone. The paper: they still show the
plateau.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from mechicl.interventions import ClampCopy, ClampLayer, ClampMatch, Intervention, Together, only_head
from mechicl.series import Series, open_series
from mechicl.system.work_queue import threads
from research.induction_2024_compare import HEADS, ours
from research.tables import TABLES
from research.theories import toy

N = 500


def measures(series: Series, head: int) -> dict[str, Intervention]:
    """The clamps, on a head of layer 1 alone."""
    alone = only_head(series.config.model, 1, head)
    layer, copy, match = ClampLayer(), ClampCopy(head=(1, head)), ClampMatch(heads=((1, head),))
    return {
        "none": alone,
        "match": Together(parts=(match, alone)),
        "copy": copy,
        "layer": Together(parts=(layer, alone)),
        "layer-copy": Together(parts=(layer, copy)),
    }


def progress(root: Path, every: int = 3) -> None:
    """tables/induction-2024-progress.csv: each measure's loss at every third checkpoint."""
    rows, runs = [], ours()
    for seed, table in runs[runs.table == "alone"].groupby("seed"):
        series = open_series(root / "induction-2024" / f"main-s{seed}")
        head = int(np.argmax([table[table.condition == f"l1h{h}"].value.iloc[0] for h in HEADS]))
        asked, steps = measures(series, head), series.steps[::every]
        with threads(1):
            found = series.evaluate(steps, ["train"], list(asked.values()), n=N, metrics=["loss"])
        names = {str(c): name for name, c in asked.items()} | {"intact": "intact"}
        rows.append(
            found.assign(measure=found.intervention.map(names), head=head)[
                ["seed", "head", "measure", "sequences", "value", "n"]
            ].round(4)
        )
    pd.concat(rows).to_csv(TABLES / "induction-2024-progress.csv", index=False)


def toys(seeds: int = 50) -> None:
    """tables/induction-2024-toy.csv: length of the toy's plateau in steps, by what is clamped; empty: not learned."""
    rows = []
    for seed in range(seeds):
        start, target = toy.vectors(seed)
        for clamped in ("", "c", "bc"):
            rows.append(
                {
                    "seed": seed,
                    "clamped": clamped or "nothing",
                    "plateau": toy.plateau(toy.train(start, target, clamped), target),
                }
            )
    pd.DataFrame(rows).to_csv(TABLES / "induction-2024-toy.csv", index=False)


if __name__ == "__main__":
    toys()
    progress(Path(sys.argv[1]))
