"""The family tree of a folder's runs: each run, and below it the branches that began from it (family.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mechicl.errors import SeriesError
from mechicl.series.family import compared, done, is_parent, opened, parent_of
from mechicl.series.series import Series
from mechicl.system.disk import is_file
from mechicl.system.paths import given


@dataclass(frozen=True)
class Member:
    """One line of a family tree.

    name: the run's folder, or what a branch's manifest calls its parent.
    depth: 0 of a run that began at step 0, one more with each branch.
    series: the run; None: it does not lie in this folder.
    parent: the run that it began from, where that is there.
    """

    name: str
    depth: int
    series: Series | None
    parent: Series | None = None

    @property
    def says(self) -> str:
        """Where it began, what was changed, how that compares with its parent, and how far it is."""
        if self.series is None:
            return "not in this folder"
        origin, parts = self.series.origin, []
        if origin is not None:
            parts.append(f"at step {origin.step:,}: {done(self.series)}")
            found = None if self.parent is None else compared(self.series, self.parent)
            if origin.is_control and found is not None and (found.equal or found.differs is not None):
                parts.append("equal to its parent" if found.equal else f"DIFFERS from step {found.differs:,} on")
        last = max(self.series.evaluated, default=0)
        parts.append(f"{last:,} steps" if self.series.complete else f"step {last:,} of {self.series.config.steps:,}")
        return "; ".join(parts)


def runs_in(folder: str | Path) -> list[Series]:
    """The runs that lie in a folder, by name. What cannot be opened is left out.

    Raises:
        SeriesError: there is none.
    """
    folder = given(folder)
    found = [opened(path.parent) for path in sorted(folder.glob("*/manifest.json"))]
    runs = [series for series in found if series is not None]
    if not runs:
        raise SeriesError(
            f"{folder} is no run, and holds none: expected a run's folder, such as checkpoints/demo, or that of a "
            "sweep. `mechicl train demo` trains one."
        )
    return runs


def is_folder_of_runs(folder: str | Path) -> bool:
    """Whether a folder is no run itself, but holds some."""
    folder = given(folder)
    return not is_file(folder / "manifest.json") and any(folder.glob("*/manifest.json"))


def tree(runs: Sequence[Series]) -> list[Member]:
    """The family tree of runs: each is followed by its branches, by the step that they begin at.

    A parent that is not among the runs is a line of its own, without a series.
    """
    parents = {series.root: _parent(series, runs) for series in runs}
    roots = {series.root for series in runs}
    below: dict[Path | str | None, list[Series]] = {}
    for series in runs:
        parent = parents[series.root]
        if series.origin is None:
            key: Path | str | None = None
        else:
            key = parent.root if parent is not None and parent.root in roots else series.origin.parent
        below.setdefault(key, []).append(series)

    def of(key: Path | str | None, depth: int) -> list[Member]:
        found = []
        for series in sorted(below.get(key, ()), key=lambda each: (each.origin.step if each.origin else 0, each.name)):
            found += [Member(series.root.name, depth, series, parents[series.root]), *of(series.root, depth + 1)]
        return found

    elsewhere = sorted(key for key in below if isinstance(key, str))
    outside = [[Member(name, 0, None), *of(name, 1)] for name in elsewhere]
    return [*of(None, 0), *(member for each in outside for member in each)]


def _parent(series: Series, runs: Sequence[Series]) -> Series | None:
    """The run that a branch began from: among these, or where it was. A family that was copied stays one."""
    origin = series.origin
    if origin is None:
        return None
    named = (each for each in runs if each.root.name == Path(origin.path).name and each.root != series.root)
    return next((each for each in named if is_parent(each, origin)), None) or parent_of(series)


def tree_lines(members: Sequence[Member]) -> list[str]:
    """The tree for a terminal, a run a line."""

    def goes_on(number: int, depth: int) -> bool:
        """Whether a brother of this depth follows below a member."""
        later = next((member.depth for member in members[number + 1 :] if member.depth <= depth), 0)
        return later == depth

    heads = []
    for number, member in enumerate(members):
        lines = "".join("│  " if goes_on(number, depth) else "   " for depth in range(1, member.depth))
        own = ("├─ " if goes_on(number, member.depth) else "└─ ") if member.depth else ""
        heads.append(f"{lines}{own}{member.name}")
    width = max(map(len, heads), default=0)
    return [f"{head:<{width}}  {member.says}" for head, member in zip(heads, members, strict=True)]
