"""Several runs on one page: which belong together as seeds, and which of them formed ICL. Knows nothing of pages."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mechicl.config import to_dict
from mechicl.errors import ConfigError, SeriesError
from mechicl.measures.phases import MIN_RISE, leading_phases
from mechicl.page.runs import Library, Run
from mechicl.page.state import View, ViewError
from mechicl.series import Series

_SAME_RECIPE = {"name", "seeds", "threads", "keep", "checkpoint_steps", "states", "weights_dtype"}
RULE = f"A run formed ICL if its curve rises {MIN_RISE:g} above chance (the rule of the phase times)."


@dataclass(frozen=True)
class Condition:
    """Runs of one recipe: they differ in their seeds alone."""

    label: str
    runs: tuple[Run, ...]

    def name(self, run: Run) -> str:
        """What a run is called within it: by its seed, if that tells them apart."""
        seeds = [each.series.config.seeds.init for each in self.runs]
        mine = run.series.config.seeds.init
        return f"seed {mine}" if seeds.count(mine) == 1 else run.series.name


@dataclass(frozen=True)
class Together:
    """The runs of a view. lost: what cannot be opened, and why."""

    conditions: tuple[Condition, ...]
    lost: dict[str, str]

    @property
    def runs(self) -> list[Run]:
        return [run for condition in self.conditions for run in condition.runs]

    def of(self, name: str) -> Condition:
        """The condition that a run belongs to.

        Raises:
            ViewError: it is none of these runs.
        """
        for condition in self.conditions:
            if any(run.series.name == name for run in condition.runs):
                return condition
        names = ", ".join(run.series.name for run in self.runs)
        raise ViewError(f"{name!r} is not one of the runs on this page: {names}.")

    def run(self, name: str) -> Run:
        """One of the runs, by its name. Raises ViewError as `of`."""
        return next(run for run in self.of(name).runs if run.series.name == name)


def together(library: Library, run: Run, view: View) -> Together | None:
    """The runs that a view shows together; None where a run is alone."""
    names = view.seeds or (library.together if view.run in library.together else ())
    if len(names) < 2:
        return None
    found, lost = [run] if view.run not in names else [], {}
    for name in names:
        try:
            found.append(library.run(name))
        except (SeriesError, ConfigError) as error:
            lost[name] = str(error)
    return Together(tuple(conditions(found)), lost)


def conditions(runs: Sequence[Run]) -> list[Condition]:
    """Runs by recipe, in the order in which they come: configs that are equal but for seeds, names and how much is
    kept."""
    by: dict[str, list[Run]] = {}
    for run in runs:
        by.setdefault(_recipe(run.series), []).append(run)
    out: list[Condition] = []
    for its in by.values():
        label = re.sub(r"-s\d+$", "", its[0].series.name)
        taken = any(each.label == label for each in out)
        out.append(Condition(its[0].series.name if taken else label, tuple(its)))
    return out


def _recipe(series: Series) -> str:
    told = to_dict(series.config)
    return json.dumps({name: told[name] for name in sorted({*told} - _SAME_RECIPE)}, sort_keys=True, default=str)


def formed(run: Run) -> bool | None:
    """Whether a run formed ICL, by the rule of the phase times; None: it has not yet, and is not finished."""
    led = leading_phases(run.phases)
    if led is not None and led[1].peak is not None:
        return True
    return False if run.series.complete else None


def counted(condition: Condition) -> str:
    """'4 of 5 formed; seed 2 never': how many runs formed ICL, and which did not."""
    found = {condition.name(run): formed(run) for run in condition.runs}
    never = [name for name, has in found.items() if has is False]
    waiting = [name for name, has in found.items() if has is None]
    parts = [f"{sum(has is True for has in found.values())} of {len(found)} formed"]
    if never:
        parts.append(f"{', '.join(never)} never")
    if waiting:
        parts.append(f"{', '.join(waiting)} not yet")
    return "; ".join(parts)
