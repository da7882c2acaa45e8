"""Several seeds of one recipe at once: which run together in one pass, which side by side.

A process per core trains its share of the seeds. Within a process they can be stacked: one
pass over all of them, with parameters and batches on a leading axis. Stacking shares the
Python around the arithmetic, so it wins where a step is small, and loses where the stacked
activations no longer fit the caches; either way every run comes out with the bytes it would
have alone, so each process simply measures both and takes the quicker (docs/speed.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechicl.config import Config
from mechicl.engine.forward import stack
from mechicl.errors import ConfigError
from mechicl.loading import whole
from mechicl.models.params import init, pack
from mechicl.protocol.batch import stack_batches
from mechicl.schedule import checkpoint_steps
from mechicl.series import Series, open_series
from mechicl.system.cores import cores
from mechicl.system.devices import CPU, chosen
from mechicl.system.disk import check_writable, is_file
from mechicl.system.paths import given, given_or_none
from mechicl.system.pool import Tally, run_tasks
from mechicl.system.surroundings import own_settings
from mechicl.system.work_queue import threads
from mechicl.training import logs
from mechicl.training.devices import trainer_on
from mechicl.training.loop import (
    Member,
    Progress,
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
    rounding.

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
        SeriesError: a run could not be written; the others are complete.
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
        if workers == 1:
            for share in shares:
                _share([(root, plan[root]) for root in share], how, shown)
        else:
            _in_processes([[(root, plan[root]) for root in share] for share in shares], how, workers, shown)
    return [open_series(root) for root in plan]


def _done(root: Path) -> int:
    """The step from which `resume` will go on."""
    return resumes_from(open_series(root)) if (root / "manifest.json").exists() else 0


def _share(share: list[tuple[Path, Config]], how: How, shown: Progress) -> None:
    """Train these runs in this process, one after another or stacked."""
    alone = any(config.training_interventions for _, config in share)  # each by its own seed: not in one pass
    if len(share) == 1 or alone or any((root / "manifest.json").exists() for root, _ in share):
        sources = None
    else:
        sources = [checked_source(config, how.data) for _, config in share]
    # A GPU's steps are bound by launches, which all share: there is nothing to time.
    if sources is None or (how.device == CPU and not stacking_wins([config for _, config in share], sources)):
        for root, config in share:
            _alone(root, config, how, shown)
        return
    with ExitStack() as held:
        members = []
        for (root, config), source in zip(share, sources, strict=True):
            held.enter_context(open_run(root, config, source, how.data, how.device, len(share)))
            members.append(Member(root, config, source, how.log))
        config = members[0].config
        trainer = trainer_on(how.device)(config, stack(pack(init(member.config)) for member in members), how.device)
        training_loop(members, trainer, config.steps, set(checkpoint_steps(config)), shown)


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
    _share(share, how, tally)
    tally.flush()


def _in_processes(shares: list[Any], how: How, workers: int, shown: Progress) -> None:
    def heard(_: int, told: str | int) -> None:
        shown.set_postfix_str(told) if isinstance(told, str) else shown.update(told)

    tasks = [(share, how) for share in shares]
    failed = [error for _, error in run_tasks(_work, tasks, workers, heard) if error is not None]
    if failed:
        raise failed[0]
