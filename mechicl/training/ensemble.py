"""Several seeds of one recipe at once: which run together in one pass, which side by side.

A process per core trains its share of the seeds. Within a process they can be stacked: one
pass over all of them, with parameters and batches on a leading axis. Stacking shares the
Python around the arithmetic, so it wins where a step is small, and loses where the stacked
activations no longer fit the caches; either way every run comes out with the bytes it would
have alone, so each process simply measures both and takes the quicker (docs/speed.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechicl.config import Config
from mechicl.engine.forward import stack
from mechicl.errors import ConfigError, SeriesError
from mechicl.loading import whole
from mechicl.models.params import init, pack
from mechicl.protocol.batch import stack_batches
from mechicl.schedule import checkpoint_steps
from mechicl.series import Series, open_series
from mechicl.system.cores import cores
from mechicl.system.devices import CPU, chosen, deterministic
from mechicl.system.disk import check_writable, is_file
from mechicl.system.paths import given, given_or_none
from mechicl.system.pool import Tally, run_tasks
from mechicl.system.surroundings import own_settings
from mechicl.system.work_queue import threads
from mechicl.training import logs
from mechicl.training.devices import left_by_others, trainer_on
from mechicl.training.loop import (
    Diverged,
    Member,
    Progress,
    SomeStopped,
    bar,
    check_config,
    checked_source,
    resumes_from,
    train,
    training_batches,
    training_loop,
)
from mechicl.training.open_run import open_run
from mechicl.training.replay import resume
from mechicl.training.step import Trainer

_TRIAL = 12  # steps timed each way before choosing
_GAIN = 0.95  # stacking must take less than this much of the time: it also delays the first results


@dataclass(frozen=True)
class How:
    """What all runs share; as in `train`."""

    data: str | Path | None
    device: str
    log: str | None


@own_settings()
def train_seeds(
    config: Config,
    seeds: Sequence[int],
    out: str | Path | None = None,
    *,
    data: str | Path | None = None,
    jobs: int | None = None,
    device: str | None = None,
    log: str | None = None,
    progress: bool = True,
) -> list[Series]:
    """Train one recipe with several seeds. Each seed becomes a series, `<out>-s<seed>`.

    Finished runs are skipped and interrupted runs are resumed, so after an interruption make the same call again. Every
    run is bit for bit the same as from `train`. On a GPU all new runs are trained together, and are the same up to
    rounding. A run that stops, as one that diverges does, stops alone: the error comes when the others are trained.

    Args:
        config: a recipe's Config; each seed replaces its init and data seeds.
        seeds: the seeds, such as range(5).
        out: the runs' folder without the seed (default checkpoints/<config.name>).
        jobs: number of processes (default: one per available core, at most one per seed; on a GPU one).
        data: as in `train`.
        device: as in `train`.
        log: as in `train`; each run is one of the logger's.
        progress: as in `train`.

    Returns:
        The series, in the order of the seeds.

    Raises:
        ConfigError: there is a run that was trained with other settings.
        SeriesError: runs diverged (`Diverged`) or could not be written: which, and why; the others are complete.
    """
    check_config(config)
    device = chosen(device)
    logs.check(log)
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        raise ConfigError(f"seeds={seeds!r}: expected several, such as [0, 1, 2] or range(5).")
    seeds = [whole("seeds", seed, "a seed") for seed in seeds]
    if not seeds:
        raise ConfigError("seeds=[]: expected at least one.")
    if jobs is not None and whole("jobs", jobs, "a number of processes") < 1:
        raise ConfigError(f"jobs={jobs}: expected at least one process.")
    base, data = given(Path("checkpoints") / config.name if out is None else out), given_or_none(data)
    plan = {base.with_name(f"{base.name}-s{seed}"): config.with_seed(seed) for seed in seeds}
    fresh, begun_before = [], []
    for root, settings in plan.items():
        if not is_file(root / "manifest.json"):
            check_writable(root, "Train elsewhere with --out DIR.")
            fresh.append(root)
        elif open_series(root).config != settings:
            raise ConfigError(
                f"{root} was trained with different settings from those of recipe {config.name} now: "
                "move it away, or choose another folder with --out DIR."
            )
        else:
            begun_before.append(root)
    left = {root: settings.steps - _done(root) for root, settings in plan.items()}
    for root in begun_before:
        if left[root]:
            check_writable(root)
    how = How(data, device, log)
    workers = max(1, min(jobs or (cores() if device == CPU else 1), sum(map(bool, left.values()))))
    # Resumed runs stand at different steps, so each goes alone; fresh ones are shared out.
    shares = [[root] for root in begun_before if left[root]]
    shares += [fresh[i::workers] for i in range(workers) if fresh[i::workers]]
    with bar(f"{base.name} x {len(plan)}", config, 0, config.steps, progress, len(plan)) as shown:
        shown.update(sum(config.steps - n for n in left.values()) * config.batch_size)
        tasks = [[(root, plan[root]) for root in share] for share in shares]
        if workers == 1:
            stopped = {root: error for task in tasks for root, error in _share(task, how, shown).items()}
        else:
            stopped = _in_processes(tasks, how, workers, shown)
    if stopped:
        raise _all_of(stopped, len(plan))
    return [open_series(root) for root in plan]


def _done(root: Path) -> int:
    """The step from which `resume` will go on."""
    return resumes_from(open_series(root)) if (root / "manifest.json").exists() else 0


def _all_of(stopped: Mapping[Path, Exception], n: int) -> Exception:
    """One error for the runs that stopped, of `n`: where all is said by one error, that one; else of their kind, with
    the text of each."""
    errors, named = list(stopped.values()), dict[str, list[str]]()
    for root, error in stopped.items():
        named.setdefault(str(error), []).append(root.name)
    if len(named) == 1 and len(stopped) in (1, n):
        return errors[0]
    others = [type(error) for error in errors if not isinstance(error, SeriesError)]
    kind = Diverged if all(isinstance(error, Diverged) for error in errors) else (*others, SeriesError)[0]
    rest = "None is complete" if len(stopped) == n else "The others are complete"
    lines = [f"{', '.join(names)}: {text}" for text, names in named.items()]
    return kind("\n".join([f"{len(stopped)} of {n} runs stopped. {rest}.", *lines]))


def _share(share: list[tuple[Path, Config]], how: How, shown: Progress) -> dict[Path, SeriesError]:
    """Train these runs in this process, one after another or stacked. Returns why which of them stopped."""
    alone = any(config.training_interventions for _, config in share)  # each by its own seed: not in one pass
    if len(share) == 1 or alone or any((root / "manifest.json").exists() for root, _ in share):
        sources = None
    else:
        sources = [checked_source(config, how.data) for _, config in share]
    # A GPU's steps are bound by launches, which all share: there is nothing to time.
    if sources is None or (how.device == CPU and not stacking_wins([config for _, config in share], sources)):
        stopped: dict[Path, SeriesError] = {}
        for root, config in share:
            try:
                _alone(root, config, how, shown)
            except SeriesError as error:
                stopped[root] = error
        return stopped
    return _together(share, sources, how, shown)


def _together(
    share: list[tuple[Path, Config]], sources: Sequence[Any], how: How, shown: Progress
) -> dict[Path, SeriesError]:
    """Train new runs stacked. Those that stop are left out from there on. Returns why which of them stopped."""
    stopped: dict[Path, SeriesError] = {}
    with ExitStack() as held:
        members = []
        for (root, config), source in zip(share, sources, strict=True):
            held.enter_context(open_run(root, config, source, how.data, how.device, len(share)))
            members.append(Member(root, config, source, how.log))
        config = members[0].config
        trainer = trainer_on(how.device)(config, stack(pack(init(member.config)) for member in members), how.device)
        while members:
            try:
                training_loop(members, trainer, config.steps, set(checkpoint_steps(config)), shown)
                break
            except SomeStopped as some:
                stopped |= {members[i].root: error for i, error in some.errors.items()}
                kept = [i for i in range(len(members)) if i not in some.errors]
            except SeriesError as error:
                stopped |= {member.root: error for member in members}
                break
            members = [members[i] for i in kept]
            trainer = trainer.only(kept) if kept else trainer
            with deterministic(how.device):
                for member in members:
                    left_by_others(member.root, how.device, trainer.step, len(members))
    return stopped


def _alone(root: Path, config: Config, how: How, shown: Progress) -> None:
    if (root / "manifest.json").exists():
        resume(root, data=how.data, device=how.device, log=how.log, progress=shown)
    else:
        train(config, root, data=how.data, device=how.device, log=how.log, progress=shown)


def stacking_wins(configs: Sequence[Config], sources: Sequence[Any]) -> bool:
    """Whether one pass over all of these runs is quicker than one after another: timed, here
    and now, in turns, the best of three each."""
    batches = [list(training_batches(c, b, 0, _TRIAL)) for c, b in zip(configs, sources, strict=True)]
    together = [stack_batches(group) for group in zip(*batches, strict=True)]
    one = Trainer(configs[0], pack(init(configs[0])))
    many = Trainer(configs[0], stack(pack(init(c)) for c in configs))
    spent = {"one": [], "many": []}
    with threads(configs[0].threads):
        for _ in range(3):
            for name, trainer, listed in (("one", one, batches[0]), ("many", many, together)):
                start = time.perf_counter()
                for batch in listed:
                    trainer.update(batch)
                spent[name].append(time.perf_counter() - start)
    return min(spent["many"]) < _GAIN * len(configs) * min(spent["one"])


@own_settings()  # a process of its own has its own
def _work(share: list[tuple[Path, Config]], how: How, tell: Callable[..., Any]) -> None:
    tally = Tally(tell)
    stopped = _share(share, how, tally)
    tally.flush()
    tell(stopped)


def _in_processes(
    shares: list[list[tuple[Path, Config]]], how: How, workers: int, shown: Progress
) -> dict[Path, Exception]:
    """Train each share in a process. Returns why which runs stopped: where a process failed, all that it left."""
    stopped: dict[Path, Exception] = {}

    def heard(_: int, told: str | int | dict[Path, Exception]) -> None:
        if isinstance(told, dict):
            stopped.update(told)
        else:
            shown.set_postfix_str(told) if isinstance(told, str) else shown.update(told)

    for number, error in run_tasks(_work, [(share, how) for share in shares], workers, heard):
        if error is not None:
            stopped |= {root: error for root, config in shares[number] if _done(root) < config.steps}
    return stopped
