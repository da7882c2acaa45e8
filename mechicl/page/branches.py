"""'Train on from here': what a reader asks for as a command line, and how the branches of a run are.

The command is `mechicl branch`, started as a process beside the page (jobs.py), so a branch of the page and one of the
command line are the same bytes. Where the runs' folder cannot be written to, branches go elsewhere, and the page says
where.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechicl.errors import ConfigError
from mechicl.measures import training_words, words
from mechicl.page.jobs import Job, Jobs
from mechicl.page.runs import Library, Run, followed
from mechicl.page.state import View
from mechicl.registry import EVALUATORS
from mechicl.series import Series
from mechicl.series.family import children_of, compared, done, opened, parent_of
from mechicl.series.origin import first_step
from mechicl.series.tree import runs_in, tree
from mechicl.settings import assignments
from mechicl.system.disk import is_locked
from mechicl.system.paths import given
from mechicl.system.user_cache import user_cache
from mechicl.training.branch_plan import beginning, default_name, shorthands

WAYS = {
    "as_before": "as before (the control)",
    "without": "without the ablated heads",
    "clamp": "with the heads' attention held",
    "memory": "with memory reset: embeddings reinitialised",
}


def ways(run: Run) -> dict[str, str]:
    """What can be done to a run, by its name in the page's question; the last ones are its task's."""
    return WAYS | {name: f"on other data: {says}" for name, (says, _) in run.series.task.other_data.items()}


@dataclass(frozen=True)
class Asked:
    """A branch that is asked for. clamps, settings: as `--clamp` and `--set` take them; steps: '' for as many as its
    parent."""

    at: int
    without: tuple[tuple[int, int], ...] = ()
    clamps: tuple[str, ...] = ()
    memory: bool = False
    settings: tuple[str, ...] = ()
    fresh: bool = False
    steps: str = ""

    def options(self) -> list[str]:
        """For `mechicl branch`."""
        return [
            *("--at", str(self.at)),
            *(("--without", words.write("heads", self.without)) if self.without else ()),
            *(word for each in self.clamps for word in ("--clamp", each)),
            *(("--reset-memory",) if self.memory else ()),
            *(word for each in self.settings for word in ("--set", each)),
            *(("--fresh-moments",) if self.fresh else ()),
            *(("--steps", self.steps) if self.steps else ()),
        ]

    def name(self, series: Series) -> str:
        """The folder that `mechicl branch` itself would choose."""
        added = shorthands(first_step(series.manifest), self.at, self.without, self.memory, self.fresh)
        added += [beginning(each, self.at) for each in training_words.interventions(self.clamps)]
        name = default_name(series.name, self.at, added, assignments(self.settings))
        return f"{name}-to{self.steps}" if self.steps else name


def asked(run: Run, view: View, what: Mapping[str, Any]) -> Asked:
    """What a reader asks for at the view's step.

    Args:
        what: way, and where it needs them pattern and strength; fresh: a new optimiser; steps: how many in all.

    Raises:
        ConfigError: it is not something that can be asked for.
    """
    assert view.step is not None
    way, steps = what.get("way", "as_before"), what.get("steps")
    if way not in (known := ways(run)):
        raise ConfigError(f"way={way!r}: expected one of {', '.join(known)}.")
    if way in ("without", "clamp") and not view.heads:
        raise ConfigError("no head is ablated: click one in the head grid first.")
    if steps not in (None, "") and not str(steps).isdecimal():
        raise ConfigError(f"steps={steps!r}: expected a whole number of steps.")
    clamp = f"{what.get('pattern', 'uniform')}:{words.write('heads', view.heads)}={what.get('strength', 1)}"
    _, settings = run.series.task.other_data.get(way, ("", ()))
    return Asked(
        at=view.step,
        without=view.heads if way == "without" else (),
        clamps=(clamp,) if way == "clamp" else (),
        memory=way == "memory",
        settings=settings,
        fresh=bool(what.get("fresh")),
        steps="" if steps is None else str(steps),
    )


def place_for(folder: Path, out: Path | None = None) -> Path:
    """Where branches of a folder's runs are put: `out`, or beside the runs, or in the user's cache folder.

    Raises:
        ConfigError: none of these can be written to.
    """
    if out is not None:
        return given(out)
    if os.access(folder, os.W_OK):
        return folder
    place = user_cache("branches", hashlib.sha256(str(folder).encode()).hexdigest()[:12])
    if place is None:
        raise ConfigError(f"{folder} cannot be written to: choose a folder for branches with --out DIR.")
    return place


@dataclass(frozen=True)
class Branches:
    """The branches of a library's runs. State is in files alone (jobs.py)."""

    library: Library
    jobs: Jobs

    @property
    def note(self) -> str:
        """Where branches go, where that is not beside their parent."""
        if self.jobs.folder == self.library.folder:
            return ""
        return f"Branches are saved in {self.jobs.folder}, not next to the run."

    def command(self, run: Run, view: View, what: Mapping[str, Any]) -> tuple[Path, list[str]]:
        """The folder and the words of a branch that is not begun: `mechicl WORDS`."""
        wanted = asked(run, view, what)
        name = wanted.name(run.series)
        taken = {job.name for job in self.jobs.all()}
        names = [name, *(f"{name}-{i}" for i in range(2, 100))]
        root = next(
            self.jobs.folder / each
            for each in names
            if each not in taken and not (self.jobs.folder / each / "manifest.json").exists()
        )
        return root, ["branch", str(run.series.root), *wanted.options(), "--out", str(root)]

    def start(self, run: Run, view: View, what: Mapping[str, Any]) -> dict[str, Any]:
        """Begin a branch, or let it wait.

        Raises:
            ConfigError, SeriesError: it cannot be; the message says why.
        """
        root, line = self.command(run, view, what)
        job = self.jobs.add(root, run.series.root, line)
        return {"name": job.name, "command": shlex.join(["mechicl", *line])}

    def act(self, name: str, verb: str) -> dict[str, Any]:
        """pause, resume, stop, keep or discard a branch of the queue."""
        if verb not in ("pause", "resume", "stop", "keep", "discard"):
            raise ConfigError(f"there is no action {verb!r}: expected pause, resume, stop, keep or discard.")
        getattr(self.jobs, verb)(name)
        return {"name": name}

    def listed(self, run: Run) -> dict[str, Any]:
        """Every branch of a run, and how far the run itself is: what the page draws."""
        jobs = {job.root: job for job in self.jobs.all() if job.parent == str(run.series.root)}
        rows = [self._row(run, child, jobs.pop(str(child.root), None)) for child in children_of(run.series)]
        for root, job in jobs.items():  # in another folder, or not begun
            rows.append(self._row(run, opened(Path(root)) if job.begun else None, job))
        parent = parent_of(run.series)
        return {
            "rows": rows,
            "note": self.note,
            "parent": None if parent is None else parent.name,
            "run": followed(run) | {"training": is_locked(run.series.root)},
        }

    def family(self, run: Run) -> dict[str, Any]:
        """The family tree of the runs in the folder; empty where none is a branch."""
        names = set(self.library.names())
        members = tree([series for series in runs_in(self.library.folder) if series.root.name in names])
        if all(member.depth == 0 for member in members):
            members = []
        rows = [
            {
                "name": member.name,
                "depth": member.depth,
                "says": member.says,
                "opens": member.series is not None,
                "here": member.series is not None and member.series.root == run.series.root,
            }
            for member in members
        ]
        return {"rows": rows}

    def _row(self, run: Run, child: Series | None, job: Job | None) -> dict[str, Any]:
        name = job.name if job is not None else child.name if child is not None else ""
        state = self.jobs.state(job) if job is not None else _state_alone(child)
        row: dict[str, Any] = {
            "name": name,
            "state": state,
            "queued": job is not None,
            "error": job.error if job else "",
        }
        row |= {"opens": child is not None and child.root.parent == self.library.folder, "says": "", "equal": ""}
        if job is not None:
            row["command"] = shlex.join(["mechicl", *job.words])
        if child is None or child.origin is None:
            return row | {"done": "", "at": None, "curves": {}}
        evaluated, origin = child.evaluated, child.origin
        row |= {"done": done(child), "at": origin.step, "curves": _curves(run, child)}
        at = max(evaluated, default=origin.step)
        row["says"] = f"step {at:,} of {child.config.steps:,}"
        row["share"] = (at - origin.step) / max(1, child.config.steps - origin.step)
        found = compared(child, run.series)
        if origin.is_control and (found.equal or found.differs is not None):
            row["equal"] = "equal to its parent, bit for bit" if found.equal else "differs from its parent"
        return row


def _state_alone(child: Series | None) -> str:
    """How far a branch is that is not of the page's queue."""
    if child is None or not child.complete:
        return "running" if child is not None and is_locked(child.root) else "stopped"
    return "finished"


def _curves(run: Run, child: Series) -> dict[str, dict[str, list[Any]]]:
    """The recorded primary metric of every evaluator that the page shows: steps, sequences, values."""
    out: dict[str, dict[str, list[Any]]] = {name: {"steps": [], "sequences": [], "values": []} for name in run.shown}
    for line in child.recorded():
        for row in line["evaluators"]:
            name = row["evaluator"]
            if name in out and row["metric"] == EVALUATORS[name].primary_metric:
                for key, value in (("steps", "step"), ("sequences", "sequences")):
                    out[name][key].append(line[value])
                out[name]["values"].append(row["value"])
    return out
