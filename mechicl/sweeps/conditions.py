"""What a sweep's file describes, as data: conditions, their runs at each seed, and the plan of them all."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mechicl.config import Config
from mechicl.series import open_series
from mechicl.sweeps.branching import Branching
from mechicl.training.branch_plan import called


@dataclass(frozen=True)
class Condition:
    """One point of the grid. fields: the values here of the fields that the file varies; former: names that earlier
    versions gave the point, if its values are lists or long texts, or if a field was renamed; branch: how it branches,
    if it does. config: that of the first seed."""

    name: str
    config: Config
    fields: dict[str, Any] = field(hash=False)
    former: tuple[str, ...] = ()
    branch: Branching | None = None

    @property
    def begins(self) -> int:
        """The step at which its runs begin."""
        return self.branch.at if self.branch else 0

    def at_seed(self, seed: int) -> Config:
        """The config of its run with this seed.

        Raises:
            ConfigError: it branches from a run that is not there, or has another seed.
        """
        if self.branch is None:
            return self.config.with_seed(seed)
        return called(self.branch.config(seed), f"{self.name}-s{seed}")


@dataclass(frozen=True)
class Run:
    """One condition with one seed; `name` is its folder."""

    name: str
    condition: Condition
    seed: int

    @cached_property
    def config(self) -> Config:
        return self.condition.at_seed(self.seed)

    @property
    def parent(self) -> Run | None:
        """The run of this sweep that it branches from."""
        of = self.condition.branch.parent if self.condition.branch else None
        return Run(f"{of.name}-s{self.seed}", of, self.seed) if isinstance(of, Condition) else None

    def parent_folder(self, out: Path) -> Path | None:
        """The run that it branches from; None: it is trained from step 0."""
        if self.condition.branch is None:
            return None
        return self.parent.folder(out) if self.parent else self.condition.branch.run_at(self.seed)

    def folder(self, out: Path) -> Path:
        """The run's folder: under its name, or under a name that an earlier version gave it."""
        for name in self.condition.former:
            before = out / f"{name}-s{self.seed}"
            if (before / "manifest.json").is_file() and open_series(before).config == self.config:
                return before
        return out / self.name


@dataclass(frozen=True)
class Plan:
    """A whole sweep. `runs` has every condition at the first seed, then at the second, and so
    on: a sweep that is stopped early has seen the whole grid."""

    name: str
    conditions: tuple[Condition, ...]
    seeds: tuple[int, ...]
    slurm: dict[str, Any]  # settings for submitit, as [slurm] gives them

    @property
    def runs(self) -> list[Run]:
        return [Run(f"{c.name}-s{seed}", c, seed) for seed in self.seeds for c in self.conditions]

    @property
    def fields(self) -> list[str]:
        """The fields that any grid names: columns of the table."""
        return list(self.conditions[0].fields)
