"""The runs that the app may show: the directories of one folder, and nothing outside it."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mechicl.config import to_dict
from mechicl.errors import ConfigError, SeriesError
from mechicl.evaluators import EVALUATORS, chance, evaluation_sets
from mechicl.interventions import AblateHeads, Intervention
from mechicl.measures.phases import Phases, leading_phases, series_phases
from mechicl.page.state import LONGEST, View, ViewError, effect_of
from mechicl.protocol.batch import TaskBatch
from mechicl.registry import leading, on_page, span
from mechicl.series import Series, open_series
from mechicl.system.commands import command
from mechicl.system.devices import chosen
from mechicl.system.paths import given
from mechicl.system.steps import coarse_to_fine


@dataclass(frozen=True)
class Run:
    """A series with what the page asks for again and again. Read only."""

    series: Series

    @cached_property
    def steps(self) -> list[int]:
        return self.series.steps

    @cached_property
    def sets(self) -> dict[str, TaskBatch]:
        """Every evaluator that the run has, with its sequences."""
        sets = evaluation_sets(self.series.config, self.series.source)
        return {name: batch.to(self.series.device) for name, batch in sets.items()}

    @cached_property
    def sets_id(self) -> str:
        """Two runs with the same one are evaluated on the same sequences by the same model shape."""
        c = self.series.config
        task = self.series.task.follows(c)
        facts = [self.series.source.fingerprint, task, to_dict(c.model), c.seeds.eval, c.n_eval, c.eval_first]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @cached_property
    def metrics(self) -> pd.DataFrame:
        return self.series.metrics

    @cached_property
    def chance(self) -> dict[str, float]:
        """What guessing scores on every evaluator's primary metric."""
        outputs = self.series.task.n_outputs
        guessed = {name: chance(name, batch, outputs) for name, batch in self.sets.items()}
        return {name: levels[EVALUATORS[name].primary_metric] for name, levels in guessed.items()}

    @cached_property
    def spans(self) -> dict[str, tuple[float, float]]:
        """Where the scale of every evaluator's primary metric begins and ends."""
        return {name: span(name, [self.chance[name], *self.curve(name)["value"]]) for name in self.sets}

    @cached_property
    def phases(self) -> dict[str, Phases]:
        return series_phases(self.series) if self.metrics.size else {}

    def curve(self, evaluator: str) -> pd.DataFrame:
        """The recorded primary metric over training: step, sequences, value, n, ci_low, ci_high."""
        if not self.metrics.size:
            return pd.DataFrame(columns=["step", "sequences", "value", "n", "ci_low", "ci_high"])
        table = self.metrics
        return table[(table.evaluator == evaluator) & (table.metric == EVALUATORS[evaluator].primary_metric)]

    def first_look(self) -> int:
        """The step to begin at: ICL's peak, where there is most to see; else the last."""
        led = leading_phases(self.phases)
        return self.steps[-1] if led is None or led[1].peak is None else self.series.nearest(led[1].peak)

    @cached_property
    def leading(self) -> str:
        """The evaluator on whose sequences one looks first: ICL's, or what stands for it."""
        return leading(self.sets) or next(iter(self.sets))

    @property
    def shown(self) -> list[str]:
        """The evaluators whose numbers the page has, of those that the run has."""
        return [name for name in on_page() if name in self.sets]

    def coarse_to_fine(self) -> list[int]:
        return coarse_to_fine(self.steps)

    def check_fits(self, intervention: Intervention) -> None:
        """Raise ConfigError or SeriesError unless the run has what is to be changed: heads, steps, and roles in the
        sequences of some evaluator."""
        intervention.check(self.series.config.model)
        if not self.fitting(intervention):
            roles = {name: len(self.sets[name][:1].roles()) for name in (self.leading, *self.shown)}
            intervention.check_on(self.sets[max(roles, key=lambda name: roles[name])])  # its message lists them
        for step in intervention.donors:
            self.series.entry(step)

    def fits(self, evaluator: str, intervention: Intervention | None) -> bool:
        """Whether an evaluator's sequences can have what is to be changed: in some tasks each has roles of its own."""
        try:
            if intervention is not None:
                intervention.check_on(self.sets[evaluator])
        except ConfigError:
            return False
        return True

    def changed(self, evaluator: str, intervention: Intervention | None) -> bool:
        """Whether an evaluator's sequences have anything to change: in some nothing has the role that an edge names."""
        if intervention is None or not self.fits(evaluator, intervention):
            return False
        return intervention.found_in(self.sets[evaluator])

    def fitting(self, intervention: Intervention | None) -> list[str]:
        """The shown evaluators whose sequences have what is to be changed."""
        return [name for name in self.shown if self.fits(name, intervention)]

    def check(self, view: View) -> None:
        """Raise ViewError unless the view's step, what it does to the model and its sequence are this run's."""
        model = self.series.config.model
        try:
            if view.step is not None:
                self.series.entry(view.step)
            AblateHeads(heads=(view.head,) if view.head else ()).check(model)
            if view.intervention is not None:
                self.check_fits(view.intervention)
        except (ConfigError, SeriesError) as error:
            raise ViewError(str(error)) from None
        measured = (f"measure={view.measure}: ", effect_of(view.measure))
        for where, name in (("", view.evaluator), ("", view.over), measured):
            if name is not None and name not in self.sets:
                raise ViewError(f"{where}{self.series.name} has no evaluator {name!r}: it has {', '.join(self.sets)}.")
        if view.sequence is not None and view.sequence >= len(self.sets[view.evaluator]):
            raise ViewError(
                f"sequence={view.sequence}: {view.evaluator} has sequences 0 to {len(self.sets[view.evaluator]) - 1}."
            )


