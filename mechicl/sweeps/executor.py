"""Where a sweep's runs are trained: an interface, and processes on this machine.

An executor is a function of jobs, as `run_tasks` is of tasks. It may run them in any order and
any place that sees the same files: a job is trained in its own directory and leaves everything
there, so what the executor has to tell is only how far each one is, and how it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mechicl.config import Config
from mechicl.system.cores import cores
from mechicl.system.devices import CPU
from mechicl.system.pool import Tally, run_tasks


@dataclass(frozen=True)
class Job:
    """One run to train or to go on with. root: its directory; data, device, log: as in `train`."""

    root: Path
    config: Config
    data: str | Path | None = None
    device: str | None = None
    log: str | None = None


Heard = Callable[[int, int | str], None]  # a job's number; sequences trained since, or a text


class Executor(Protocol):
    """Runs jobs. `heard` may be called with what a job reports; yields each job's number as it
    ends, with None or the error that ended it. Closed early, it stops what it started or leaves
    it where the next sweep finds it."""

    def __call__(self, jobs: Sequence[Job], heard: Heard) -> Iterator[tuple[int, Exception | None]]: ...


def train_job(job: Job, tell: Callable[[int | str], None] = lambda told: None) -> None:
    """Train this run, or go on with it, to its end."""
    from mechicl.training.loop import resume, train

    tally = Tally(tell)
    if (job.root / "manifest.json").exists():
        resume(job.root, data=job.data, device=job.device, log=job.log, progress=tally)
    else:
        train(job.config, job.root, data=job.data, device=job.device, log=job.log, progress=tally)
    tally.flush()


@dataclass(frozen=True)
class Local:
    """Processes on this machine, one run at a time in each (default: one per core that may be used; of runs on a GPU
    one)."""

    jobs: int | None = None

    def __call__(self, jobs: Sequence[Job], heard: Heard) -> Iterator[tuple[int, Exception | None]]:
        on_cpu = all(job.device in (None, CPU) for job in jobs)
        return run_tasks(train_job, [(job,) for job in jobs], self.jobs or (cores() if on_cpu else 1), heard)
