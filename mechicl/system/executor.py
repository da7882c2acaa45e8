"""Work in jobs, and where they are done: processes on this machine here, a cluster in slurm.py.

An executor is a function of jobs. It may do them in any order, on any machine that sees the same files. A job leaves
everything on the disk, and goes on there when it is done again. So the executor only reports how far each job is and
how it ended.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mechicl.errors import ConfigError, SeriesError
from mechicl.loading import whole
from mechicl.system.pool import run_tasks

Tell = Callable[[Any], Any]  # how much was done since, or a text
Heard = Callable[[int, Any], Any]  # a job's number, and what it told
READABLE: dict[str, type[Exception]] = {error.__name__: error for error in (ConfigError, SeriesError)}


class Job(Protocol):
    """A piece of work that can be pickled."""

    @property
    def name(self) -> str:
        """The same in every call, and no other job's."""
        ...

    @property
    def after(self) -> str | None:
        """The name of the job that must have ended before this one begins, well or not; None: of none."""
        ...

    def run(self, tell: Tell) -> None:
        """Do it, or what is left of it."""

    def finished(self) -> bool:
        """Whether it is done, by what is on the disk."""
        ...

    def progress(self) -> int:
        """How far it is, by what is on the disk."""
        ...

    def failure(self, kind: str, text: str) -> Exception:
        """The error of another process, from the name of its class and its text."""
        ...


class Executor(Protocol):
    """Does jobs. It may call `heard` with what a job tells. It yields each job's number when the job ends, with None or
    with the error that ended it. If it is closed early, it stops the jobs that it started, or leaves them where the
    next call finds them. pieces: into how many jobs work is best cut."""

    @property
    def pieces(self) -> int: ...

    def __call__(self, jobs: Sequence[Any], heard: Heard) -> Iterator[tuple[int, Exception | None]]: ...


@dataclass(frozen=True)
class Processes:
    """So many processes on this machine (pool.py)."""

    workers: int

    @property
    def pieces(self) -> int:
        return 4 * self.workers  # so that none is idle for long at the end

    def __call__(self, jobs: Sequence[Job], heard: Heard) -> Iterator[tuple[int, Exception | None]]:
        # Pickled here, not by the pipe: that would put tensors into shared memory, and read a plugin's classes before
        # the plugin is imported.
        return run_tasks(_run, [(pickle.dumps(job),) for job in jobs], self.workers, heard, waits_for(jobs))


def _run(job: bytes, tell: Tell) -> None:
    pickle.loads(job).run(tell)


def waits_for(jobs: Sequence[Any]) -> dict[int, int]:
    """Of each job that is after another one of these: its number, and that one's."""
    numbers = {job.name: number for number, job in enumerate(jobs)}
    return {number: numbers[job.after] for number, job in enumerate(jobs) if job.after in numbers}


def executor_of(workers: int | Executor) -> Executor | None:
    """Who makes tables beside this process; None: nobody, it is the only worker.

    Raises:
        ConfigError: a number below 1, or something else.
    """
    if callable(workers):
        return workers
    count = whole("workers", workers, "how many processes")
    if count < 1:
        raise ConfigError(f"workers={count}: expected at least 1.")
    return None if count == 1 else Processes(count)
