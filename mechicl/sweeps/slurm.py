"""A sweep's runs as jobs of a Slurm cluster, submitted with submitit (`pip install --editable '.[slurm]'`).

Nothing is kept in memory. `<folder>/jobs.jsonl` says which job has which run. The run's own directory says how far it
is; the nodes must see it under the same path. So the sweep's own process may be killed: the jobs continue, and the
next call finds them and does not submit a second one. `squeue` says which jobs are alive, so no accounting database is
needed. submitit queues a job again when it reaches its time limit, and the job continues from its last state.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mechicl import plugins
from mechicl.errors import ConfigError, SeriesError
from mechicl.series import open_series
from mechicl.sweeps.executor import Heard, Job, train_job
from mechicl.system.commands import install
from mechicl.system.files import append_line, read_json, read_jsonl, write_json
from mechicl.system.pool import TaskError
from mechicl.training.loop import Diverged

DEFAULTS = {"timeout_min": 240, "mem_gb": 4, "cpus_per_task": 1, "name": "mechicl"}


@dataclass(frozen=True)
class Task:
    """What a job runs. At a time limit submitit asks `checkpoint` what to queue again. It is the same call, because a
    run that is called again continues. modules: plugins that it needs, found from the directory of the sweep."""

    modules: tuple[str, ...] = ()

    def __call__(self, job: Job, error_file: Path) -> None:
        error_file.unlink(missing_ok=True)
        try:
            plugins.load(self.modules)
            train_job(job)
        except Exception as error:
            write_json(error_file, {"error": str(error), "diverged": isinstance(error, Diverged)})
            raise

    def checkpoint(self, job: Job, error_file: Path):
        import submitit

        return submitit.helpers.DelayedSubmission(self, job, error_file)


@dataclass(frozen=True)
class Slurm:
    """An executor (executor.py).

    folder: for submitit's files, logs and `jobs.jsonl`; on a disk that the nodes see.
    settings: submitit's parameters, the file's [slurm] table: slurm_partition, timeout_min, ...
    at_once: how many jobs may run at a time (default: as many as the cluster allows).
    poll: seconds between two looks at the queue.
    """

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    at_once: int | None = None
    poll: float = 10.0

    def __call__(self, jobs: Sequence[Job], heard: Heard) -> Iterator[tuple[int, Exception | None]]:
        running, seen = self._submit(jobs), [_sequences(job) for job in jobs]
        yield from ((i, None) for i in range(len(jobs)) if i not in running)
        while running:
            alive = queued()
            for i, number in list(running.items()):
                now = _sequences(jobs[i])
                if now > seen[i]:
                    heard(i, now - seen[i])
                    seen[i] = now
                if alive is not None and number not in alive:
                    del running[i]
                    yield i, self._ending(jobs[i], number)
            if running:
                time.sleep(self.poll)

    def _submit(self, jobs: Sequence[Job]) -> dict[int, str]:
        """The Slurm job of each run: the one that is still queued or running, or a new one. None
        for a run that an earlier job has just finished."""
        alive = queued()
        if alive is None:
            raise SeriesError(
                "`squeue` does not answer: is this a machine of the cluster? Without --slurm, runs are trained here."
            )
        known = {line["run"]: line["job"] for line in read_jsonl(self.folder / "jobs.jsonl")}
        numbers = {i: known[job.root.name] for i, job in enumerate(jobs) if known.get(job.root.name) in alive}
        # Asked after the queue: what had left it by then, has written all that it would.
        new = [(i, job) for i, job in enumerate(jobs) if i not in numbers and not _finished(job)]
        if new:
            executor = self._executor()
            files = [self._error_file(job) for _, job in new]
            absolute = [replace(job, root=job.root.absolute()) for _, job in new]
            submitted_all = executor.map_array(Task(plugins.for_workers()), absolute, files)
            for (i, job), submitted in zip(new, submitted_all, strict=True):
                append_line(self.folder / "jobs.jsonl", {"run": job.root.name, "job": submitted.job_id})
                numbers[i] = submitted.job_id
        return numbers

    def _executor(self):
        try:
            import submitit
        except ImportError:
            raise ConfigError(f"--slurm needs submitit: {install('slurm')}.") from None
        self.folder.mkdir(parents=True, exist_ok=True)
        executor = submitit.AutoExecutor(folder=self.folder.absolute(), cluster="slurm")
        parallel = {"slurm_array_parallelism": self.at_once} if self.at_once else {}
        try:
            executor.update_parameters(**{**DEFAULTS, **parallel, **self.settings})
        except (NameError, TypeError, AssertionError) as error:  # submitit's own way of refusing
            raise ConfigError(f"[slurm]: submitit refuses these settings: {error}") from None
        return executor

    def _error_file(self, job: Job) -> Path:
        return self.folder.absolute() / f"{job.root.name}.error.json"

    def _ending(self, job: Job, number: str) -> Exception | None:
        """How a job that left the queue ended, according to what it wrote."""
        if _finished(job):
            return None
        path = self._error_file(job)
        if path.is_file():
            found = read_json(path)
            return (Diverged if found["diverged"] else TaskError)(found["error"])
        return TaskError(
            f"Slurm job {number} ended before the run did (cancelled, or killed for memory or a node's "
            f"failure?): its log is {self.folder}/{number.split('_')[0]}*_log.err"
        )


def queued() -> set[str] | None:
    """Numbers of the jobs that are queued or running for this user, arrays written out. None if squeue does not
    answer; then nothing is known."""
    line = ["squeue", "--noheader", "--array", "--me", "--format=%i"]
    try:
        done = subprocess.run(line, capture_output=True, encoding="utf-8", errors="replace", timeout=60, env=os.environ)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return set(done.stdout.split()) if done.returncode == 0 else None


def _finished(job: Job) -> bool:
    return (job.root / "manifest.json").exists() and open_series(job.root).complete


def _sequences(job: Job) -> int:
    """How far a run has come, by its last line of metrics."""
    lines = read_jsonl(job.root / "metrics.jsonl")
    return max((line["sequences"] for line in lines), default=0)
