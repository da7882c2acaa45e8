"""How well simple rules could do on a bank, without any model: what ICL and in-weights learning have to win.

    match     which of two classes a query is of, by the nearer of two drawings, one of each: ICL's task
    recall    which of all classes, by the nearest mean of its training drawings: in-weights learning's task

Neither is the best possible rule (that would weigh each drawing's own noise), but both are near it for round classes of
one size, and they order banks by how easy each strategy's task is.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd

from evidence.tables import TABLES
from mechicl.config import Config
from mechicl.data.banks import build_bank
from mechicl.storage import write_atomic
from mechicl.sweep.plan import read_plan

N = 4000  # queries per bank
# The sweeps over data, and of each the conditions that change banks: the beginnings of their names.
SWEEPS = {"dimension": ("",), "data": ("demo", "classes", "exemplars", "noise", "correlated"), "faithful": ("",)}


def collect(sweeps: Path, data: Path | None) -> pd.DataFrame:
    """One row per condition and seed of SWEEPS, in `tables/ceilings.parquet`. data: the folder of drawings, for the
    conditions that need one."""
    rows = []
    for name, kinds in SWEEPS.items():
        plan = read_plan(sweeps / f"{name}.toml")
        for run in plan.runs:
            if run.condition.name.startswith(kinds):
                match, recall = ceilings(run.config, data)
                rows.append({"sweep": name, "condition": run.condition.name, "seed": run.seed,
                             "match": match, "recall": recall, "n": N})  # fmt: skip
    table, held = pd.DataFrame(rows), io.BytesIO()
    table.to_parquet(held, index=False, compression="zstd")
    write_atomic(TABLES / "ceilings.parquet", held.getvalue())
    return table


def ceilings(config: Config, data: Path | None = None) -> tuple[float, float]:
    """`match` and `recall` of a config's training bank, over N queries: drawings of uniformly drawn classes, each with
    the noise that a sequence adds. A matching drawing may be the query's own, as in a sequence."""
    bank, rng = build_bank(config, data).train(), np.random.default_rng(config.seeds.data)
    own = rng.integers(0, bank.n_classes, N)
    other = (own + rng.integers(1, bank.n_classes, N)) % bank.n_classes
    query, same, different = (_drawn(bank.exemplars, c, config.sequences.noise, rng) for c in (own, own, other))
    means = bank.exemplars.mean(1)
    match = _apart(query, same) < _apart(query, different)
    nearest = ((means**2).sum(1) - 2 * query @ means.T).argmin(1)
    return float(match.mean()), float((nearest == own).mean())


def _drawn(exemplars: np.ndarray, classes: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    x = exemplars[classes, rng.integers(0, exemplars.shape[1], len(classes))]
    eta = rng.standard_normal(x.shape) / np.sqrt(x.shape[1])
    return (x + noise * eta) / np.sqrt(1 + noise**2)


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ((a - b) ** 2).sum(1)
