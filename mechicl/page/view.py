"""What the page says about behaviour: a run and a view in, numbers out. Knows nothing of pages.

Every number is `mechicl.evaluate`'s: the same sequences, the engine's forward pass, the same
interval. Results are kept per sequence, one bit of right or wrong each, under the sha256 of
the weights, the evaluation set and the ablation, so nothing is computed twice and the change
under an ablation gets the paired interval that its n deserves.

Legend: n sequences of an evaluator.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mechicl.engine.forward import restart_hooks
from mechicl.errors import SeriesError
from mechicl.evaluators import EVALUATORS, score
from mechicl.interventions import Intact, Intervention, intact
from mechicl.interventions.apply import wanted_of, with_more
from mechicl.interventions.base import by_sequences, controls_of, elsewhere
from mechicl.measures.ablation import scores_under
from mechicl.measures.controls import CONTROLS
from mechicl.measures.tables import tidy
from mechicl.models.params import Params
from mechicl.page.cache import Cache
from mechicl.page.numbers import Number, mean, paired
from mechicl.page.runs import Run
from mechicl.page.turns import Turns
from mechicl.system.cores import cores
from mechicl.system.surroundings import reading

RESULTS = 128 * 2**20  # bytes of results kept: a curve of 1,000 checkpoints is about 5 MB
HANDS = min(4, cores())  # evaluators computed at once, for a reader who waits
WEIGHTS = 256 * 2**20  # bytes of weights kept
INTACT = 256 * 2**20  # bytes of intact activations kept: 20 MB for each of demo's checkpoints


@dataclass(frozen=True)
class Effect:
    """One evaluator at one checkpoint. `change` is ablated minus intact on the same sequences,
    with the interval of the mean difference; both are None where nothing is ablated, or these sequences have not what
    is changed."""

    evaluator: str
    chance: float
    intact: Number
    ablated: Number | None = None
    change: Number | None = None


@dataclass(frozen=True)
class Chunk:
    """A piece of a curve under an ablation, as far as the time given sufficed.

    points: (step, sequences seen, value of every evaluator in `Run.shown` that has what is changed). Done when
    next == total.
    unreadable: how many checkpoints were passed over, since their files are not what was written.
    """

    next: int
    total: int
    points: list[tuple[int, int, dict[str, float]]]
    unreadable: int = 0


@dataclass(frozen=True)
class Controls:
    """The same done to random others, and by evaluator what each of them changes; evaluators without anything to
    change are left out. interrupted: somebody waited for something else, and there are no changes yet."""

    others: list[Intervention]
    changes: dict[str, list[float]]
    interrupted: bool = False


class Workbench:
    """Computes what the page asks for. Its state is three caches of pure results: answers, weights,
    and the intact activations of the checkpoints looked at last, at whose edited layer an ablation
    starts; and who computes next."""

    def __init__(self, results: int = RESULTS, weights: int = WEIGHTS, intact: int = INTACT):
        self.results: Cache = Cache(results)
        self._weights = Cache(weights)
        self._intact = Cache(intact)
        self._hands = ThreadPoolExecutor(HANDS, "mechicl-numbers")  # torch computes outside Python's lock
        self.turns: Turns = Turns()

    def prepare(self, run: Run, step: int, ablation: Intervention | None) -> int:
        """What `effects` will need, computed ahead for a reader who may come; as soon as one waits
        for something else, no more of it. Returns how many evaluators are ready."""
        ready = 0
        for name in shown(run):
            for done in dict.fromkeys((None, ablation if run.changed(name, ablation) else None)):
                if self.awaited:
                    return ready
                self.right(run, step, name, done)
            ready += 1
        return ready

    def effects(self, run: Run, step: int, ablation: Intervention | None, hurry: bool = True) -> list[Effect]:
        """Every shown evaluator at a checkpoint, intact and ablated.

        Args:
            hurry: a reader waits for it; `curve` makes way.
        """
        with self.turns.hurried() if hurry else nullcontext():
            return list(self._hands.map(lambda name: self._effect(run, step, name, ablation), shown(run)))

    def curve(self, run: Run, ablation: Intervention, start: int, seconds: float) -> Chunk:
        """The curves over training under an ablation, from the `start`-th checkpoint of
        `Run.coarse_to_fine` on, until the time is up (after at least one checkpoint) or a reader
        waits for something shorter (at once: what was begun is remembered).
        """
        order, deadline = run.coarse_to_fine(), time.monotonic() + seconds
        names = [name for name in run.shown if run.changed(name, ablation)]
        points, unreadable = [], 0
        for step in order[start:]:
            values = {}
            try:
                for name in names:
                    if self.awaited:
                        return Chunk(start + len(points) + unreadable, len(order), points, unreadable)
                    values[name] = float(self.right(run, step, name, ablation).mean())
                points.append((step, run.series.sequences_seen(step), values))
            except SeriesError:
                unreadable += 1
            if time.monotonic() > deadline:
                break
        return Chunk(start + len(points) + unreadable, len(order), points, unreadable)

    def known_curve(self, run: Run, ablation: Intervention) -> Chunk:
        """What is computed of those curves by now, for a figure that should not wait."""
        points, total = [], len(run.steps)
        names = [name for name in run.shown if run.changed(name, ablation)]
        for step in run.steps:
            right = {name: self.results.get(_key(run, step, name, ablation)) for name in names}
            values = {name: float(x.mean()) for name, x in right.items() if x is not None}
            if len(values) == len(right):
                points.append((step, run.series.sequences_seen(step), values))
        return Chunk(len(points), total, points)

    def right(self, run: Run, step: int, evaluator: str, ablation: Intervention | None) -> np.ndarray:
        """[n] the evaluator's primary metric of every sequence: bool where it is right or wrong."""
        key = _key(run, step, evaluator, ablation)
        return self.results.remember(key, lambda: self._answer(run, step, evaluator, ablation), _bytes)

    def knows(self, run: Run, step: int, evaluator: str, ablation: Intervention | None) -> bool:
        """Whether `right` need not compute."""
        return self.results.get(_key(run, step, evaluator, ablation)) is not None

    def params(self, run: Run, step: int) -> Params:
        """Packed plain parameters of a checkpoint."""
        key = (run.series.entry(step).sha256, run.series.config.model)
        load = lambda: {name: p[0] for name, p in run.series.params([step]).items()}  # noqa: E731
        return self._weights.remember(key, load, lambda p: sum(x.nbytes for x in p.values()))

    @property
    def awaited(self) -> bool:
        """Whether a reader waits for numbers right now: what takes longer makes way."""
        return self.turns.awaited

    def _effect(self, run: Run, step: int, name: str, ablation: Intervention | None) -> Effect:
        before = self.right(run, step, name, None)
        intact = mean(before)
        if not run.changed(name, ablation):
            return Effect(name, run.chance[name], intact)
        after = self.right(run, step, name, ablation)
        change = paired(before, after)
        return Effect(name, run.chance[name], intact, mean(after), change)

    def at_step(self, run: Run, step: int, ablation: Intervention) -> Intervention:
        """What an intervention is at one checkpoint, as with directions that are found there."""
        if not ablation.of_step:
            return ablation
        key = ("at", run.series.entry(step).sha256, run.sets_id, ablation)
        width = run.series.config.model.d_model
        return self.results.remember(key, lambda: ablation.at_step(run.series, step), lambda _: 32 * width**2)

    def controls(self, run: Run, step: int, ablation: Intervention) -> Controls:
        """What the same done to random others (`Intervention.controls`) changes, unless somebody waits for something
        else."""
        others = controls_of(self.at_step(run, step, ablation), run.series.config.model, CONTROLS)
        changes: dict[str, list[float]] = {}
        for name in [name for name in run.shown if run.changed(name, ablation)]:
            before = self.right(run, step, name, None).mean()
            found = []
            for other in others:
                if self.awaited:
                    return Controls(others, {}, interrupted=True)
                found.append(float(self.right(run, step, name, other).mean() - before))
            changes[name] = found
        return Controls(others, changes)

    @reading()
    def _answer(self, run: Run, step: int, evaluator: str, ablation: Intervention | None) -> np.ndarray:
        params, batch, model = self.params(run, step), run.sets[evaluator], run.series.config.model
        key = (run.series.entry(step).sha256, run.sets_id, evaluator)
        done = None if ablation is None else self.at_step(run, step, ablation)
        asked, metric = [] if done is None else [done], EVALUATORS[evaluator].primary_metric
        restarts = [hook for layer in range(model.n_layers) for hook in restart_hooks(layer)]
        on = held = None if done is None else self._intact.get(key)
        if on is None:
            on = intact(params, batch, model, capture=restarts, checkpoint=run.series.weights)
        missing = [hook for hook in wanted_of(asked, model) if hook not in on.acts]
        if missing:  # of counterfactual sequences, what else may be patched comes with it: the pass is the same
            others = [elsewhere(kind, hook) for kind in by_sequences(missing) if kind is not None for hook in restarts]
            on = with_more(on, [*missing, *others])
        if on is not held:
            self._intact.put(key, on, _held(on))
        scored = scores_under(asked, on, (metric,)) if asked else score(params, on.final, batch, (metric,))
        return scored[metric].reshape(-1).cpu().numpy()


