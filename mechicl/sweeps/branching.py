"""Conditions that branch: from another condition of the sweep, or from a run that is there already.

    [[grid]]
    name = "without"
    branch = {from = "base", at = 1500, without = ["L0H5", "L1H3"]}

The keys of `branch` are the options of `mechicl branch`. What is changed beside them, its `--set`, are the other fields
of the grid. `from` is the name of a condition that stands above, whose run of the same seed is the parent; or a run's
folder, written with a '/', in which '{seed}' stands for the seed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechicl.config import Config
from mechicl.errors import ConfigError, SeriesError, did_you_mean
from mechicl.loading import from_dict
from mechicl.measures import training_words
from mechicl.measures.words import parse_heads
from mechicl.protocol.known import task_of
from mechicl.schedule import state_steps
from mechicl.series import Series, open_series
from mechicl.series.origin import planned
from mechicl.system.paths import given
from mechicl.training.branch_plan import REFUSED, Parent, beginning, default_name, parent_like, settled, shorthands
from mechicl.training_interventions import TrainingIntervention

if TYPE_CHECKING:
    from mechicl.sweeps.conditions import Condition

_TYPES: dict[str, tuple[type, str]] = {
    "from": (str, "the name of a condition above, or a run's folder such as './checkpoints/demo-s{seed}'"),
    "at": (int, "a step, such as 1500"),
    "steps": (int, "how many steps it has in all, its parent's among them"),
    "reset_memory": (bool, "true or false"),
    "fresh_moments": (bool, "true or false"),
    "without": (list, 'heads, such as ["L0H5", "L1H3"]'),
    "clamp": (list, 'patterns of heads, such as ["previous:L0H5=0.8"]'),
    "intervene": (list, 'tables, such as [{kind = "freeze", groups = ["unembedding"]}]'),
}
LISTS = frozenset(key for key, (kind, _) in _TYPES.items() if kind is list)  # a list is one value of these
_NEEDED = ("from", "at")
_HERE = {"training_interventions": "write them as branch.intervene", "steps": "write branch.steps"}


@dataclass(frozen=True, kw_only=True)
class Branching:
    """How a condition branches, with `mechicl.branch`'s arguments. parent: a condition, or a run's folder."""

    parent: Condition | str
    at: int
    steps: int | None = None
    without: tuple[tuple[int, int], ...] = ()
    reset_memory: bool = False
    fresh_moments: bool = False
    interventions: tuple[TrainingIntervention, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def parent_name(self) -> str:
        """What it branches from, without a seed."""
        if not isinstance(self.parent, str):
            return self.parent.name
        return re.sub(r"-?s?\{seed\}", "", given(Path(self.parent)).name) or "run"

    @property
    def label(self) -> str:
        """As `mechicl branch` would call its folder."""
        return default_name(self.parent_name, self.at, self._added(self._begins), self.changes)

    def run_at(self, seed: int) -> Path | None:
        """The run that is there already; None: the parent is of this sweep."""
        return given(Path(self.parent.replace("{seed}", str(seed)))) if isinstance(self.parent, str) else None

    def opened(self, seed: int) -> Series | None:
        """The parent, where it is there already.

        Raises:
            ConfigError: it is no run of mechicl's, or one of another seed.
        """
        place = self.run_at(seed)
        if place is None:
            return None
        try:
            series = open_series(place)
        except SeriesError as error:
            raise ConfigError(f"branch.from={self.parent!r}: {error}") from None
        if series.manifest.get("source"):
            raise ConfigError(
                f"branch.from={self.parent!r}: {place} was not trained by mechicl: expected a run that it trained."
            )
        if series.config.seeds.init != seed:
            raise ConfigError(
                f"branch.from={self.parent!r}: {place} has seed {series.config.seeds.init}, but a run of this sweep "
                f"has seed {seed}. Write '{{seed}}' in the folder's name, or seeds = [{series.config.seeds.init}]."
            )
        return series

    def parent_at(self, seed: int) -> Parent:
        """The parent of the run with this seed, which need not be trained yet.

        Raises:
            ConfigError: as `opened`.
        """
        series = self.opened(seed)
        if series is not None:
            return parent_like(series)
        assert not isinstance(self.parent, str)
        config = self.parent.at_seed(seed)
        points = config.checkpoint_steps.log_points
        return Parent(called=self.parent.name, config=config, begins=self._begins, log_points=points)

    def config(self, seed: int) -> Config:
        """The config of the run with this seed, under its parent's name.

        Raises:
            ConfigError: such a branch is impossible; the message says why.
        """
        parent = self.parent_at(seed)
        last = parent.config.steps
        if not parent.begins <= self.at <= last:
            raise ConfigError(f"branch.at={self.at}: {parent.called} has steps {parent.begins} to {last}.")
        if (self.steps or last) <= self.at:
            raise ConfigError(
                f"branch.at={self.at}: nothing is left to train of {self.steps or last} steps. Write an earlier step, "
                f"or a larger branch.steps: it counts the parent's steps too."
            )
        changes = dict(self.changes)
        return settled(parent, self.at, self.steps, self._added(parent.begins), changes, "changed in the branch")[0]

    def _added(self, begins: int) -> list[TrainingIntervention]:
        short = shorthands(begins, self.at, self.without, self.reset_memory, self.fresh_moments)
        return [*short, *(beginning(each, self.at) for each in self.interventions)]

    @property
    def _begins(self) -> int:
        """The first step of a parent of this sweep."""
        return 0 if isinstance(self.parent, str) or self.parent.branch is None else self.parent.branch.at

    def data(self, seed: int) -> str | Path | None:
        """Where a parent that is there already has its data."""
        series = self.opened(seed)
        if series is not None:
            return task_of(series.config).kept(series.root) or series.data
        assert not isinstance(self.parent, str)
        return self.parent.branch.data(seed) if self.parent.branch else None

    def replayed(self, seed: int) -> int:
        """How many of the parent's steps are replayed before the branch begins, where the parent keeps what its
        schedule says."""
        parent = self.parent_at(seed)
        if self.fresh_moments and self.at in planned(parent.config, parent.begins):
            return 0
        return self.at - max((s for s in state_steps(parent.config) if s <= self.at), default=parent.begins)


def branching(table: dict[str, Any], changes: dict[str, Any], above: Mapping[str, Condition], where: str) -> Branching:
    """What one point of a grid says of its branch.

    Args:
        table: the values of `branch` at this point.
        changes: the other fields at this point, by dotted name.
        above: the conditions that stand above, by name.

    Raises:
        ConfigError: a key or a value is impossible; the message says what is expected.
    """
    for key in _NEEDED:
        if key not in table:
            raise ConfigError(f"{where}.{key} is missing: expected {_TYPES[key][1]}.")
    for key, value in table.items():
        _check_value(f"{where}.{key}", value, *_TYPES[key])
    for name in changes:
        reason = _HERE.get(name) or REFUSED.get(name)
        if reason:
            raise ConfigError(f"{where}: {name} cannot be changed in a branch: {reason}.")
    return Branching(
        parent=_parent(table["from"], above, where),
        at=table["at"],
        steps=table.get("steps"),
        without=parse_heads(",".join(table["without"]), f"{where}.without") if table.get("without") else (),
        reset_memory=table.get("reset_memory", False),
        fresh_moments=table.get("fresh_moments", False),
        interventions=(
            *(training_words.clamp(each, f"{where}.clamp") for each in table.get("clamp", ())),
            *(from_dict(TrainingIntervention, each, f"{where}.intervene") for each in table.get("intervene", ())),
        ),
        changes=changes,
    )


def table_of(given: Any, where: str) -> dict[str, Any]:
    """The `branch` of a grid.

    Raises:
        ConfigError: it is no table, or has a key that there is not.
    """
    if not isinstance(given, dict):
        raise ConfigError(f'{where}={given!r}: expected a table, such as {{from = "base", at = 1500}}.')
    for key in given:
        if key not in _TYPES:
            raise ConfigError(f"{where}.{key}: unknown key.{did_you_mean(key, _TYPES)} Known: {', '.join(_TYPES)}.")
    return given


def _parent(text: str, above: Mapping[str, Condition], where: str) -> Condition | str:
    if text in above:
        return above[text]
    if "/" in text or "\\" in text:
        return text
    known = ", ".join(above) or "none"
    raise ConfigError(
        f"{where}.from={text!r}: there is no condition of this name above (there: {known}).{did_you_mean(text, above)} "
        f"A run's folder is written with a '/', as './{text}'."
    )


def _check_value(where: str, value: Any, kind: type, expected: str) -> None:
    good = type(value) is kind
    if good and kind is list:
        inside = dict if where.endswith(".intervene") else str
        good = all(isinstance(each, inside) for each in value)
    if not good or (kind is int and value < 0):
        raise ConfigError(f"{where}={value!r}: expected {expected}.")
