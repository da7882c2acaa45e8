"""How easy each strategy's task is on a bank, without any model.

    match      of one drawing of each of two classes, the nearer is of the query's class: ICL's task
    recall     of all class means, the nearest to a drawing is its own: in-weights learning's task, were it finished
    crowding   cosine between a class's mean and the nearest other class's, mean over classes: how alike two answers'
               inputs are at the worst, and so how slowly in-weights answers can be told apart by gradient descent

The rules behind `match` and `recall` are not the best possible, because they do not weigh each drawing's own noise.
For round classes of one size they are nearly the best.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from mechicl.config import BankConfig, Config
from mechicl.sweeps.plan import read_plan
from mechicl.system.progress import each
from mechicl.tasks.exemplar_label.banks.build import build_bank
from research import tables

N = 4000  # queries per bank
MEASURES = ("match", "recall", "crowding")
# The sweeps over data, and of each the conditions that change banks: the beginnings of their names.
SWEEPS = {
    "dimension": ("",),
    "data": ("demo", "classes", "exemplars", "noise", "correlated"),
    "tokens": ("",),
    "omniglot": ("",),
    "faithful": ("",),
    "figure-1b": ("",),
    "figure-1b-input": ("gaussian",),
    "figure-1b-speed": ("spread", "layout"),
}


def collect(sweeps: Path, data: Path | None, features: Path | None = None) -> pd.DataFrame:
    """One row per condition and seed of SWEEPS, in `tables/geometry.parquet`. A bank that the table has already keeps
    its row, and each new one is written as soon as it is measured. data: the folder of drawings, and features: the file
    of `mechicl features`, for the conditions that need one."""
    before, rows = tables.read("geometry"), []
    old = [] if before is None else before.to_dict("records")
    known = {row["bank"]: row for row in old}
    asked = [
        (name, run)
        for name, kinds in SWEEPS.items()
        for run in read_plan(sweeps / f"{name}.toml").runs
        if run.condition.name.startswith(kinds)
    ]
    for name, run in each(asked, "banks"):
        bank, place = fingerprint(run.config), {"omniglot": data, "features": features}.get(run.config.bank.kind)
        new = bank not in known
        if new:
            known[bank] = geometry(run.config, place)
        measured = {measure: known[bank][measure] for measure in MEASURES}
        rows.append(
            {"sweep": name, "condition": run.condition.name, "seed": run.seed, "bank": bank, **measured, "n": N}
        )
        if new:
            here = {row["bank"] for row in rows}
            tables.write("geometry", pd.DataFrame(rows + [row for row in old if row["bank"] not in here]))
    return tables.write("geometry", pd.DataFrame(rows))


def fingerprint(config: Config) -> str:
    """Of all that `geometry` depends on, but the drawings themselves. Fields at their defaults do not count, so that a
    field added to BankConfig leaves the banks that the table has as they are."""
    bank, plain = asdict(config.bank), asdict(BankConfig())
    changed = {name: value for name, value in bank.items() if value != plain[name]}
    needed = changed, asdict(config.seeds), config.sequences.noise, N
    return hashlib.sha256(json.dumps(needed, sort_keys=True).encode()).hexdigest()[:16]


def geometry(config: Config, data: Path | None = None) -> dict[str, float]:
    """MEASURES of a config's training bank; over N queries, drawings of uniformly drawn classes, each with the noise
    that a sequence adds. A matching drawing may be the query's own, as in a sequence."""
    bank, rng = build_bank(config, data).train(), np.random.default_rng(config.seeds.data)
    own = rng.integers(0, bank.n_classes, N)
    other = (own + rng.integers(1, bank.n_classes, N)) % bank.n_classes
    query, same, different = (_drawn(bank.exemplars, c, config.sequences.noise, rng) for c in (own, own, other))
    match = _apart(query, same) < _apart(query, different)
    means = bank.exemplars.mean(1, dtype=np.float32)  # a file's features are float16, whose products are slow
    nearest = ((means**2).sum(1) - 2 * query @ means.T).argmin(1)
    return {"match": float(match.mean()), "recall": float((nearest == own).mean()), "crowding": crowding(means)}


def crowding(means: np.ndarray) -> float:
    """The cosine between a class's mean and the nearest other's, mean over classes. means [class, d]."""
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    found = []
    for start in range(0, len(unit), 1000):
        rows = np.arange(start, min(start + 1000, len(unit)))
        cosines = unit[rows] @ unit.T
        cosines[np.arange(len(rows)), rows] = -1
        found.append(cosines.max(1))
    return float(np.concatenate(found).mean())


def _drawn(exemplars: np.ndarray, classes: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    x = exemplars[classes, rng.integers(0, exemplars.shape[1], len(classes))].astype(np.float32, copy=False)
    eta = rng.standard_normal(x.shape) / np.sqrt(x.shape[1])
    return (x + noise * eta) / np.sqrt(1 + noise**2)


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ((a - b) ** 2).sum(1)
