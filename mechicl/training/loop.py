"""The loop: data -> step -> schedule -> series. Its two replays are in replay.py.

Every batch is a function of the data seed and the step number alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from mechicl.config import Config
from mechicl.errors import ConfigError, SeriesError
from mechicl.evaluators import EVALUATORS, evaluate_params, evaluation_set, evaluation_sets
from mechicl.own_code import is_yours
from mechicl.protocol.batch import TaskBatch, stack_batches
from mechicl.protocol.known import task_of
from mechicl.registry import applying, main
from mechicl.schedule import checkpoint_steps, evaluated_steps, resume_steps, state_steps
from mechicl.series import Series, open_series
from mechicl.series.ending import has_states
from mechicl.series.finite import Diverged as Diverged
from mechicl.series.finite import check_checkpoint, check_scores
from mechicl.series.recorded import replace_line, signed
from mechicl.series.source import built, check_repeats
from mechicl.series.storage import Writer, drop_latest, latest_step, save_latest
from mechicl.system.devices import CPU, chosen, deterministic
from mechicl.system.files import append_line, read_jsonl
from mechicl.system.paths import given, given_or_none
from mechicl.system.progress import bar as progress_bar
from mechicl.system.surroundings import own_settings
from mechicl.system.work_queue import threads
from mechicl.training import graft, logs
from mechicl.training.devices import trainer_on
from mechicl.training.evaluation_sets import keep_or_compare
from mechicl.training.open_run import fresh, open_run
from mechicl.training.own_task import check_task
from mechicl.training.states import resumes_from as resumes_from
from mechicl.training.states import saved_weights as saved_weights
from mechicl.training.step import Trainer
from mechicl.training_interventions import in_force


@own_settings()
def train(
    config: Config,
    out: str | Path | None = None,
    *,
    data: str | Path | None = None,
    device: str | None = None,
    log: str | None = None,
    progress: bool | Progress = True,
) -> Series:
    """Train a series from step 0.

    Args:
        config: a recipe's Config (`mechicl.recipes`).
        out: the run's directory (default `checkpoints/<config.name>`).
        data: folder of images, for banks made of images.
        device: where to compute, as torch calls it: cpu (the default), cuda, cuda:1 or mps. It is no part of the
            config, but of the manifest. Checkpoints are the same files, and open on any machine.
        log: tensorboard, wandb or trackio: the curves go there too, as they come.
        progress: show a bar with loss, speed, time left and the last evaluators; or the bar to use.

    Returns:
        The finished series.

    Raises:
        ConfigError: this machine has no such device or logger.
        SeriesError: the directory holds a run already or cannot be written to, or the disk is full.
    """
    check_config(config)
    device = chosen(device)
    logs.check(log)
    root, data = given(Path("checkpoints") / config.name if out is None else out), given_or_none(data)
    fresh(root)
    source = checked_source(config, data)
    with open_run(root, config, source, data, device), bar(root.name, config, 0, config.steps, progress) as shown:
        trainer = trainer_on(device)(config, graft.initial_params(config, root), device)
        training_loop([Member(root, config, source, log)], trainer, config.steps, set(checkpoint_steps(config)), shown)
    return open_series(root)


def checked_source(config: Config, data: str | Path | None, source: Any = None) -> Any:
    """What sequences are drawn from, or `source`; what is impossible is refused before anything is written."""
    check_config(config)
    checkpoint_steps(config)
    task = task_of(config)
    if data is not None and (why := task.reads_no_data(config)):
        raise ConfigError(f"data={str(data)!r}: it would be ignored: {why}.")
    if source is None:
        source = built(config, data)
        check_repeats(config, data, source)
    begins = task.source_at(config, source, 0)
    sets = evaluation_sets(config, begins, n=1)
    for name in applying(config):
        if is_yours("evaluator", name):  # what its draw returns may depend on chance: the set itself
            sets[name] = evaluation_set(name, config, begins)
    check_task(config, source, sets)
    return source


def check_config(config: object) -> None:
    """Raise unless it is a Config: a recipe's name or the recipe itself is the usual mistake."""
    if isinstance(config, Config) and config.model.hooked:
        raise ConfigError(
            "model.hooked describes a model that mechicl did not make, which it does not train: leave it out."
        )
    if not isinstance(config, Config):
        known = "mechicl.recipes.get(NAME)" if isinstance(config, str) else "as mechicl.recipes.demo() returns one"
        raise ConfigError(f"config={config!r}: expected a Config ({known}), not {type(config).__name__}.")


@dataclass(frozen=True)
class Member:
    """One run of those that are trained together."""

    root: Path
    config: Config
    source: Any  # what its sequences are drawn from
    log: str | None = None  # where its curves go
    first: int = 0  # the step that it begins at


class SomeStopped(SeriesError):
    """Some of several runs that are trained together stopped, at one step. The others have their checkpoint of it and
    can go on. errors: why, by place among the members."""

    def __init__(self, errors: Mapping[int, SeriesError]):
        super().__init__(" ".join(map(str, errors.values())))
        self.errors = errors


def training_batches(config: Config, source: Any, start: int, stop: int) -> Iterator[TaskBatch]:
    """The batches of updates `start`..`stop` - 1: a pure function of seed and step number."""
    return task_of(config).batches(config, source, start, stop)


class Progress(Protocol):
    """What training reports to: a tqdm bar, or what stands for it in another process."""

    def update(self, n: int) -> Any: ...
    def set_postfix_str(self, s: str) -> Any: ...


