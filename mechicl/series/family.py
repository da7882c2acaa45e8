"""A branch's parent, a run's branches, and how a branch compares with its parent (origin.py says what a branch is).

A run may be moved or renamed, alone or with its family. So a parent is looked for where it was, and then beside the
branch; it is known again by the sha256 of a checkpoint. Branches are looked for beside the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mechicl.errors import SeriesError
from mechicl.loading import from_dict
from mechicl.series.opening import open_series
from mechicl.series.origin import Origin
from mechicl.series.series import Series
from mechicl.system.disk import is_file
from mechicl.system.files import read_json
from mechicl.system.paths import shown
from mechicl.training_interventions import KINDS, TrainingIntervention


def parent_of(series: Series) -> Series | None:
    """The run that a branch began from; None: it is no branch, or its parent is gone."""
    origin = series.origin
    if origin is None:
        return None
    for place in dict.fromkeys((Path(origin.path), series.root.parent / origin.parent)):
        found = opened(place)
        if found is not None and found.root != series.root and is_parent(found, origin):
            return found
    return None


def children_of(series: Series) -> list[Series]:
    """The branches of a run that lie beside it, by the step that they begin at."""
    found = []
    for path in sorted(series.root.parent.glob("*/manifest.json")):
        if path.parent == series.root or not _says_branch(path):
            continue
        child = opened(path.parent)
        if child is None or child.origin is None:
            continue
        named = series.root in (Path(child.origin.path), child.root.parent / child.origin.parent)
        if named and is_parent(series, child.origin):
            found.append(child)
    return sorted(found, key=lambda child: (child.origin.step if child.origin else 0, child.name))


def _says_branch(manifest: Path) -> bool:
    """Whether a manifest has the record of a branch: cheaper than to open the run."""
    try:
        return "branch" in read_json(manifest)
    except SeriesError:
        return False


def opened(root: Path) -> Series | None:
    """The run in a folder; None where it is gone, or is none."""
    try:
        if not is_file(root / "manifest.json"):
            return None
        return open_series(root)
    except (SeriesError, OSError):
        return None


def is_parent(series: Series, origin: Origin) -> bool:
    """Whether a run is the one that a branch began from: it has the checkpoint that the branch's manifest names."""
    step, sha256 = origin.kept["step"], origin.kept["sha256"]
    return any(e.kind == "weights" and e.step == step and e.sha256 == sha256 for e in series.entries)


@dataclass(frozen=True)
class Compared:
    """A branch's files beside its parent's, at steps after the one that it began at.

    weights, states: how many steps both have, of which the bytes are equal up to `differs`; states are weights with
    both moments of Adam. differs: the first step at which any differ.
    """

    weights: int
    states: int
    differs: int | None

    @property
    def equal(self) -> bool:
        """Whether there is something to compare, and all of it is equal."""
        return self.differs is None and self.weights > 0


def compared(series: Series, parent: Series) -> Compared:
    """How a branch's bytes compare with its parent's, by the recorded sha256."""
    begins = series.origin.step if series.origin else 0
    theirs = {(e.kind, e.step): e.sha256 for e in parent.entries}
    shared = [e for e in series.entries if e.step > begins and (e.kind, e.step) in theirs]
    differ = min((e.step for e in shared if e.sha256 != theirs[e.kind, e.step]), default=None)
    same = [e for e in shared if differ is None or e.step < differ]
    weights = sum(e.kind == "weights" for e in same)
    return Compared(weights, len(same) - weights, differ)


def done(series: Series) -> str:
    """What a branch changes, in words."""
    origin = series.origin
    assert origin is not None
    given = []
    for each in origin.interventions:
        intervention = from_dict(TrainingIntervention, each)
        given.append(" ".join((str(intervention), *KINDS[intervention.kind].details(intervention, series.config))))
    given += [f"{name}={value}" for name, value in origin.changes.items()]
    return "; ".join(given) or "as before"


def family(series: Series) -> list[str]:
    """The family of a run in sentences: what it branched from, what is equal, and which branches lie beside it."""
    lines, origin = [], series.origin
    if origin is not None:
        parent = parent_of(series)
        lines.append(f"branch of {origin.parent} at step {origin.step:,}: {done(series)}")
        if origin.rounded:
            lines.append(f"no replay was possible: its first weights are a checkpoint's, rounded to {origin.rounded}")
        if parent is None:
            lines.append(f"its parent is not at {shown(Path(origin.path))} any more, nor beside it: not compared")
        else:
            lines.append(_said(origin, compared(series, parent), parent))
    for child in children_of(series):
        assert child.origin is not None
        state = "" if child.complete else ", not finished"
        lines.append(f"has the branch {child.name} at step {child.origin.step:,}: {done(child)}{state}")
    return lines


def _said(origin: Origin, found: Compared, parent: Series) -> str:
    states = f" and {found.states} states with their moments" if found.states else ""
    same = f"{found.weights} checkpoint{'s' * (found.weights != 1)}{states}"
    if found.equal:
        return f"equal to its parent: {same} after that step, bit for bit"
    if found.differs is None:
        return f"no checkpoint after step {origin.step:,} that both have ({shown(parent.root)})"
    if origin.is_control:
        return (
            f"DIFFERS from its parent, though nothing was changed: at step {found.differs:,} (another machine, device "
            "or version of torch)"
        )
    until = f"{same} equal, then " if found.weights else ""
    return f"{until}differs from its parent from step {found.differs:,} on"


def family_problems(series: Series, notes: list[str]) -> list[str]:
    """What is wrong with a run as a branch, for `verify`. notes: gets what could not be compared here."""
    origin = series.origin
    if origin is None:
        return []
    parent = parent_of(series)
    if parent is None:
        notes.append(f"its parent {origin.parent} is not at {origin.path} any more, nor beside it: not compared.")
        return []
    found = compared(series, parent)
    same = all(series.manifest.get(key) == parent.manifest.get(key) for key in ("versions", "machine", "device"))
    if origin.is_control and found.differs is not None and same:
        return [
            f"step {found.differs}: other bytes than its parent {shown(parent.root)} has, though nothing was changed."
        ]
    return []
