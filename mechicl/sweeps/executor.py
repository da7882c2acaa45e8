"""Where a sweep's runs are trained: an interface, and processes on this machine.

An executor is a function of jobs, as `run_tasks` is of tasks. It may run them in any order, on any machine that sees
the same files. A job trains in its own directory and leaves everything there. So the executor only reports how far
each job is and how it ended.
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
    """One run to train or to continue. root: its directory; data, device, log: as in `train`."""

    root: Path
    config: Config
    data: str | Path | None = None
    device: str | None = None
    log: str | None = None


Heard = Callable[[int, int | str], None]  # a job's number; sequences trained since, or a text


class Executor(Protocol):
    """Runs jobs. It may call `heard` with what a job reports. It yields each job's number when the job ends, with None
    or with the error that ended it. If it is closed early, it stops the jobs that it started, or leaves them where the
    next sweep finds them."""

    def __call__(self, jobs: Sequence[Job], heard: Heard) -> Iterator[tuple[int, Exception | None]]: ...


def train_job(job: Job, tell: Callable[[int | str], None] = lambda told: None) -> None:
    """Train this run, or continue it, to its end."""
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
