"""What is laid over curves of several seeds: another run, another condition, or each seed without its own heads.

A difference of two runs is one over sequences, paired where both are evaluated on the same ones. A difference of two
conditions, and what the loss of its own heads does to each seed, is one over seeds, paired by seed (Student's
interval).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from analyses.head_ablations import costly_heads
from mechicl.errors import ConfigError, SeriesError
from mechicl.evaluators import EVALUATORS
from mechicl.interventions import AblateHeads, Intervention
from mechicl.measures.seeds import aligned
from mechicl.page.runs import Run
from mechicl.page.seeds import Condition, Together
from mechicl.page.state import Head, View, ViewError
from mechicl.page.view import Workbench, paired, unpaired
from mechicl.statistics import t_interval

OWN_RULE = (
    "The rule: the quarter of a seed's heads, at least one, whose zero-ablation costs most of {evaluator} at its peak, "
    "chosen on other sequences than those shown (split 1)."
)


@dataclass(frozen=True)
class Curve:
    """x: training sequences, ascending. run: whose it is, or '' of a median."""

    run: str
    x: list[int]
    y: list[float]


@dataclass(frozen=True)
class Over:
    """What is laid over the curves. difference: columns x (training sequences), value, low, high, n; `meaning` says of
    what. done and total: how many evaluations of a checkpoint are there. notes: sentences."""

    name: str
    curves: list[Curve]
    difference: pd.DataFrame
    meaning: str
    done: int
    total: int
    notes: list[str] = field(default_factory=list)


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


def laid_over(bench: Workbench, all_: Together, run: Run, view: View, evaluator: str, seconds: float) -> Over | None:
    """What the view lays over the curves, as far as the time suffices (what was computed is remembered).

    Raises:
        ViewError: it names a run that is not shown, or the run's own.
    """
    what, _, name = view.against.partition("/")
    if not what:
        return None
    if what == "own":
        return _own(bench, all_.of(run.series.name), evaluator, Turn(seconds))
    if what == "run":
        other = all_.run(name)
        if other.series.name == run.series.name:
            raise ViewError(f"against=run/{name}: expected another run than the one that is shown.")
        return _run(bench, run, other, evaluator, Turn(seconds))
    mine, other = all_.of(run.series.name), all_.of(name)
    if mine is other:
        raise ViewError(f"against=condition/{name}: {name} belongs to the condition of {run.series.name} itself.")
    return _condition(mine, other, evaluator)


def _run(bench: Workbench, a: Run, b: Run, evaluator: str, turn: Turn) -> Over:
    """b minus a, at the checkpoints that both have."""
    if evaluator not in b.sets:
        raise ViewError(f"{b.series.name} has no evaluator {evaluator!r}: it has {', '.join(b.sets)}.")
    at = {b.series.sequences_seen(step): step for step in b.steps}
    shared = [(step, x) for step in a.coarse_to_fine() if (x := a.series.sequences_seen(step)) in at]
    same = a.sets_id == b.sets_id
    rows, done = [], 0
    for step, x in shared:
        asked = [(a, step, evaluator, None), (b, at[x], evaluator, None)]
        if not turn.may(bench, asked):
            break
        done += 1
        try:
            sides = [bench.right(*each) for each in asked]
        except SeriesError:
            continue  # a file is not what was written: no point
        number = paired(*sides) if same else unpaired(*sides)
        rows.append({"x": x, "value": number.value, "low": number.low, "high": number.high, "n": number.n})
    table = _table(rows)
    how = "paired on the same sequences" if same else "not paired: they are evaluated on other sequences"
    n = f", n = {int(table.n.min()):,}" if len(table) else ""
    meaning = f"{b.series.name} − {a.series.name}: 95% interval over sequences, {how}{n}"
    notes = [] if shared else [f"{a.series.name} and {b.series.name} have no checkpoint at the same time."]
    return Over(b.series.name, [recorded(b, evaluator)], table, meaning, done, len(shared), notes)


def _condition(a: Condition, b: Condition, evaluator: str) -> Over:
    """b minus a, seed by seed, of the recorded curves."""
    mine, others = ({r.series.config.seeds.init: r for r in with_curve(c.runs, evaluator)} for c in (a, b))
    pairs = [seed for seed in mine if seed in others]
    curves = [recorded(run, evaluator) for run in others.values()]
    if not pairs:
        note = f"{a.label} and {b.label} have no seed in common: there is no paired difference."
        return Over(b.label, curves, _table([]), f"{b.label} − {a.label}", 0, 0, [note])
    metric = EVALUATORS[evaluator].primary_metric
    left, right = ([its[seed].series for seed in pairs] for its in (mine, others))
    table = aligned([*left, *right], evaluator, metric)
    gap = table.to_numpy()[:, len(pairs) :] - table.to_numpy()[:, : len(pairs)]
    return Over(b.label, curves, _over_seeds(table.index, gap), _says(f"{b.label} − {a.label}", pairs), 0, 0)


def _own(bench: Workbench, condition: Condition, evaluator: str, turn: Turn) -> Over:
    """Each seed without the heads that the rule chooses for it, minus the same seed intact."""
    on = condition.runs[0].series.task.circuit.evaluator
    notes, chosen = [OWN_RULE.format(evaluator=EVALUATORS[on].short)], {}
    for run in with_curve(condition.runs, evaluator):
        known = own_heads(bench, run)
        if known is None and turn.left(bench):
            known = own_heads(bench, run, wait=True)
        if known is not None:
            chosen[run.series.name] = known
            names = ", ".join(f"L{layer}H{head}" for layer, head in known)
            notes.append(f"{condition.name(run)}: {names or f'none, {EVALUATORS[on].short} never rose'}.")
    treated = [run for run in condition.runs if chosen.get(run.series.name)]
    waiting = len(with_curve(condition.runs, evaluator)) - len(chosen)
    orders = [[(run, step) for step in run.coarse_to_fine()] for run in treated]
    order = [asked for row in _across(orders) for asked in row]
    found: dict[str, dict[int, tuple[float, float]]] = {run.series.name: {} for run in treated}
    done = 0
    for run, step in order:
        name = run.series.name
        asked = [(run, step, evaluator, x) for x in (None, AblateHeads(heads=chosen[name]))]
        if not turn.may(bench, asked):
            break
        done += 1
        try:
            sides = [bench.right(*each) for each in asked]
        except SeriesError:
            continue
        found[name][run.series.sequences_seen(step)] = (float(sides[0].mean()), float(sides[1].mean()))
    curves = [Curve(name, sorted(at), [at[x][1] for x in sorted(at)]) for name, at in found.items() if at]
    shared = sorted(set.intersection(*(set(at) for at in found.values()))) if found else []
    gap = np.array([[at[x][1] - at[x][0] for at in found.values()] for x in shared])
    table = _over_seeds(shared, gap) if shared else _table([])
    seeds = [run.series.config.seeds.init for run in treated]
    return Over(
        "own heads out", curves, table, _says("own heads out − intact", seeds), done, len(order) + waiting, notes
    )


def own_heads(bench: Workbench, run: Run, wait: bool = False) -> tuple[Head, ...] | None:
    """The heads that the rule chooses for a run; () where what it goes by never rose, so that there are none. None
    where they are not known and `wait` says not to compute them."""
    on = run.series.task.circuit.evaluator
    key = ("own heads", run.sets_id, run.series.entry(run.steps[-1]).sha256, run.series.name)
    phases = run.phases.get(on)
    if phases is None or phases.peak is None:
        return ()
    known, peak = bench.results.get(key), phases.peak
    if known is not None or not wait:
        return known
    try:
        return bench.results.remember(
            key, lambda: costly_heads(run.series, run.series.step_at(peak), on), lambda _: 500
        )
    except (SeriesError, ConfigError):
        return ()


def _across(rows: list[list]) -> Iterable[list]:
    """[[a, b], [c]] -> [a, c], [b]: so that all seeds' curves grow alike."""
    return ([row[i] for row in rows if i < len(row)] for i in range(max(map(len, rows), default=0)))


def _over_seeds(x: Iterable[int], gap: np.ndarray) -> pd.DataFrame:
    """gap [time, pair] -> the table of its mean with the interval over pairs."""
    mean, low, high = t_interval(gap, axis=1)
    return pd.DataFrame({"x": list(x), "value": mean, "low": low, "high": high, "n": gap.shape[1]})


def _says(what: str, seeds: list[int]) -> str:
    if len(seeds) < 2:
        return f"{what}: {len(seeds)} seed, so no interval over seeds"
    return f"{what}: mean and Student's 95% interval over {len(seeds)} seeds, paired by seed"


def _table(rows: list[dict]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["x", "value", "low", "high", "n"]).sort_values("x", ignore_index=True)
