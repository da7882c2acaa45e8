"""Phase times, by a stated rule rather than by eye.

On a curve a(t) with chance level c and peak p at t_peak (the first maximum), let the
half-way level be (c + p)/2. Then

    onset       the first t where a rises through the half-way level
    peak        t_peak, with its value p
    half_decay  the first t after t_peak where a falls through the half-way level

Crossings are interpolated linearly between checkpoints. A curve that never rises
MIN_RISE above chance has no phases; one that does not fall half-way has no half_decay.
For a curve that only rises (CIWL, IWL), onset is the time of its half-way level.

Where less of the metric is better, as of a squared error (`Task.errors`), the rule reads the curve upside down: its
peak is its minimum, onset is on the way down and half_decay on the way back up. Since errors have no common scale, such
a curve has to fall MIN_RISE of its chance level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from mechicl.errors import SeriesError
from mechicl.evaluators import EVALUATORS, chance
from mechicl.measures.door import measure
from mechicl.registry import leading, with_phases
from mechicl.series import Series
from mechicl.series.alike import check_seeds
from mechicl.series.given import of_series
from mechicl.system.commands import command

__all__ = ["over_seeds", "phase_table", "phase_times", "series_phases"]

MIN_RISE = 0.1


@dataclass(frozen=True)
class Phases:
    """Times in training sequences; None where the rule finds no such time."""

    onset: float | None
    peak: float | None
    peak_value: float | None
    half_decay: float | None
    final_value: float


class Leading(NamedTuple):
    """The phases that stand for a run's ICL. short: what to call its evaluator. best: 'peak', or 'minimum' of an
    error."""

    short: str
    phases: Phases
    best: str

    def moments(self) -> list[tuple[str, float]]:
        """(what, when in training sequences), of those that there are; a curve that begins with one has it at no
        moment."""
        p = self.phases
        named = (("onset", p.onset), (self.best, p.peak), ("half-decay", p.half_decay))
        return [(label, when) for label, when in named if when]


def least_rise(chance_level: float, sign: int = 1) -> float:
    """How far from chance a curve has to come to have phases. sign: -1 of an error."""
    return MIN_RISE if sign == 1 else MIN_RISE * abs(chance_level)


def phase_times(times: np.ndarray, values: np.ndarray, chance_level: float, sign: int = 1) -> Phases:
    """Phases of one curve; times ascending, in sequences. sign: -1 where less is better (`Evaluator.sign`)."""
    top = int(np.argmax(sign * values))
    final = float(values[-1])
    if sign * values[top] < sign * chance_level + least_rise(chance_level, sign):
        return Phases(None, None, None, None, final)
    level = sign * (chance_level + values[top]) / 2
    onset = _crossing(times[: top + 1], sign * values[: top + 1], level)
    decay = _crossing(times[top:], -sign * values[top:], -level)
    return Phases(onset, float(times[top]), float(values[top]), decay, final)


def _crossing(times: np.ndarray, values: np.ndarray, level: float) -> float | None:
    """The first time at which values reach `level` from below."""
    above = np.flatnonzero(values >= level)
    if not len(above):
        return None
    i = int(above[0])
    if i == 0:
        return float(times[0])
    share = (level - values[i - 1]) / (values[i] - values[i - 1])
    return float(times[i - 1] + share * (times[i] - times[i - 1]))


@of_series
def series_phases(series: Series) -> dict[str, Phases]:
    """Phases of every recorded evaluator's primary metric curve, chance computed from its set.

    Args:
        series: the run.

    Returns:
        Evaluator -> onset, peak and half_decay in training sequences (None if the curve has none), and peak_value and
        final_value in the primary metric's unit.

    Raises:
        SeriesError: nothing was recorded yet.

    Examples:
        >>> phases = mechicl.series_phases(series)["icl"]
        >>> phases.peak, phases.peak_value  # in training sequences; a share of 1
        (384000.0, 0.98)
    """
    out = {}
    if not series.metrics.size:
        raise SeriesError(f"{series.root} has no metrics yet: {command('train', '--resume', series.root)}.")
    for name, level in chance_levels(series).items():
        evaluator = EVALUATORS[name]
        out[name] = phase_times(*series.curve(name, evaluator.primary_metric), level, evaluator.sign)
    return out


def chance_levels(series: Series) -> dict[str, float]:
    """What guessing scores in the primary metric of every recorded evaluator that has phases, computed from its set."""
    outputs, recorded = series.task.n_outputs, set(series.metrics.evaluator)
    return {
        name: chance(name, series.evaluation_set(name, step=0), outputs)[EVALUATORS[name].primary_metric]
        for name in with_phases()
        if name in recorded
    }


def leading_phases(phases: Mapping[str, Phases]) -> Leading | None:
    """Of a run's phases, those that stand for ICL's, and what to call them: of ICL itself, or, in a run that has no
    such evaluator, of the first that only the context answers. None where there is none."""
    name = leading(phases)
    return None if name is None else Leading(EVALUATORS[name].short, phases[name], EVALUATORS[name].best)


def over_seeds(values: list[float | None]) -> dict[str, float]:
    """Median, range and the t-interval of the mean over seeds; n counts the seeds that have
    the value, of_n all of them."""
    found = np.array([v for v in values if v is not None], dtype=float)
    out = {"n": len(found), "of_n": len(values)}
    if not len(found):
        return out | dict.fromkeys(("median", "low", "high", "mean", "ci_low", "ci_high"), float("nan"))
    mean = float(found.mean())
    half = float("nan")
    if len(found) > 1:
        half = float(stats.t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found)))
    return out | {
        "median": float(np.median(found)),
        "low": float(found.min()),
        "high": float(found.max()),
        "mean": mean,
        "ci_low": mean - half,
        "ci_high": mean + half,
    }


@measure(
    "phase_table",
    rows="evaluator and quantity, over seeds",
    value="onset, peak, half-decay in training sequences",
    against="chance",
)
def phase_table(runs: list[Series]) -> pd.DataFrame:
    """Phases over seeds.

    Args:
        runs: the series: seeds of one recipe, each once.

    Returns:
        One row per evaluator and quantity (onset, peak and half_decay in training sequences, peak_value and final_value
        in the primary metric's unit). Every run's value is a column, 'demo (seed 0)', or 'demo (seed 0, data 1)' where
        another run has that name and initial seed. The other columns are of_n (the number of runs), n
        (the number of runs that have the value), and over these the median, the range low, high, and the mean with its
        95% t-interval ci_low, ci_high.

    Raises:
        SeriesError: nothing was recorded yet, or they are not seeds of one recipe.

    Examples:
        >>> table = mechicl.phase_table([series])
        >>> table.query("evaluator == 'icl'").quantity.tolist()
        ['onset', 'peak', 'half_decay', 'peak_value', 'final_value']
    """
    check_seeds(runs)
    phases = dict(zip(_columns(runs), map(series_phases, runs), strict=True))
    rows = []
    for name in with_phases():
        for quantity in ("onset", "peak", "half_decay", "peak_value", "final_value"):
            values = {run: getattr(p[name], quantity) for run, p in phases.items() if name in p}
            if values:
                spread = over_seeds(list(values.values()))
                rows.append({"evaluator": name, "quantity": quantity, **values, **spread})
    return pd.DataFrame(rows)


def _columns(runs: Sequence[Series]) -> list[str]:
    """A column's name for each run. Of runs with one name and one initial seed, the data seeds differ."""
    names = [(s.name, s.config.seeds.init) for s in runs]
    more = [f", data {s.config.seeds.data}" if names.count(own) > 1 else "" for s, own in zip(runs, names, strict=True)]
    return [f"{name} (seed {seed}{data})" for (name, seed), data in zip(names, more, strict=True)]
