"""Mechanism of the published run of Singh et al. 2025 (2503.05631), measured on our runs of Figure 1b's setting.

`python -m research mechanism RUN ...` writes research/tables/mechanism-2025.csv: a row is one number of one run.
(Runs of another length than 20 million have a table of their own, as mechanism-2025-64.csv.) Layers are counted
from 0, so the paper's layers 1 and 2 are 0 and 1 here. The paper's final checkpoint is at 64 million sequences,
ours at 20 million, where in-context learning has not gone as far down: shares of the margin above chance (.5) are
compared, not the values.

Rules, written on 26 Nov 2026, 12:10, before any of these numbers was measured; the curves of seed 0 (without any
intervention) had been seen:

    direct    layer 0's direct output removed, queries, keys and values of layer 1 held: CIWL within .02 of intact
    queries   layer 0 removed, only layer 1's queries recomputed: CIWL keeps at least 75% of its margin
    keys      only its keys recomputed: CIWL keeps at most 35%
    values    only its values recomputed: CIWL keeps at most 35%
    path      the embed-unembed path alone has at most 40% of CIWL's margin; without it at least 85% is kept
    strength  induction strength on Flip, mean over the heads of layer 1: at least +.15 at its highest, at most -.15 at
              the end, and there below 0 in every head (heads reverse together)
    looks     on CIWL at the end, the query's attention to the label equal to its own: at least .6 in the mean over the
              heads of layer 1, and above .5 in each
    copier    on CIWL at the end, one head of layer 1 alone, without the direct path, values held, attention set by hand
              on the right label: accuracy at most .25 at strength 0, .4 to .6 at .5, at least .75 at 1, for every head
    conserved layer 1 and all after it taken from the end, the rest from each checkpoint since Flip's highest: ICL, Flip
              and CIWL each within .1 of the intact run's
    frozen    the first half frozen at Flip's highest, and at ICL's, with the last second half: ICL and Flip within .1
              of their values there

A rule is met in a run or not. Verdicts need at least four of five seeds; until five are finished the page has numbers
alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from mechicl import AblateHeads, Series, attention_scores, open_series
from mechicl.errors import ConfigError
from mechicl.interventions import ClampMatch, Graft, RemoveDirectPath, Together
from mechicl.interventions.base import Intervention
from mechicl.interventions.paths import only_direct_path
from mechicl.interventions.weights import first_half, second_half
from mechicl.system.files import write_atomic
from research.tables import TABLES

LENGTH = 20_000_000  # sequences
ASKED = ("train", "icl", "flip", "ciwl")
HALVES = ("icl", "flip", "ciwl")
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
APART = 500_000  # sequences between the checkpoints of curves
METRIC = "in_context_acc"
HELD: dict[str, tuple[str, ...]] = {
    "layer 0's direct output removed": ("q", "k", "v"),
    "only queries recomputed": ("k", "v"),
    "only keys recomputed": ("q", "v"),
    "only values recomputed": ("q", "k"),
    "layer 0 removed": (),
}


def table_at(sequences: int) -> Path:
    """The table of runs of so many sequences."""
    return TABLES / ("mechanism-2025.csv" if sequences == LENGTH else f"mechanism-2025-{sequences // 10**6}.csv")


def read(sequences: int = LENGTH) -> pd.DataFrame | None:
    """That table; None where no such run was measured."""
    path = table_at(sequences)
    return pd.read_csv(path) if path.exists() else None


def collect(runs: Iterable[Path]) -> pd.DataFrame:
    """These runs' rows, measured anew; in their tables rows of other seeds stay."""
    by_table: dict[Path, list[Series]] = {}
    for run in map(open_series, runs):
        by_table.setdefault(table_at(run.sequences_seen(run.config.steps)), []).append(run)
    measured = []
    for path, those in by_table.items():
        found = pd.concat(map(measure, those))
        measured.append(found)
        if path.exists():
            old = pd.read_csv(path)
            found = pd.concat([old[~old.seed.isin(found.seed)], found])
        found = found.sort_values(["seed", "part", "step", "condition", "evaluator"], kind="stable")
        write_atomic(path, found.to_csv(index=False, float_format="%.4f").encode())
    return pd.concat(measured)


