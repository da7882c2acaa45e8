"""Measured curves for the accounts, from the tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mechicl.errors import ConfigError
from research import tables
from research.theories.fit import Curves
from research.theories.links import ACCURACIES

COLUMNS = ["condition", "seed", "step", "sequences", "evaluator", "value", "complete"]
Runs = dict[tuple[str, int], Curves]


def read() -> pd.DataFrame:
    """The competition sweep's table and, with more checkpoints of its untreated condition, demo's.

    Raises:
        ConfigError: neither exists.
    """
    demo, competition = tables.read("demo"), tables.read("competition")
    frames = [demo.assign(condition="mixed")] if demo is not None else []
    frames += [competition] if competition is not None else []
    if not frames:
        raise ConfigError(
            "research/tables has neither demo nor competition: make one with `python -m research collect "
            "research/sweeps/competition.toml checkpoints/competition`."
        )
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
                curve.sequences.to_numpy(dtype=float) / 1e6,
                curve.value.to_numpy(dtype=np.float64),
            )
        out[str(condition), int(str(seed))] = curves
    return out
