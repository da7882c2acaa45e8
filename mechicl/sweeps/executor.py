"""A sweep's runs as jobs (system/executor.py), and processes of this machine that train them.

A job trains in its own directory and leaves everything there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mechicl.config import Config
from mechicl.errors import SeriesError
from mechicl.protocol.known import task_of
from mechicl.series import open_series
from mechicl.series.ending import has_ended
from mechicl.series.finite import Diverged
from mechicl.sweeps.branching import Branching
from mechicl.system.cores import cores
from mechicl.system.devices import CPU
from mechicl.system.executor import Heard, waits_for
from mechicl.system.files import read_jsonl
from mechicl.system.pool import Tally, TaskError, run_tasks


@dataclass(frozen=True)
class Job:
    """One run to train or to continue. root: its directory; data, device, log: as in `train`.

    Of a branch, branch says how it branches and parent is the run that it begins from. after: the name of the job that
    trains that run now.
    """

    root: Path
    config: Config
    data: str | Path | None = None
    device: str | None = None
    log: str | None = None
    branch: Branching | None = None
    parent: Path | None = None
    after: str | None = None

    @property
    def name(self) -> str:
        return self.root.name

    def run(self, tell: Callable[[int | str], None]) -> None:
        train_job(self, tell)

    def finished(self) -> bool:
        return (self.root / "manifest.json").exists() and has_ended(open_series(self.root))

    def progress(self) -> int:
        """Sequences seen, by the last line of metrics; of a branch, since it began."""
        begins = self.branch.at * self.config.batch_size if self.branch else 0
        return max((line["sequences"] - begins for line in read_jsonl(self.root / "metrics.jsonl")), default=0)

    def failure(self, kind: str, text: str) -> Exception:
        return (Diverged if kind == Diverged.__name__ else TaskError)(text)


class Executor(Protocol):
    """As of system/executor.py, of runs."""

    def __call__(self, jobs: Sequence[Job], heard: Heard) -> Iterator[tuple[int, Exception | None]]: ...


def train_job(job: Job, tell: Callable[[int | str], None] = lambda told: None) -> None:
    """Train this run, or continue it, to its end."""
    from mechicl.training.loop import train
    from mechicl.training.replay import resume

    tally = Tally(tell)
    if (job.root / "manifest.json").exists():
        resume(job.root, data=job.data, device=job.device, log=job.log, progress=tally)
    elif job.branch is not None:
        _begin_branch(job, job.branch, tally)
    else:
        train(job.config, job.root, data=_read(job), device=job.device, log=job.log, progress=tally)
    tally.flush()


def _begin_branch(job: Job, branching: Branching, tally: Tally) -> None:
    from mechicl.training.branching import branch

    assert job.parent is not None
    if not (job.parent / "manifest.json").exists():
        raise SeriesError(
            f"{job.name} branches from {job.parent}, which is not there: it was not begun, or failed before its first "
            "step. The same sweep tries both again."
        )
    branch(
        job.parent,
        branching.at,
        steps=branching.steps,
        without=branching.without,
        reset_memory=branching.reset_memory,
        fresh_moments=branching.fresh_moments,
        interventions=branching.interventions,
        changes=branching.changes,
        out=job.root,
        data=_read(job),
        device=job.device,
        log=job.log,
        progress=tally,
    )


def _read(job: Job) -> str | Path | None:
    """The sweep's data, where this run reads any: others of the sweep may."""
    return None if task_of(job.config).reads_no_data(job.config) else job.data


@dataclass(frozen=True)
class Local:
    """Processes on this machine, one run at a time in each (default: one per core that may be used; of runs on a GPU
    one)."""

    jobs: int | None = None

    def __call__(self, jobs: Sequence[Job], heard: Heard) -> Iterator[tuple[int, Exception | None]]:
        on_cpu = all(job.device in (None, CPU) for job in jobs)
        workers = self.jobs or (cores() if on_cpu else 1)
        return run_tasks(train_job, [(job,) for job in jobs], workers, heard, waits_for(jobs))
