"""Two checkpoints, of one run or of two, side by side under the same ablation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mechicl.errors import ConfigError, SeriesError
from mechicl.interventions import Intervention
from mechicl.page.heads import Grid, alike, head_grid
from mechicl.page.inside import Attention, attention
from mechicl.page.numbers import Number, mean, paired, unpaired
from mechicl.page.runs import Library, Run
from mechicl.page.state import View, effect_of
from mechicl.page.view import Workbench


@dataclass(frozen=True)
class Side:
    """One of the two: its numbers by evaluator, its head grid and its attention, all under the view's
    intervention, and what is done to it. heads: None where it has not what the measure is about."""

    run: Run
    step: int
    numbers: dict[str, Number]
    heads: Grid | None
    ablation: Intervention | None
    attention: Attention
    note: str  # why the ablation is not applied here, or ''

    @property
    def patterns(self) -> np.ndarray:
        """[l, h, t, t]: ablated where something is, else intact."""
        return self.attention.intact if self.attention.ablated is None else self.attention.ablated


@dataclass(frozen=True)
class Comparison:
    """a: the page's view; b: what it is compared with. difference: b minus a."""

    a: Side
    b: Side
    difference: dict[str, Number]
    same_sequences: bool

    @property
    def aligned(self) -> bool:
        """Whether both sides' patterns have the same positions and heads, so that they have a difference."""
        return self.a.patterns.shape == self.b.patterns.shape

    @property
    def caution(self) -> str:
        """What a reader of the differences must know of the two, or ''."""
        if self.a.run.series.root == self.b.run.series.root:
            return "A and B are the same checkpoint." if self.a.step == self.b.step else ""
        configs = [side.run.series.config for side in (self.a, self.b)]
        seeds = [config.seeds.init for config in configs]
        if seeds[0] == seeds[1] or any(config.model.hooked for config in configs):  # from elsewhere: not known
            return ""
        return (
            f"A and B were initialised with different seeds ({seeds[0]} and {seeds[1]}): heads with the same name do "
            "not correspond."
        )


def compare(bench: Workbench, library: Library, run: Run, view: View) -> Comparison:
    """The view beside what it is compared with (`Library.beside`).

    Raises:
        SeriesError: the other run or its checkpoint is not there.
    """
    other, step = library.beside(run, view)
    a, b = _side(bench, run, view), _side(bench, other, replace(view, run=other.series.name, step=step))
    if a.heads and b.heads:  # one range of colours
        left, right = alike(a.heads, b.heads)
        a, b = replace(a, heads=left), replace(b, heads=right)
    same = run.sets_id == other.sets_id
    difference = {}
    for name in [n for n in run.shown if n in a.numbers and n in b.numbers]:
        right = [bench.right(s.run, s.step, name, fitting(s.run, view)) for s in (a, b)]
        difference[name] = paired(*right) if same else unpaired(*right)
    return Comparison(a, b, difference, same)


def _side(bench: Workbench, run: Run, view: View) -> Side:
    assert view.step is not None
    ablation = fitting(run, view)
    note = "" if ablation == view.intervention else "intact: it lacks some of the changed parts"
    has_it = run.fitting(ablation)
    numbers = {name: mean(bench.right(run, view.step, name, ablation)) for name in has_it}
    on = view if view.evaluator in run.sets else replace(view, evaluator=run.leading)
    if on.sequence is not None and on.sequence >= len(run.sets[on.evaluator]):
        on = replace(on, sequence=None)  # `Attention.what` says so
    has = effect_of(view.measure) in (None, *run.sets)
    on = on if ablation else on.untouched()
    grid = head_grid(bench, run, on) if has else None
    return Side(run, view.step, numbers, grid, ablation, attention(bench, run, on), note)


def fitting(run: Run, view: View) -> Intervention | None:
    """The view's intervention, if the run has all that it changes."""
    if view.intervention is None:
        return None
    try:
        run.check_fits(view.intervention)
    except (ConfigError, SeriesError):
        return None
    return view.intervention
