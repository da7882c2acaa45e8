"""A measure over training: of chosen heads, components or paths, against chance, and over the seeds that are shown
together. Knows nothing of pages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mechicl.errors import SeriesError
from mechicl.evaluators import EVALUATORS
from mechicl.measures.door import Measure
from mechicl.page.measured import cells_at, known_at, of_parts, one_at_a_time
from mechicl.page.runs import Run
from mechicl.page.seed_over import Turn
from mechicl.page.state import View, ViewError
from mechicl.page.view import Workbench

LARGEST = "largest"  # of all, at each checkpoint, the one that is furthest from chance
STRONGEST = 6  # curves, where none is chosen
MOST = 8  # curves that are told apart
PATIENCE = 10.0  # seconds that a figure or a table to take along may compute


@dataclass(frozen=True)
class Track:
    """value, low, high, chance: tables [step, item] of the run, as far as they are computed. metrics: what the measure
    has, the first by default; metric: the one that is shown. items: all, those furthest from chance first; shown: those
    that are drawn. seeds: run -> its `value`, LARGEST included, of the others. done of total: checkpoints.
    lost: how many checkpoints cannot be measured. evaluator, n: whose sequences it is measured on, and how many; '' and
    None where it is of the weights alone.
    """

    entry: Measure
    metric: str
    metrics: list[str]
    items: list[str]
    shown: list[str]
    value: pd.DataFrame
    low: pd.DataFrame
    high: pd.DataFrame
    chance: pd.DataFrame
    seeds: dict[str, pd.DataFrame] = field(default_factory=dict)
    done: int = 0
    total: int = 0
    lost: int = 0
    evaluator: str = ""
    n: int | None = None

    @property
    def sequences(self) -> str:
        """'n = 1,000 ICL sequences'; '' where there are none."""
        return "" if self.n is None else f"n = {self.n:,} {EVALUATORS[self.evaluator].short} sequences"

    @property
    def change(self) -> bool:
        """Whether values are changes."""
        return "`effect`" in self.entry.value

    @property
    def value_is(self) -> str:
        """What a value is, for readers of a page: without columns of the table and places in the code."""
        return _in_words(self.entry.value)

    @property
    def beside(self) -> str:
        """What to compare it with, likewise."""
        return _in_words(self.entry.against)


def chosen_measure(view: View) -> Measure:
    """The measure that a view follows.

    Raises:
        ViewError: there is none of this name.
    """
    every = of_parts()
    if view.track not in every:
        raise ViewError(f"track={view.track}: expected a measure of heads, components or paths: {', '.join(every)}.")
    return every[view.track]


def track(bench: Workbench, run: Run, others: list[Run], view: View, seconds: float) -> Track:
    """The measure over the run's checkpoints and over those of other runs, as far as the time suffices: the view's
    checkpoint first, then coarse to fine, then the others.

    Raises:
        ViewError: the measure, its metric or an item is not there.
        ConfigError, SeriesError: it cannot be taken.
    """
    entry, turn, on = chosen_measure(view), Turn(seconds), view.evaluator
    lost = 0

    def found(of: Run) -> dict[int, dict[str, pd.DataFrame]]:
        nonlocal lost
        out = {}
        first = view.step if of is run else None
        order = of.coarse_to_fine() if first is None else [first, *of.coarse_to_fine()]
        for step in dict.fromkeys(order):
            try:
                numbers = cells_at(bench, of, entry, step, on, turn)
            except SeriesError:
                if step == first:
                    raise
                lost += 1
                continue
            if numbers is None:
                break
            out[step] = numbers
        return out

    with one_at_a_time:
        mine = found(run)
        complete = len(mine) + lost == len(run.steps)
        theirs = {other.series.name: (other, found(other)) for other in others} if complete else {}
    metrics = list(dict.fromkeys(name for step in mine.values() for name in step))
    metric = _metric(view, metrics)
    value, low, high, chance = (_table(mine, metric, column) for column in ("value", "low", "high", "chance"))
    value[LARGEST], chance[LARGEST] = _largest(value, chance), chance.median(axis=1)
    far = (value - chance.fillna(0)).abs().max().drop(LARGEST).sort_values(ascending=False, kind="stable")
    items = [*far.index]
    shown = list(view.items) or ([LARGEST] if others else items[:STRONGEST])
    if len(value) and (missing := [name for name in shown if name not in value]):
        raise ViewError(f"items={missing[0]}: {entry.name} has {', '.join([LARGEST, *items[:12]])}, ...")
    seeds = {}
    for name, (other, steps) in theirs.items():
        table, its = _table(steps, metric, "value"), _table(steps, metric, "chance")
        table[LARGEST] = _largest(table, its)
        table.index = pd.Index([other.series.sequences_seen(step) for step in table.index])
        seeds[name] = table
    total = len(run.steps) + sum(len(other.steps) for other in others)
    done = len(mine) + lost + sum(len(steps) for _, steps in theirs.values())
    n = _n(bench, run, entry, view, metric)
    whose = "" if n is None else on
    return Track(entry, metric, metrics, items, shown, value, low, high, chance, seeds, done, total, lost, whose, n)


def _in_words(text: str) -> str:
    """'column `uniform`: uniform attention; `measures.untrained_scores`': 'uniform attention'."""
    plain = re.sub(r"columns? `\w+`(, `\w+`)*: | \(definitions: [^)]*\)|(?<=interval) `\w+`, `\w+`", "", text)
    return "; ".join(part for part in plain.split("; ") if not re.fullmatch(r"`[\w.]+`", part))


def _n(bench: Workbench, run: Run, entry: Measure, view: View, metric: str) -> int | None:
    """How many sequences the view's checkpoint was measured on."""
    assert view.step is not None
    rows = known_at(bench, run, entry, view.step, view.evaluator)
    if rows is None or "n" not in rows or "evaluators" not in entry.parameters:
        return None
    n = rows.loc[rows.metric == metric, "n"].max() if "metric" in rows else rows.n.max()
    return int(n) if pd.notna(n) else None


def _metric(view: View, metrics: list[str]) -> str:
    if not view.score or not metrics:
        primary = EVALUATORS[view.evaluator].primary_metric
        return primary if primary in metrics else next(iter(metrics), "")
    if view.score not in metrics:
        raise ViewError(f"score={view.score}: {view.track} has {', '.join(metrics)} on {view.evaluator}.")
    return view.score


def _table(steps: dict[int, dict[str, pd.DataFrame]], metric: str, column: str) -> pd.DataFrame:
    """[step, item], steps ascending."""
    rows = {step: found[metric][column] for step, found in sorted(steps.items()) if metric in found}
    return pd.DataFrame(rows).T if rows else pd.DataFrame(dtype=float)


def _largest(value: pd.DataFrame, chance: pd.DataFrame) -> pd.Series:
    """At each step, the value that is furthest from chance (or from 0)."""
    items = [name for name in value if name != LARGEST]
    if not items or not len(value):
        return pd.Series(dtype=float)
    numbers = value[items].to_numpy(dtype=float)
    away = np.abs(numbers - chance[items].fillna(0).to_numpy(dtype=float))
    at = np.argmax(np.where(np.isnan(away), -1.0, away), axis=1)
    return pd.Series(numbers[np.arange(len(numbers)), at], index=value.index)
