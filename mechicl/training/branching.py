"""Branches: from one of a run's checkpoints, train on otherwise.

A branch is a config and a state to start from (series/origin.py). What is done to it are training interventions that
begin at its first step, so the config says all of it: trained from step 0 it comes to the branch's bytes. Where nothing
is changed, that is the parent's own config, and the branch is the control: equal to its parent bit for bit.

The state is the one that the parent saved at that step. If it saved none there, it is replayed from the last one
before, without a change to the parent, and every checkpoint that is passed must have the recorded bytes. With a new
optimiser the weights suffice: those of a checkpoint, where they are the parent's own, in float32. Rounded ones are
taken only where no replay is possible; then the branch's manifest says so, and training from step 0 comes to others.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mechicl.config import Config
from mechicl.errors import ReplayError, SeriesError
from mechicl.loading import whole
from mechicl.models.params import pack
from mechicl.protocol.known import task_of
from mechicl.series import Series, open_series
from mechicl.series.extend import disagreement
from mechicl.series.origin import Origin, first_step, planned
from mechicl.series.storage import serialised
from mechicl.system.commands import command
from mechicl.system.devices import deterministic
from mechicl.system.disk import is_locked
from mechicl.system.paths import given, shown
from mechicl.system.surroundings import own_settings
from mechicl.system.work_queue import threads
from mechicl.training import logs
from mechicl.training.branch_plan import beginning, called, default_name, parent_like, plain, settled, shorthands
from mechicl.training.devices import check_replay, to_go_on, trainer_on
from mechicl.training.loop import Member, Progress, bar, checked_source, training_batches, training_loop
from mechicl.training.open_run import Start, fresh, open_run
from mechicl.training.states import last_state, own, restored, saved_weights
from mechicl.training.step import Trainer
from mechicl.training_interventions import TrainingIntervention

_log = logging.getLogger("mechicl")


@own_settings()
def branch(
    parent: Series | str | Path,
    at: int,
    *,
    steps: int | None = None,
    without: Sequence[tuple[int, int]] = (),
    reset_memory: bool = False,
    fresh_moments: bool = False,
    interventions: Sequence[TrainingIntervention] = (),
    changes: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    data: str | Path | None = None,
    device: str | None = None,
    log: str | None = None,
    progress: bool | Progress = True,
) -> Series:
    """Start a new run from a step of another run, with or without a change.

    Args:
        parent: the run, or its folder. It is not modified.
        at: the optimiser step to begin at; it need not have a checkpoint.
        steps: the branch's total number of steps, including the parent's first `at` (default: the parent's).
        without: heads whose outputs are 0 from `at` on, such as ((0, 5), (1, 3)).
        reset_memory: reinitialise the embeddings once, at `at`: this deletes the memory in the weights.
        fresh_moments: begin with a new optimiser: Adam's moments are cleared. Then the weights of a checkpoint suffice
            where no replay is possible, as on a machine unlike the one that trained the parent. If they are rounded to
            float16, so is the branch's start: a warning and its manifest say so.
        interventions: any others (docs/training-interventions.md). `start` 0, the default, means `at`.
        changes: other data or settings, by dotted name, such as {"sequences.burstiness": 0}. Changes of `sequences`
            affect only training: the evaluation sets stay the parent's.
        out: the branch's folder (default: next to its parent, named after the parent, the step and the change).
        data: the images' new path, for banks made of images.
        device: where to compute (default: the parent's device).
        log: as in `train`.
        progress: show a bar; or the bar to use.

    Returns:
        The finished branch. `resume` continues an interrupted branch, bit for bit.

    Raises:
        ConfigError: such a branch is impossible; the message says why.
        SeriesError: the parent has not reached this step, was not trained by mechicl, or cannot be replayed here
            (`ReplayError`, whose `nearest` is the nearest checkpoint); or the folder contains a run already.

    Examples:
        >>> series = mechicl.open_series("checkpoints/demo")
        >>> made = mechicl.branch(series, 24_000, steps=24_002, without=[(0, 5)], out="made", progress=False)
        >>> made.steps, made.origin.parent
        ([24000, 24002], 'demo')
    """
    series = parent if isinstance(parent, Series) else open_series(parent, data)
    _check_parent(series, at)
    device = to_go_on(series, device)
    logs.check(log)
    like = parent_like(series)
    added = [
        *shorthands(like.begins, at, without, reset_memory, fresh_moments),
        *(beginning(each, at) for each in interventions),
    ]
    root = given(series.root.parent / default_name(series.name, at, added, changes or {}) if out is None else out)
    config, added, changes = settled(like, at, steps, added, dict(changes or {}))
    config = called(config, root.name)
    fresh(root)
    source = _source(series, config, data)
    trainer, rounded = _trainer_at(series, at, device, progress, fresh_moments)
    state, weights = trainer.state(), saved_weights(trainer.params, series.config)
    start = Start(
        origin=Origin(
            parent=series.name,
            path=str(series.root),
            step=at,
            sha256=hashlib.sha256(serialised(weights)).hexdigest(),
            kept=_last_kept(series, at),
            start=hashlib.sha256(serialised(state)).hexdigest(),
            interventions=[plain(each) for each in added],
            changes=changes,
            rounded=rounded,
        ),
        state=serialised(state),
        grafts=series.manifest.get("grafts", []),
    )
    with (
        open_run(root, config, source, data or series.data, device, start=start),
        bar(root.name, config, at, config.steps, progress) as shown_progress,
    ):
        trainer = trainer_on(device).from_state(config, state, device)
        member = Member(root, config, source, log, first=at)
        training_loop([member], trainer, config.steps, set(planned(config, at)), shown_progress)
    return open_series(root)


def _check_parent(series: Series, at: int) -> None:
    """Raise unless the run can be branched at that step."""
    if "source" in series.manifest:
        raise SeriesError(
            f"{series.root} has checkpoints that mechicl did not train: there is neither data nor optimiser state "
            f"to continue from. Branch a run that mechicl trained, for example with {command('train', 'demo')}."
        )
    own(series)
    whole("at", at, "an optimiser step, as series.steps lists them")
    if problem := disagreement(series):
        raise SeriesError(problem)
    begins, reached = first_step(series.manifest), max(max(series.steps, default=0), last_state(series))
    if at < begins:
        origin = series.origin
        assert origin is not None
        earlier = command("branch", Path(origin.path), "--at", at)
        raise SeriesError(
            f"{series.root} is itself a branch that begins at step {begins}. Branch its parent: {earlier}."
        )
    if at <= reached:
        return
    if at > series.config.steps:
        more = command("train", "--resume", series.root, "--steps", at)
        raise SeriesError(f"{series.root} has steps {begins}..{series.config.steps}, no step {at}. More: {more}.")
    if is_locked(series.root):
        raise SeriesError(
            f"{series.root} is being trained and has only reached step {reached}: wait until it has passed step {at}, "
            "or "
            f"branch from an earlier step: {command('branch', series.root, '--at', reached)}."
        )
    resume = command("train", "--resume", series.root)
    raise SeriesError(f"{series.root} has only reached step {reached}, not {at}: run {resume} first.")


def _source(series: Series, config: Config, data: str | Path | None) -> Any:
    """What the branch's sequences are drawn from: its parent's source, unless the settings change it."""
    before, task = series.config, task_of(config)
    same = task.drawn_from(config) == task_of(before).drawn_from(before) and config.seeds == before.seeds
    if not same:
        return checked_source(config, task_of(before).kept(series.root) or data or series.data)
    checked_source(config, None, series.source)
    task.check(config)
    return series.source


def _trainer_at(
    series: Series, at: int, device: str, progress: bool | Progress, fresh_moments: bool
) -> tuple[Trainer, str | None]:
    """The parent's trainer at a step; and the dtype that its weights were rounded to, if they were.

    Raises:
        ReplayError: the replay came to other bytes than the parent saved, and nothing else is there to begin with.
        SeriesError: no replay is possible here, and nothing else is there to begin with.
    """
    dtype = series.config.weights_dtype
    suffice = fresh_moments and at in series.steps  # moments are cleared before they are used: any do
    if suffice and dtype == "float32":
        return _from_checkpoint(series, at, device), None
    trainer = restored(series, at, device)
    if trainer.step == at:
        return trainer, None
    try:
        check_replay(series, device)
        _replay(series, trainer, at, progress)
        return trainer, None
    except SeriesError as error:
        if not suffice:
            raise
        _log.warning(
            "mechicl: %s has no state at step %s and cannot be replayed here: the branch begins with the weights of "
            "its checkpoint, which are rounded to %s. So its bytes are not those of a run trained from step 0. (%s)",
            shown(series.root),
            at,
            dtype,
            error,
        )
        return _from_checkpoint(series, at, device), dtype


def _from_checkpoint(series: Series, at: int, device: str) -> Trainer:
    """The weights of a checkpoint, with moments of 0."""
    trainer = trainer_on(device)(series.config, pack(series.weights(at)), device)
    trainer.step = at
    return trainer


def _last_kept(series: Series, at: int) -> dict[str, Any]:
    """The parent's last checkpoint up to a step (step, sha256)."""
    kept = [e for e in series.entries if e.kind == "weights" and e.step <= at]
    if not kept:
        raise SeriesError(f"{series.root} has no checkpoints yet: {command('train', '--resume', series.root)}.")
    last = max(kept, key=lambda e: e.step)
    return {"step": last.step, "sha256": last.sha256}


def _replay(series: Series, trainer: Trainer, at: int, progress: bool | Progress) -> None:
    """The updates of the parent up to a step. Nothing is written."""
    saved = {e.step: e.sha256 for e in series.entries if e.kind == "weights"}
    silent = progress if isinstance(progress, bool) else False  # a given bar counts the branch's own sequences
    with (
        threads(series.config.threads),
        deterministic(trainer.device),
        bar(f"{shown(series.root)} to step {at}", series.config, trainer.step, at, silent) as told,
    ):
        for batch in training_batches(series.config, series.source, trainer.step, at):
            trainer.update(batch)
            told.update(series.config.batch_size)
            if trainer.step not in saved:
                continue
            data = serialised(saved_weights(trainer.params, series.config))
            if hashlib.sha256(data).hexdigest() != saved[trainer.step]:
                raise _differs(series, trainer.step, at)


def _differs(series: Series, step: int, at: int) -> ReplayError:
    """The error of a replay that was to lead to step `at`, and that left the saved bytes at `step`."""
    before_the_end = [each for each in series.steps if each < series.config.steps] or series.steps
    nearest = min(before_the_end, key=lambda each: abs(each - at))
    where = f"at step {nearest}" + ("" if nearest == at else ", the nearest one with saved weights")
    return ReplayError(
        f"{series.root}: the replay gives different weights at step {step} from the saved ones. "
        "Replays are exact on the same machine and device, torch version and thread count (see the run's "
        f"manifest.json). Without a replay a branch can begin {where}, with a new optimiser (fresh_moments).",
        nearest,
    )
