"""A sweep's runs as jobs (system/executor.py), and processes of this machine that train them.

A job trains in its own directory and leaves everything there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mechicl.config import Config
from mechicl.protocol.task import task_of
from mechicl.series import open_series
from mechicl.series.finite import Diverged
from mechicl.system.cores import cores
from mechicl.system.devices import CPU
from mechicl.system.executor import Heard
from mechicl.system.files import read_jsonl
from mechicl.system.pool import Tally, TaskError, run_tasks


@dataclass(frozen=True)
class Job:
    """One run to train or to continue. root: its directory; data, device, log: as in `train`."""

    root: Path
    config: Config
    data: str | Path | None = None
    device: str | None = None
    log: str | None = None

    @property
    def name(self) -> str:
        return self.root.name

    def run(self, tell: Callable[[int | str], None]) -> None:
        train_job(self, tell)

    def finished(self) -> bool:
        return (self.root / "manifest.json").exists() and open_series(self.root).complete

    def progress(self) -> int:
        """Sequences seen, by the last line of metrics."""
        return max((line["sequences"] for line in read_jsonl(self.root / "metrics.jsonl")), default=0)

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
    else:
        unread = task_of(job.config).reads_no_data(job.config)  # others of the sweep may read them
        train(job.config, job.root, data=None if unread else job.data, device=job.device, log=job.log, progress=tally)
    tally.flush()


@dataclass(frozen=True)
class Local:
    """Processes on this machine, one run at a time in each (default: one per core that may be used; of runs on a GPU
    one)."""

    jobs: int | None = None

    def __call__(self, jobs: Sequence[Job], heard: Heard) -> Iterator[tuple[int, Exception | None]]:
        on_cpu = all(job.device in (None, CPU) for job in jobs)
        return run_tasks(train_job, [(job,) for job in jobs], self.jobs or (cores() if on_cpu else 1), heard)