def shown(run: Run) -> Iterable[str]:
    """The evaluators that the page shows, of those that the run has."""
    return run.shown


def table(bench: Workbench, run: Run, steps: Iterable[int], ablation: Intervention | None) -> pd.DataFrame:
    """The page's numbers as the tidy table, rows as `mechicl.evaluate` has them for the primary metric
    metrics: step, evaluator, metric, intervention, baseline, value, n, ci_low, ci_high, ..."""
    rows = []
    for step in steps:
        for e in bench.effects(run, step, ablation, hurry=False):
            done = [("intact", "", e.intact)]
            if ablation is not None and e.ablated is not None:
                done.append((str(ablation), ablation.baseline, e.ablated))
            for intervention, baseline, number in done:
                rows.append(
                    {
                        "step": step,
                        "evaluator": e.evaluator,
                        "metric": EVALUATORS[e.evaluator].primary_metric,
                        "intervention": intervention,
                        "baseline": baseline,
                        "value": number.value,
                        "n": number.n,
                        "ci_low": number.low,
                        "ci_high": number.high,
                    }
                )
    return tidy(run.series, rows)


def _key(run: Run, step: int, evaluator: str, ablation: Intervention | None) -> tuple[Any, ...]:
    """All that the answers to an evaluator's sequences depend on."""
    return run.series.entry(step).sha256, run.sets_id, evaluator, ablation


def _bytes(value: np.ndarray) -> int:
    return value.nbytes + 500  # the key and the bookkeeping


def _held(on: Intact) -> int:
    return sum(x.nbytes for x in on.acts.values())
