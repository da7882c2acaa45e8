"""What is laid over curves of several seeds: its curves and its difference, and how long one question may compute."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mechicl.interventions import Intervention
from mechicl.page.runs import Run
from mechicl.page.view import Workbench
from mechicl.statistics import t_interval


@dataclass(frozen=True)
class Curve:
    """x: training sequences, ascending. run: whose it is, or '' of a median."""

    run: str
    x: list[int]
    y: list[float]


@dataclass(frozen=True)
class Control:
    """What would be expected of anything as large as what is laid over. difference: the control minus intact; beyond:
    what is laid over minus the control. Their columns are those of `Over.difference`, and a `meaning` says of what."""

    name: str
    curves: list[Curve]
    difference: pd.DataFrame
    meaning: str
    beyond: pd.DataFrame
    beyond_meaning: str


@dataclass(frozen=True)
class Over:
    """What is laid over the curves. difference: columns x (training sequences), value, low, high, n; `meaning` says of
    what. done and total: how many evaluations of a checkpoint are there. notes: sentences. control: where there is
    one."""

    name: str
    curves: list[Curve]
    difference: pd.DataFrame
    meaning: str
    done: int
    total: int
    notes: list[str] = field(default_factory=list)
    control: Control | None = None


class Turn:
    """How long one question may compute: at least one thing, then until the time is up or a reader waits for something
    shorter. What is known already costs nothing."""

    def __init__(self, seconds: float):
        self._until, self._begun = time.monotonic() + seconds, False

    def left(self, bench: Workbench) -> bool:
        """Whether one more thing may be computed."""
        begun, self._begun = self._begun, True
        return not begun or (time.monotonic() < self._until and not bench.awaited)

    def may(self, bench: Workbench, asked: Sequence[tuple[Run, int, str, Intervention | None]]) -> bool:
        """Whether these answers (as `Workbench.right` is asked) are known, or may be computed."""
        return all(bench.knows(*each) for each in asked) or self.left(bench)


def with_curve(runs: Iterable[Run], evaluator: str) -> list[Run]:
    """Those that recorded an evaluator."""
    return [run for run in runs if len(run.curve(evaluator))]


def recorded(run: Run, evaluator: str) -> Curve:
    """As it was recorded."""
    rows = run.curve(evaluator)
    return Curve(run.series.name, rows.sequences.tolist(), rows.value.tolist())


def over_seeds(x: Iterable[int], gap: np.ndarray) -> pd.DataFrame:
    """gap [time, pair] -> the table of its mean with the interval over pairs."""
    mean, low, high = t_interval(gap, axis=1)
    return pd.DataFrame({"x": list(x), "value": mean, "low": low, "high": high, "n": gap.shape[1]})


def over_which(what: str, seeds: list[int]) -> str:
    """What a table of `over_seeds` is of, in words."""
    if len(seeds) < 2:
        return f"{what}: {len(seeds)} seed, so no interval over seeds"
    return f"{what}: mean and Student's 95% interval over {len(seeds)} seeds, paired by seed"


def table_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Differences by time."""
    return pd.DataFrame(rows, columns=["x", "value", "low", "high", "n"]).sort_values("x", ignore_index=True)
