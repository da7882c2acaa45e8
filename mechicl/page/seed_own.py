"""Each seed without its own heads, which a rule chooses, beside the control: without as many random ones of the same
layers. What takes long comes in pieces: first every seed without its own heads, then without random ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analyses.head_ablations import costly_heads
from mechicl.errors import ConfigError, SeriesError
from mechicl.evaluators import EVALUATORS
from mechicl.interventions import AblateHeads, Intervention
from mechicl.measures.controls import CONTROLS
from mechicl.page.runs import Run
from mechicl.page.seed_over import Control, Curve, Over, Turn, over_seeds, over_which, table_of, with_curve
from mechicl.page.seeds import Condition
from mechicl.page.state import Head
from mechicl.page.view import Workbench

OWN_RULE = (
    "The rule: a quarter of each seed's heads, at least one. They are the heads whose zero-ablation reduces "
    "{evaluator} most at its peak, on other sequences than those shown (split 1)."
)
CONTROL = (
    "The control, dotted: for each seed the mean over {sets} as many other heads, from the same layers if they have "
    "enough, drawn with a fixed seed."
)


@dataclass(frozen=True)
class _Without:
    """A seed without heads: mean scores of a checkpoint by the training sequences seen there, filled as they come.

    sets: each is taken out alone, and their mean counts.
    """

    run: Run
    sets: tuple[Intervention, ...]
    at: dict[int, tuple[float, float]]  # x -> intact, without

    def steps(self) -> list[tuple[_Without, int]]:
        return [(self, step) for step in self.run.coarse_to_fine()] if self.sets else []

    def curve(self) -> Curve:
        return Curve(self.run.series.name, sorted(self.at), [self.at[x][1] for x in sorted(self.at)])


def own_heads_out(bench: Workbench, condition: Condition, evaluator: str, turn: Turn) -> Over:
    """Each seed without the heads that the rule chooses for it, minus the same seed intact; and its control."""
    on = condition.runs[0].series.task.circuit.evaluator
    chosen, notes = _chosen(bench, condition, evaluator, on, turn)
    treated = [run for run in with_curve(condition.runs, evaluator) if chosen.get(run.series.name)]
    outs = {run.series.name: AblateHeads(heads=chosen[run.series.name]) for run in treated}
    own = [_Without(run, (outs[run.series.name],), {}) for run in treated]
    random = [
        _Without(run, tuple(outs[run.series.name].controls(run.series.config.model, CONTROLS)), {}) for run in treated
    ]
    waiting = len(with_curve(condition.runs, evaluator)) - len(chosen)
    order = [*_across([each.steps() for each in own]), *_across([each.steps() for each in random])]
    done = _computed(bench, order, evaluator, turn)
    most = max((len(each.sets) for each in random), default=0)
    if most:
        notes.append(CONTROL.format(sets="its only set of" if most == 1 else f"{most} random sets of"))
    control = _control(own, [each for each in random if each.sets])
    return Over(*_against_intact("own heads out", own), done, len(order) + waiting, notes, control)


def _chosen(
    bench: Workbench, condition: Condition, evaluator: str, on: str, turn: Turn
) -> tuple[dict[str, tuple[Head, ...]], list[str]]:
    """run -> its own heads, as far as they are known or there is time; and sentences that name them."""
    notes, chosen = [OWN_RULE.format(evaluator=EVALUATORS[on].short)], {}
    for run in with_curve(condition.runs, evaluator):
        known = own_heads(bench, run)
        if known is None and turn.left(bench):
            known = own_heads(bench, run, wait=True)
        if known is not None:
            chosen[run.series.name] = known
            names = ", ".join(f"L{layer}H{head}" for layer, head in known)
            notes.append(f"{condition.name(run)}: {names or f'none, {EVALUATORS[on].short} never rose'}.")
    return chosen, notes


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


def _computed(bench: Workbench, order: list[tuple[_Without, int]], evaluator: str, turn: Turn) -> int:
    """Fill in what is asked for, in this order, as far as there is time; how many of them are done."""
    for done, (each, step) in enumerate(order):
        asked = [(each.run, step, evaluator, x) for x in (None, *each.sets)]
        if not turn.may(bench, asked):
            return done
        try:
            intact, *without = (float(bench.right(*one).mean()) for one in asked)
        except SeriesError:
            continue  # a file is not what was written: no point
        each.at[each.run.series.sequences_seen(step)] = intact, float(np.mean(without))
    return len(order)


def _against_intact(name: str, found: list[_Without]) -> tuple[str, list[Curve], pd.DataFrame, str]:
    """The name; curves without the heads; without minus intact, over seeds, at the times that all of them have; and
    what this table says: the first fields of `Over` and of `Control`."""
    shared = _shared(found)
    gap = np.array([[each.at[x][1] - each.at[x][0] for each in found] for x in shared])
    table = over_seeds(shared, gap) if shared else table_of([])
    return name, [each.curve() for each in found if each.at], table, over_which(f"{name} − intact", _seeds(found))


def _seeds(found: list[_Without]) -> list[int]:
    return [each.run.series.config.seeds.init for each in found]


def _control(own: list[_Without], random: list[_Without]) -> Control | None:
    """What random heads change, and how much more the seed's own do, of the seeds that have other heads."""
    if not random:
        return None
    names = {each.run.series.name for each in random}
    own = [each for each in own if each.run.series.name in names]
    shared = _shared([*own, *random])
    gap = [[a.at[x][1] - b.at[x][1] for a, b in zip(own, random, strict=True)] for x in shared]
    beyond = over_seeds(shared, np.array(gap)) if shared else table_of([])
    says = over_which("own − random heads out", _seeds(random))
    return Control(*_against_intact("random heads out", random), beyond, says)


def _shared(found: list[_Without]) -> list[int]:
    return sorted(set.intersection(*(set(each.at) for each in found))) if found else []


def _across(rows: list[list[Any]]) -> Iterable[Any]:
    """[[a, b], [c]] -> a, c, b: so that all seeds' curves grow alike."""
    return (row[i] for i in range(max(map(len, rows), default=0)) for row in rows if i < len(row))
