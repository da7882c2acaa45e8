"""Jobs (executor.py) on a Slurm cluster, submitted with submitit (`pip install --editable '.[slurm]'`): a sweep's runs,
or the parts of a table over checkpoints.

A job that is after another one is submitted when that one has ended. Nothing is kept in memory.
`<folder>/jobs.jsonl` says which Slurm job has which of ours. What is on the disk says how far it is; the nodes must see
it under the same path. So this process may be killed: the jobs continue, and the next call finds them and does not
submit a second one. `squeue` says which jobs are alive, so no accounting database is needed. submitit queues a job
again when it reaches its time limit, and the job continues from what it left.
"""

from __future__ import annotations

import os
import subprocess
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mechicl import plugins
from mechicl.errors import ConfigError, SeriesError
from mechicl.system.commands import install
from mechicl.system.disk import check_writable, own_place
from mechicl.system.executor import Heard, Job, waits_for
from mechicl.system.files import append_line, read_json, read_jsonl, write_json
from mechicl.system.paths import given
from mechicl.system.pool import TaskError

DEFAULTS: dict[str, Any] = {"timeout_min": 240, "mem_gb": 4, "cpus_per_task": 1, "name": "mechicl"}


@dataclass(frozen=True)
class Task:
    """What a Slurm job does. At a time limit submitit asks `checkpoint` what to queue again. It is the same call,
    because a job that is done again continues. modules: plugins that it needs, found from the directory of the call."""

    modules: tuple[str, ...] = ()

    def __call__(self, job: Job, error_file: Path) -> None:
        error_file.unlink(missing_ok=True)
        try:
            plugins.load(self.modules)
            job.run(lambda told: None)
        except Exception as error:
            write_json(error_file, {"error": str(error), "kind": type(error).__name__})
            raise

    def checkpoint(self, job: Job, error_file: Path) -> Any:  # of submitit
        import submitit

        return submitit.helpers.DelayedSubmission(self, job, error_file)


@dataclass(frozen=True)
class Slurm:
    """An executor (executor.py).

    folder: for submitit's files, logs and `jobs.jsonl`; on a disk that the nodes see.
    settings: submitit's parameters, the file's [slurm] table: slurm_partition, timeout_min, ...
    at_once: how many jobs may run at a time (default: as many as the cluster allows).
    poll: seconds between two looks at the queue.
    pieces: into how many jobs a table is cut.
    """

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    at_once: int | None = None
    poll: float = 10.0
    pieces: int = 1

    def __call__(self, jobs: Sequence[Job], heard: Heard) -> Iterator[tuple[int, Exception | None]]:
        alive = queued()
        if alive is None:
            raise SeriesError(
                "`squeue` does not answer: is this a machine of the cluster? Without --slurm, this machine works."
            )
        running: dict[int, str] = {}
        waiting, first, ended, seen = list(range(len(jobs))), waits_for(jobs), set[int](), {}
        while True:
            ready = [i for i in waiting if i not in first or first[i] in ended][: self._room(running)]
            if ready and alive is not None:
                seen |= {i: jobs[i].progress() for i in ready}
                waiting = [i for i in waiting if i not in ready]
                running |= self._submit({i: jobs[i] for i in ready}, alive)
                ended |= set(ready) - set(running)
                yield from ((i, None) for i in ready if i not in running)
                continue  # for what was after those
            if not running and not waiting:
                return
            alive = queued()
            for i, number in list(running.items()):
                now = jobs[i].progress()
                if now > seen[i]:
                    heard(i, now - seen[i])
                    seen[i] = now
                if alive is not None and number not in alive:
                    del running[i]
                    ended.add(i)
                    yield i, self._ending(jobs[i], number)
            if running or alive is None:
                time.sleep(self.poll)

    def _room(self, running: dict[int, str]) -> int | None:
        """How many jobs may be submitted now. Slurm itself holds an array to `at_once`, but not two arrays together."""
        return max(0, self.at_once - len(running)) if running and self.at_once else None

    def _submit(self, jobs: dict[int, Job], alive: set[str]) -> dict[int, str]:
        """The Slurm job of each: the one that is still queued or running, or a new one. None for one that an earlier
        job has just finished. alive: what squeue said."""
        known = {line["run"]: line["job"] for line in read_jsonl(self.folder / "jobs.jsonl")}
        numbers = {i: known[job.name] for i, job in jobs.items() if known.get(job.name) in alive}
        # Asked after the queue: what had left it by then, has written all that it would.
        new = [(i, job) for i, job in jobs.items() if i not in numbers and not job.finished()]
        if new:
            executor = self._executor()
            files = [self._error_file(job) for _, job in new]
            submitted_all = executor.map_array(Task(plugins.for_workers()), [job for _, job in new], files)
            for (i, job), submitted in zip(new, submitted_all, strict=True):
                append_line(self.folder / "jobs.jsonl", {"run": job.name, "job": submitted.job_id})
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
        return self.folder.absolute() / f"{job.name}.error.json"

    def _ending(self, job: Job, number: str) -> Exception | None:
        """How a job that left the queue ended, according to what it wrote."""
        if job.finished():
            return None
        path = self._error_file(job)
        if path.is_file():
            found = read_json(path)
            return job.failure(found.get("kind", ""), found["error"])
        return TaskError(
            f"Slurm job {number} ended before its work did (cancelled, or killed for memory or a node's "
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


def of_tables(root: Path, file: str | Path, jobs: int) -> Slurm:
    """The executor of a run's tables (`open_series(..., workers=)`).

    Args:
        root: the run's directory; the nodes see it.
        file: a TOML file whose [slurm] table has submitit's parameters, as of a sweep.
        jobs: into how many jobs a table is cut.

    Raises:
        ConfigError: it is no such file.
        SeriesError: the run cannot be written to.
    """
    folder = own_place(root, root / "cache" / "slurm" / "x").parent
    check_writable(folder, "The jobs leave their parts there.")
    return Slurm(folder, _settings(given(file)), pieces=jobs)


def _settings(file: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8-sig")).get("slurm", {})
    except OSError as error:
        raise ConfigError(f"--slurm {file} cannot be read ({error.strerror}): expected a TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--slurm {file} is not TOML: {error}.") from None
    if not isinstance(found, dict):
        raise ConfigError(f"--slurm {file}: slurm={found!r}: expected a table [slurm].")
    return found
