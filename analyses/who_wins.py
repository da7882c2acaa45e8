"""Context or weights: which of them wins a question that asks for one of the two, over training, in a sentence.

The metric is a share: above one half the context wins, below it the weights. A checkpoint is decided where its
interval, at 95% for all checkpoints together (`measures.joint_intervals`), excludes one half.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from mechicl.figures.style import short
from mechicl.measures.baselines import joint_intervals
from mechicl.registry import EVALUATORS, controls_of
from mechicl.series import Series

EVEN = 0.5
TOLD = 6  # stretches that a sentence has room for
CONTEXT, WEIGHTS, NEITHER = "the context wins", "the weights win", "neither is sure to win"


@dataclass(frozen=True)
class Stretch:
    """Neighbouring checkpoints with the same winner. at: the clearest of them, or of undecided ones the last; until:
    sequences seen at the last."""

    winner: str
    at: pd.Series
    since: float
    until: float


def stretches(rows: pd.DataFrame) -> list[Stretch]:
    """Who wins when.

    Args:
        rows: one per checkpoint, ascending: sequences, value, ci_low, ci_high.
    """
    joint = joint_intervals(rows)
    winner = pd.Series(NEITHER, index=joint.index)
    winner[joint.joint_low > EVEN], winner[joint.joint_high < EVEN] = CONTEXT, WEIGHTS
    found = []
    for _, part in joint.groupby((winner != winner.shift()).cumsum(), sort=True):
        who = str(winner[part.index[0]])
        at = part.index[-1] if who == NEITHER else (part.value - EVEN).abs().idxmax()
        found.append(Stretch(who, part.loc[at], float(part.sequences.iloc[0]), float(part.sequences.iloc[-1])))
    return found


def sentences(series: Series) -> list[str]:
    """One for every evaluator of the run that decides between context and weights."""
    names = [name for name in series.metrics.evaluator.unique() if (e := EVALUATORS.get(name)) and e.decides]
    return [_sentence(series, name) for name in names]


def _sentence(series: Series, name: str) -> str:
    rows = _recorded(series, name, EVALUATORS[name].primary_metric)
    found = stretches(rows)
    if len(found) > TOLD:
        told = f"{len(found)} stretches; first {_told(found[0])}, last {_told(found[-1])}"
    else:
        told = "; ".join(map(_told, found))
    end = [f"At the end it is {_value(rows.iloc[-1])}"]
    other = _recorded(series, name, "neither")
    if len(other):
        end.append(f"neither answer is the likeliest in {_value(other.iloc[-1])}")
    for control in controls_of(name, series.config):
        rows_of = _recorded(series, control, EVALUATORS[control].primary_metric)
        if len(rows_of):
            label = EVALUATORS[control].label
            end.append(f"the control {label.removeprefix('Control: ')!r} has {_value(rows_of.iloc[-1])}")
    return (
        f"{EVALUATORS[name].short}, context (1) against weights (0), n = {int(rows.n.iloc[0]):,}, 95% intervals for "
        f"all {len(rows)} checkpoints together: {told}. {', '.join(end)}."
    )


def _told(one: Stretch) -> str:
    when = f"at {short(one.since)}" if one.since == one.until else f"from {short(one.since)} to {short(one.until)}"
    return f"{one.winner} {when} ({_value(one.at)} at {short(one.at.sequences)} sequences)"


def _recorded(series: Series, name: str, metric: str) -> pd.DataFrame:
    table = series.metrics
    return table[(table.evaluator == name) & (table.metric == metric)].sort_values("step", ignore_index=True)


def _value(row: pd.Series) -> str:
    return f"{row.value:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}]"
