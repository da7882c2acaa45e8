"""Ablate a seed's own ICL heads *during* training. Each seed has other ICL heads, so the runs cannot be the grid of a
sweep.

    python -m research heads checkpoints/demo-s0 checkpoints/demo-s1 ... --out checkpoints/heads

For every run given (whole checkpoint series), its ICL heads are chosen as in `analyses.head_ablations`: the
quarter of the heads whose zero-ablation costs most Flip at its peak, on sequences of their own. Then, from the same
seeds, with those heads ablated in training from the first update or from Flip's peak on, and, as controls, as many
other heads drawn at random, layer by layer. What is finished is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from analyses.head_ablations import icl_heads
from mechicl.config import Config, TrainingIntervention
from mechicl.interventions import matched_heads
from mechicl.measures.phases import series_phases
from mechicl.series import Series, open_series
from mechicl.sweeps.executor import Job, Local
from mechicl.system.paths import given

Heads = tuple[tuple[int, int], ...]


def conditions(series: Series) -> Iterator[Config]:
    """The treated configs of one seed; none if Flip never rose, because then there are no ICL heads."""
    peak = series_phases(series)["flip"].peak
    if peak is None:
        return
    chosen, start = icl_heads(series), series.step_at(peak)
    others = matched_heads(series.config.model, chosen, np.random.default_rng([series.config.seeds.init, 4]))
    for name, heads in {"icl-heads": chosen, "random-heads": others}.items():
        for when, since in {"start": 0, "peak": start}.items():
            treatment = TrainingIntervention(kind="ablate", heads=heads, start=since)
            yield replace(series.config, name=f"{name}-{when}", training_interventions=(treatment,), keep="metrics")


def train_all(runs: list[Path], out: Path, jobs: int | None = None) -> None:
    """Train every condition of every run that is not finished; prints the heads of each."""
    todo: list[Job] = []
    out = given(out)
    for root in runs:
        series = open_series(root)
        for config in conditions(series):
            at = out / f"{config.name}-s{config.seeds.init}"
            print(
                f"{at.name}: {config.training_interventions[0]} from step {config.training_interventions[0].start}",
                flush=True,
            )
            if not ((at / "manifest.json").exists() and open_series(at).complete):
                todo.append(Job(at, config))
    for number, error in Local(jobs)(todo, lambda number, told: None):
        print(f"{todo[number].root.name}: {'done' if error is None else error}", flush=True)