def followed(run: Run) -> dict[str, Any]:
    """How far a run is, for a page that follows it while it is trained."""
    last = run.steps[-1]
    return {"checkpoints": len(run.steps), "last": last, "of": run.series.config.steps, "complete": run.series.complete}


class Library:
    """The runs of one folder, opened when asked for. A run that has grown is opened again."""

    def __init__(
        self, folder: Path, named: str | None = None, device: str | None = None, together: tuple[str, ...] = ()
    ):
        """
        Args:
            folder: every run shown lies directly in it, or is a link there.
            named: the run that the reader named.
            device: where runs are evaluated (`open_series`).
            together: the runs that the reader named together, such as several seeds.
        """
        self.device: str = chosen(device)
        self.folder: Path = given(folder).resolve()
        self.named = named
        self.together: tuple[str, ...] = together if len(together) > 1 else ()
        self._open: dict[str, tuple[tuple[Any, ...], Run]] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Directories that look like runs, sorted."""
        return sorted(p.parent.name for p in self.folder.glob("*/manifest.json") if self._inside(p.parent))

    def run(self, name: str) -> Run:
        """The run of this name.

        Raises:
            SeriesError: there is none, it lies elsewhere, it is broken or has no checkpoints.
        """
        root = self.folder / name
        if not name or Path(name).name != name or not self._inside(root):
            raise SeriesError(f"{name!r} is not a run of this folder. {self._others()}")
        if not (root / "manifest.json").is_file():
            raise SeriesError(f"there is no run {name!r} here. {self._others()}")
        stamp = tuple(_stamp(root / f) for f in ("manifest.json", "config.json", "index.jsonl", "metrics.jsonl"))
        with self._lock:
            known = self._open.get(name)
        if known is not None and known[0] == stamp:
            return known[1]
        run = Run(_whole(open_series(root, device=self.device)))
        with self._lock:
            self._open[name] = (stamp, run)
            most = max(8, min(len(self.together) + 2, 64))  # each holds its data and evaluation sets, a few MB
            while len(self._open) > most:
                self._open.pop(next(iter(self._open)))
        return run

    def settled(self, view: View) -> View:
        """The view with every open choice made, checked against its run and the one compared with.

        Raises:
            SeriesError: as `run`.
            ViewError: what the view asks for is not there.
        """
        from dataclasses import replace

        run = self.run(view.run)
        if not view.seeds and view.run in self.together and sum(map(len, self.together)) < LONGEST // 3:
            view = replace(view, seeds=self.together)
        if not view.evaluator:
            view = replace(view, evaluator=run.leading)
        run.check(view)
        view = replace(view, step=run.first_look() if view.step is None else view.step)
        if view.with_run is None and view.with_step is None:
            return view
        other = self.run(view.with_run or view.run)
        if view.with_step is not None:
            alone = replace(view, step=view.with_step, head=None, evaluator=other.leading, sequence=None)
            other.check(replace(alone.untouched(), measure=View.measure))
        return view

    def beside(self, run: Run, view: View) -> tuple[Run, int]:
        """What a view is compared with, and where: its `with_run` and `with_step` (default: this
        run's last checkpoint; of another run, its own first look).

        Raises:
            SeriesError: the other run is not there.
        """
        other = self.run(view.with_run) if view.with_run else run
        if view.with_step is not None:
            return other, view.with_step
        return other, other.first_look() if view.with_run else run.steps[-1]

    def _inside(self, root: Path) -> bool:
        """Whether a path is a directory directly in the folder, or a link there that counts as one: the one that
        the user named, one made by whoever runs this page, or by the owner of what it leads to. Anybody else's
        could show what they may not see themselves.
        """
        try:
            if not root.is_dir():
                return False
            if root.resolve().parent == self.folder:
                return True
            linked = root.is_symlink() and root.parent == self.folder
            return linked and (root.name == self.named or _owner(root, link=True) in (_user(), _owner(root)))
        except (OSError, ValueError):
            return False

    def _others(self) -> str:
        names = self.names()
        return f"Runs here: {', '.join(names)}." if names else "There are no runs here: `mechicl train demo`."


def _owner(path: Path, link: bool = False) -> int:
    return (path.lstat() if link else path.stat()).st_uid


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0  # Windows gives every file the owner 0


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _whole(series: Series) -> Series:
    """The series, if it has something to show: its parts are read once here, so that a broken
    one is refused as a whole."""
    if not series.steps:
        raise SeriesError(f"{series.name} has no checkpoints yet: {command('train', '--resume', series.root)}.")
    try:
        source = series.source
        metrics = series.metrics
        if metrics.size:
            np.asarray(metrics["value"], dtype=float)
            missing = {"evaluator", "metric", "n", "ci_low", "ci_high"} - set(metrics)
            if missing:
                raise KeyError(", ".join(sorted(missing)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, SeriesError | ConfigError):
            raise
        raise SeriesError(
            f"{series.root / 'metrics.jsonl'} was not written by mechicl, or was changed ({error})."
        ) from None
    del source
    return series
