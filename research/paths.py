"""The table of claims 8.12 to 8.14, on circuits of paths over training: `python -m research paths RUN [RUN ...]`.

In every run, whether in-context learning (ICL) formed or not:

    the circuit   the paths of ICL at its highest recorded value whose effect is THRESHOLD or more on sequences of their
                  own (split 1); everything else is measured on those that are reported (split 0)
    its shares    faithfulness and completeness of it at that step, and of 8 random circuits (`circuit_shares`)
    its paths     what each carries (intact minus cut) at STEPS checkpoints, and its phases (measures/phases.py, from 0)

A run takes a minute or two on a quiet core.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analyses.circuit_formation import THRESHOLD, what_paths_carry
from analyses.circuits.moments import thinned
from mechicl.measures.circuits import circuit_of, circuit_shares
from mechicl.measures.path_ablation import path_effects
from mechicl.measures.phases import phase_times
from mechicl.series import Series, open_series
from mechicl.system.work_queue import threads
from research import tables

NAME, ON, STEPS = "paths", "icl", 30
COLUMNS = ["recipe", "seed", "part", "name", "metric", "step", "sequences", "value"]


def collect(roots: Sequence[Path]) -> pd.DataFrame:
    """Measure these runs, and put them into `tables/paths.parquet` beside the runs that it has.

    Raises:
        SeriesError: a run cannot be read, or has no weights.
    """
    for root in roots:
        with threads(1):
            found = measure(open_series(root))
        before, (recipe, seed) = tables.read(NAME), found.loc[0, ["recipe", "seed"]]
        if before is not None:
            others = (before.recipe != recipe) | (before.seed != seed)
            found = pd.concat([before[others], found]).sort_values(["recipe", "seed"], kind="stable")
        tables.write(NAME, found.reset_index(drop=True))
        print(f"{root}: {recipe}, seed {seed}", flush=True)
    return found


def measure(series: Series) -> pd.DataFrame:
    """One run's rows: part 'icl' (its recorded curve), 'shares' (of the circuit and of random ones, at the highest
    value), 'paths' (what each path of the circuit carries at every step, and its onset and half_decay)."""
    rows: list[dict] = []

    def add(part: str, name: str, metric: str, step: int, value: float) -> None:
        seen = series.sequences_seen(step)
        rows.append({"part": part, "name": name, "metric": metric, "step": step, "sequences": seen, "value": value})

    recorded = tables.primary_metric(series.metrics)
    icl = recorded[(recorded.evaluator == ON) & recorded.step.isin(series.steps)].set_index("step").value
    for step, value in icl.items():
        add("icl", ON, "recorded", int(step), float(value))  # type: ignore[arg-type]
    top = int(icl.idxmax())  # type: ignore[arg-type]
    steps = thinned(series.steps, STEPS, {top, series.end})
    circuit = circuit_of(path_effects(series, [top], [ON], split=1, progress=False), top, ON, THRESHOLD)
    add("shares", "circuit", "size", top, len(circuit))
    if circuit:
        for row in circuit_shares(series, [top], [ON], circuit, progress=False).itertuples():
            add("shares", str(row.intervention), "share", top, float(row.share))  # type: ignore[arg-type]
        carried = what_paths_carry(path_effects(series, steps, [ON], paths=circuit, progress=False))
        times = np.array([series.sequences_seen(int(step)) for step in carried.index], float)
        for path in circuit:
            for step, value in carried[path].items():
                add("paths", path, "carried", int(step), float(value))  # type: ignore[arg-type]
            phases = phase_times(times, carried[path].to_numpy(), 0.0)
            for metric in ("onset", "half_decay"):
                time = getattr(phases, metric)
                add("paths", path, metric, top, np.nan if time is None else float(time))
    config = series.config
    found = pd.DataFrame(rows).assign(recipe=config.name, seed=config.seeds.init)[COLUMNS]
    return found.astype({"value": "float32", "step": "int32", "sequences": "int64"})