@contextmanager
def bar(
    name: str, config: Config, start: int, stop: int, progress: bool | Progress, runs: int = 1
) -> Iterator[Progress]:
    """The progress bar of `runs` runs from step `start` to `stop`, counting sequences; or the
    one that is given."""
    if not isinstance(progress, bool):
        yield progress
        return
    size = config.batch_size * runs
    with progress_bar(
        stop * size, name, show=progress, initial=start * size, unit=" sequences", unit_scale=True, smoothing=0.05
    ) as shown:
        yield shown


def training_loop(members: Sequence[Member], trainer: Trainer, stop: int, keep: set[int], shown: Progress) -> None:
    """Train one run, or several of one recipe stacked, up to `stop`, evaluating as scheduled and
    saving the weights of the steps in `keep`, which are evaluated too.

    With several, the trainer's parameters are stacked in the order of `members`; every run is
    saved as a series of its own, in the bytes it would have had alone.

    Raises:
        SeriesError: the run stopped, as where it diverges; of several, `SomeStopped` says which did.
    """
    config = members[0].config
    writers = [Writer(member.root) for member in members]
    evaluated = keep | set(evaluated_steps(config))
    states = state_steps(config) if has_states(members[0].root) else set()  # none to a run passed on without them
    resumed = resume_steps(config)
    if trainer.device != CPU:  # no replay between it and the last checkpoint, wherever the run goes on
        resumed = evaluated
    task = task_of(config)

    def sets_of(member: Member, source: Any) -> dict[str, Any]:
        sets = evaluation_sets(member.config, source)
        return sets if trainer.device == CPU else {name: batch.to(trainer.device) for name, batch in sets.items()}

    fixed = None if task.changes(config) else [sets_of(member, member.source) for member in members]
    for member, sets in zip(members, fixed or (), strict=False):
        keep_or_compare(member.root, sets)
    scored = [{line["step"] for line in read_jsonl(member.root / "metrics.jsonl")} for member in members]
    reached = [latest_step(member.root) for member in members]  # a replay of earlier steps must not throw it away
    losses: list[torch.Tensor] = []

    def checkpoint() -> None:
        stopped: dict[int, SeriesError] = {}
        for i in range(len(members)):
            try:
                checkpoint_of(i)
            except SeriesError as error:  # the others do not depend on it
                stopped[i] = error
        if stopped:
            raise stopped[0] if len(members) == 1 else SomeStopped(stopped)

    def checkpoint_of(i: int) -> None:
        member, writer, step = members[i], writers[i], trainer.step
        sets = fixed[i] if fixed else sets_of(member, task.source_at(config, member.source, step))
        again, saving = step in scored[i], writer if step in keep else None
        told[i](_checkpoint(member, trainer, i, saving, sets, losses, shown, again))
        if step in states or writer.has("state", step):
            writer.save("state", step, step * config.batch_size, trainer.state(i))
        elif step in resumed and step > reached[i]:
            save_latest(member.root, trainer.state(i))

    with threads(config.threads), deterministic(trainer.device), ExitStack() as stack:
        told = [stack.enter_context(logs.logged(each.log, each.root, each.config)) for each in members]
        if trainer.step == members[0].first:
            checkpoint()
        for batch in _batches(members, trainer.step, stop):
            losses.append(trainer.update(batch))
            shown.update(config.batch_size * len(members))
            if trainer.step in evaluated:
                checkpoint()
                losses = []
    for member in members:
        if open_series(member.root).complete:
            drop_latest(member.root)


def _batches(members: Sequence[Member], start: int, stop: int) -> Iterator[TaskBatch]:
    """Each step's batch; of several runs, theirs stacked."""
    each = [training_batches(member.config, member.source, start, stop) for member in members]
    return each[0] if len(each) == 1 else map(stack_batches, zip(*each, strict=True))


def _checkpoint(
    member: Member,
    trainer: Trainer,
    i: int,
    writer: Writer | None,
    sets: dict[str, Any],
    losses: list[torch.Tensor],
    shown: Progress,
    again: bool,
) -> dict[str, Any]:
    """Evaluate run `i`, and, given a writer, save its weights. Returns what it recorded. again: the step has a line."""
    config, root, step = member.config, member.root, trainer.step
    sequences, params = step * config.batch_size, trainer.member(i)
    loss = float(torch.stack([x.view(-1)[i] for x in losses]).cpu().double().mean()) if losses else None
    weights = saved_weights(params, config)
    check_checkpoint(root, step, trainer.held(i), weights, loss)
    interventions = in_force(config.training_interventions, step)
    rows = evaluate_params(params, sets, config, interventions)
    check_scores(root, step, rows)
    record = {"step": step, "sequences": sequences, "training_loss": loss, "evaluators": rows}
    if interventions:
        record["training_interventions"] = [str(x) for x in interventions]
    if not again:
        append_line(root / "metrics.jsonl", signed(record))
    elif writer is not None and not writer.has("weights", step):  # scored before a failure, and then not saved
        replace_line(root / "metrics.jsonl", record)
    if writer is not None:  # after its scores: a run with all its weights has all its curves, whenever it is killed
        writer.save("weights", step, sequences, weights)
    value = {r["evaluator"]: r["value"] for r in rows if r["metric"] == EVALUATORS[r["evaluator"]].primary_metric}
    text = " ".join(f"{k} {value[k]:.2f}" for k in main() if k in value)
    shown.set_postfix_str(text if loss is None else f"loss {loss:.3f} {text}")
    return record