def measure(run: Series) -> pd.DataFrame:
    """All rows of one finished run.

    Raises:
        ConfigError: it is not finished, or has not two layers of attention alone.
    """
    model = run.config.model
    if not run.complete or model.n_layers != 2 or model.mlp_ratio:
        raise ConfigError(f"{run.root}: expected a finished run of two layers of attention alone, as `coopetition`.")
    last, steps, hand, alone = run.steps[-1], curve_steps(run), by_hand(run), copiers(run)
    rows = [
        *_rows(run, "interventions", run.evaluate([last], ASKED, list(hand.values()), metrics=None), hand),
        *_rows(run, "copier", run.evaluate([last], ["ciwl"], list(alone.values()), metrics=None), alone),
        *_looks(run, steps),
        *_halves(run, steps),
    ]
    return pd.DataFrame(rows)


def curve_steps(run: Series) -> list[int]:
    """Checkpoints about every half million sequences, with the first and the last."""
    size = run.config.batch_size
    wanted = range(0, run.steps[-1] * size + 1, APART)
    return sorted({run.nearest(w) for w in wanted} | {run.steps[-1]})


def by_hand(run: Series) -> dict[str, Intervention]:
    """The interventions of section 4 and appendix C.1."""
    model = run.config.model
    layer_0 = tuple((0, h) for h in range(model.n_heads))
    held = {name: AblateHeads(heads=layer_0, hold=what) for name, what in HELD.items()}  # type: ignore[arg-type]
    return {**held, "direct path alone": only_direct_path(model), "no direct path": RemoveDirectPath()}


def copiers(run: Series) -> dict[str, Intervention]:
    """Figure 2b: one head of layer 1 alone, its pattern set by hand, what it reads as it is in the intact model."""
    model = run.config.model
    every = [(layer, h) for layer in range(2) for h in range(model.n_heads)]
    return {
        f"head {h}, strength {strength:g}": Together(
            parts=(
                AblateHeads(heads=tuple(each for each in every if each != (1, h)), hold=("v",)),
                RemoveDirectPath(),
                ClampMatch(heads=((1, h),), strength=strength),
            )
        )
        for h in range(model.n_heads)
        for strength in STRENGTHS
    }


def _rows(run: Series, part: str, table: pd.DataFrame, named: dict[str, Intervention]) -> Iterable[dict[str, Any]]:
    """Rows of `evaluate` under our names of its conditions."""
    names = {str(what): name for name, what in named.items()} | {"intact": "intact"}
    for row in table[table.metric == METRIC].itertuples():
        yield _row(run, part, row.step, names[row.intervention], row.evaluator, METRIC, row)


def _row(run: Series, part: str, step: int, condition: str, evaluator: str, metric: str, row: Any) -> dict[str, Any]:
    return {
        "seed": run.config.seeds.init,
        "part": part,
        "step": step,
        "sequences": run.sequences_seen(step),
        "condition": condition,
        "evaluator": evaluator,
        "metric": metric,
        "value": row.value,
        "ci_low": row.ci_low,
        "ci_high": row.ci_high,
        "n": row.n,
    }


def _looks(run: Series, steps: list[int]) -> Iterable[dict[str, Any]]:
    """Where the heads look: those of layer 1 on Flip and CIWL, those of layer 0 from labels."""
    of_labels = {"label_to_exemplar": 0, "label_to_self": 0}
    wanted = {"flip": {"induction_strength": 1, **of_labels}, "ciwl": {"query_to_own": 1}}
    for evaluator, scores in wanted.items():
        table = attention_scores(run, steps, [evaluator])
        for row in table[table.metric.isin(scores)].itertuples():
            if row.layer == scores[row.metric]:
                yield _row(run, "attention", row.step, f"L{row.layer}H{row.head}", evaluator, row.metric, row)


def _halves(run: Series, steps: list[int]) -> Iterable[dict[str, Any]]:
    """Figures 3b and 3c."""
    model, last = run.config.model, run.steps[-1]
    late = {"second half from the end": Graft(parts=second_half(model), source=last)}
    yield from _rows(run, "halves", run.evaluate(steps, HALVES, list(late.values()), metrics=None), late)
    for name in ("flip", "icl"):
        curve = run.metrics[(run.metrics.evaluator == name) & (run.metrics.metric == METRIC)]
        at = run.step_at(run.sequences_seen(int(curve.loc[curve.value.idxmax(), "step"])))
        frozen = {f"first half of {name}'s highest (step {at})": Graft(parts=first_half(model), source=at)}
        table = run.evaluate(sorted({at, last}), HALVES, list(frozen.values()), metrics=None)
        yield from _rows(run, "frozen", table, frozen)
