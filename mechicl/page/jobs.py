"""Commands that train beside the page: each a process of its own, in a queue whose state is files alone.

    <folder>/.branches/NAME.json   what was asked for: the words of `mechicl`, the run's folder, whether it shall go on
    <folder>/.branches/NAME.lock   held by the process as long as it lives, whoever started it; it has the process' id
    <folder>/.branches/NAME.log    what the process said

A process inherits its lock. So a server that is killed and started again finds what still runs, starts what does not,
and two servers never start one job twice. A job whose run exists is gone on with by `mechicl train --resume`. At most
`most` run at once; the others wait, the oldest first.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

from mechicl import plugins
from mechicl.errors import SeriesError
from mechicl.series import open_series
from mechicl.series.ending import has_ended
from mechicl.system.cores import cores
from mechicl.system.disk import check_writable, is_file, is_held
from mechicl.system.files import read_json, write_json

State = Literal["waiting", "running", "paused", "stopped", "failed", "finished"]
HIDDEN = ".branches"
PROGRAM = (sys.executable, "-m", "mechicl")
MOST_WAITING = 100  # jobs: a reader who holds a key down fills no disk
_TICK = 0.3  # seconds between two looks at the queue


@dataclass(frozen=True, kw_only=True)
class Job:
    """What was asked for. words: after `mechicl`; root: the run that it makes; wanted: what the reader wants of it."""

    name: str
    parent: str
    root: str
    words: tuple[str, ...]
    made: float
    wanted: Literal["going", "paused", "stopped"] = "going"
    error: str = ""

    @property
    def begun(self) -> bool:
        """Whether there is a run already."""
        return is_file(Path(self.root) / "manifest.json")


class Jobs:
    """The queue of one folder."""

    def __init__(self, folder: Path, most: int | None = None, program: Sequence[str] = PROGRAM):
        """
        Args:
            folder: where runs are put.
            most: processes at once (default: as many as cores).
            program: what is called with a job's words.
        """
        self.folder: Path = folder
        self.program: tuple[str, ...] = tuple(program)
        self.most: int = cores() if most is None else most
        self._own: dict[str, subprocess.Popen[bytes]] = {}
        self._lock, self._wake = threading.RLock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._ended = False

    # What is asked of it.

    def add(self, root: Path, parent: Path, words: Sequence[str]) -> Job:
        """Put a command into the queue that makes the run `root`.

        Raises:
            SeriesError: the folder cannot be written to, or too many wait.
        """
        if importlib.util.find_spec("fcntl") is None:
            raise SeriesError(f"this system has no file locks, so no queue: `mechicl {' '.join(words)}`.")
        check_writable(root.parent)
        with self._lock:
            if len(self.all()) >= MOST_WAITING:
                raise SeriesError(f"{MOST_WAITING} branches wait already: keep, stop or discard some first.")
            (self.folder / HIDDEN).mkdir(parents=True, exist_ok=True)
            job = Job(name=root.name, parent=str(parent), root=str(root), words=tuple(words), made=time.time())
            self._write(job)
        self.begin()
        return job

    def all(self) -> list[Job]:
        """Every job, the oldest first."""
        found = []
        for path in (self.folder / HIDDEN).glob("*.json"):
            with suppress(SeriesError, TypeError, KeyError):  # of another version, or being removed
                given: dict[str, Any] = read_json(path)
                given["words"] = tuple(given["words"])
                found.append(Job(**given))
        return sorted(found, key=lambda job: (job.made, job.name))

    def job(self, name: str) -> Job:
        """The job of this name.

        Raises:
            SeriesError: there is none.
        """
        for job in self.all():
            if job.name == name:
                return job
        raise SeriesError(f"there is no branch {name!r} in the queue.")

    def state(self, job: Job) -> State:
        """How far it is."""
        if self._runs(job):
            return "running"
        if _complete(job):
            return "finished"
        if job.error:
            return "failed"
        return "waiting" if job.wanted == "going" else job.wanted

    def pause(self, name: str) -> None:
        """End its process; the run goes on from its last state when it is wanted again."""
        self._want(name, "paused")

    def resume(self, name: str) -> None:
        """Put it into the queue again."""
        self._want(name, "going")
        self.begin()

    def stop(self, name: str) -> None:
        """End its process for good; what it saved stays, and `mechicl train --resume` could go on."""
        self._want(name, "stopped")

    def keep(self, name: str) -> None:
        """Forget a job that has ended; its run is a run like any other."""
        job = self.job(name)
        if self.state(job) not in ("finished", "stopped") or not job.begun:
            raise SeriesError(f"{name} has not ended: stop it first.")
        self._forget(job)

    def discard(self, name: str) -> None:
        """End its process and delete its run. Only what the queue itself began is deleted."""
        self._want(name, "stopped")
        job = self.job(name)
        root = Path(job.root)
        if root.is_symlink() or root.parent.resolve() != self.folder.resolve():
            raise SeriesError(f"{root} is not a folder of this queue: delete it yourself.")
        if job.begun and "branch" not in read_json(root / "manifest.json"):
            raise SeriesError(f"{root} is no branch: delete it yourself.")
        if root.is_dir():
            shutil.rmtree(root)
        self._forget(job)

    # How it goes.

    def begin(self) -> None:
        """Look after the queue from now on, in a thread of its own, as long as something is to be done."""
        with self._lock:
            self._wake.set()
            if self._ended or (self._thread is not None and self._thread.is_alive()):
                return
            if any(job.wanted == "going" and not job.error for job in self.all()):
                self._thread = threading.Thread(target=self._look_after, name="mechicl-branches", daemon=True)
                self._thread.start()

    def end(self) -> None:
        """The server ends: so do its processes. What they were at goes on when a server is started again."""
        with self._lock:
            self._ended = True
            self._wake.set()
            for process in self._own.values():
                process.terminate()
            for process in self._own.values():
                _waited(process)

    def _look_after(self) -> None:
        while True:
            with self._lock:
                if self._ended or not self._step():
                    self._thread = None
                    return
            self._wake.wait(_TICK)
            self._wake.clear()

    def _step(self) -> bool:
        """Notice what has ended, start what may start; whether there is something left to look after."""
        for name, process in list(self._own.items()):
            if process.poll() is not None:
                del self._own[name]
                self._ended_with(name, process.returncode)
        jobs = self.all()
        states = {job.name: self.state(job) for job in jobs}
        free = self.most - sum(state == "running" for state in states.values())
        for job in jobs:
            if free > 0 and states[job.name] == "waiting" and self._start(job):
                free, states[job.name] = free - 1, "running"
        return bool(self._own) or any(state in ("waiting", "running") for state in states.values())

    def _start(self, job: Job) -> bool:
        words = ["train", "--resume", job.root] if job.begun else [*job.words]
        words += ["--quiet", *(word for name in plugins.asked() for word in ("--plugin", name))]
        lock = _hold(self._path(job.name, "lock"))
        if lock is None:
            return False
        with lock, open(self._path(job.name, "log"), "wb") as log:
            process = subprocess.Popen(
                [*self.program, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock.fileno(),),
                start_new_session=True,  # Ctrl-C is for the server, which ends them
            )
            lock.truncate(0)
            lock.write(str(process.pid).encode())
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, 5)  # the page's answers first
        self._own[job.name] = process
        return True

    def _ended_with(self, name: str, code: int) -> None:
        with suppress(SeriesError):
            job = self.job(name)
            if code and job.wanted == "going" and not _complete(job):
                said = self._path(name, "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
                why = said[-1].removeprefix("mechicl: ") if code > 0 and said else f"its process was killed ({-code})."
                self._write(replace(job, error=why))

    def _want(self, name: str, wanted: Literal["going", "paused", "stopped"]) -> None:
        with self._lock:
            job = self.job(name)
            self._write(replace(job, wanted=wanted, error=""))
            if wanted == "going":
                return
            own = self._own.pop(name, None)
            if own is not None:
                own.terminate()
                _waited(own)
            elif self._runs(job):  # started by a server before this one
                with suppress(OSError, ValueError):
                    os.kill(int(self._path(name, "lock").read_text(encoding="ascii")), signal.SIGTERM)
                until = time.monotonic() + 10
                while self._runs(job) and time.monotonic() < until:
                    time.sleep(0.05)

    def _runs(self, job: Job) -> bool:
        return is_held(self._path(job.name, "lock"))

    def _path(self, name: str, end: str) -> Path:
        return self.folder / HIDDEN / f"{name}.{end}"

    def _write(self, job: Job) -> None:
        write_json(self._path(job.name, "json"), asdict(job))

    def _forget(self, job: Job) -> None:
        for end in ("json", "log", "lock"):
            self._path(job.name, end).unlink(missing_ok=True)


def _hold(path: Path) -> IO[bytes] | None:
    """A lock file, held; None where another process holds it, or where there are no such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    file = open(path, "ab")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def _waited(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _complete(job: Job) -> bool:
    if not job.begun:
        return False
    try:
        return has_ended(open_series(job.root))
    except (SeriesError, json.JSONDecodeError):
        return False
