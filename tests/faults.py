"""Failures at a chosen moment of writing a run, and a process that can be killed at one.

A *moment* is one write, flush or rename that `mechicl.system.files` does; `Fault(n, ...)` strikes at the
n-th. A struck write first puts half of its bytes on the disk. Kinds of fault:

    kill    SIGKILL to this very process: nothing runs after it
    stop    SIGSTOP: the process sleeps, holding what it holds, until SIGCONT
    full    the disk is full from here on: this and every later write raises ENOSPC

`Workers` forks training processes from one that has imported everything, so that each costs
milliseconds; run as a program, this file is that one.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path


class Fault:
    """Counts moments and strikes at one. Use as a context manager; -1 only counts."""

    def __init__(self, at: int = -1, kind: str = "full"):
        self.at, self.kind = at, kind
        self.seen = 0

    def __enter__(self) -> Fault:
        import mechicl.system.files as files

        fault, self._real = self, (os.fsync, os.replace)
        fsync, replace = self._real

        class File(io.FileIO):
            def write(self, data):
                if fault.now():
                    if fault.kind != "stop":
                        super().write(bytes(data)[: len(data) // 2])
                    fault.strike()
                return super().write(data)

        def opened(path, mode="r", buffering=-1):
            if "b" not in mode or "r" in mode:
                return builtins.open(path, mode)
            raw = File(path, mode.replace("b", ""))
            return raw if buffering == 0 else io.BufferedWriter(raw)

        def guarded(call):
            def run(*args):
                if fault.now():
                    fault.strike()
                return call(*args)

            return run

        files.open = opened  # type: ignore[attr-defined]
        os.fsync, os.replace = guarded(fsync), guarded(replace)
        return self

    def __exit__(self, *_: object) -> None:
        import mechicl.system.files as files

        del files.open  # type: ignore[attr-defined]
        os.fsync, os.replace = self._real

    def now(self) -> bool:
        """Whether this moment fails."""
        self.seen += 1
        reached = self.seen - 1 == self.at
        return reached or (self.kind == "full" and 0 <= self.at < self.seen)

    def strike(self) -> None:
        if self.kind == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        os.kill(os.getpid(), signal.SIGKILL if self.kind == "kill" else signal.SIGSTOP)


class Workers:
    """Processes that train, branch, resume or densify, and may be killed on the way."""

    def __enter__(self) -> Workers:
        import mechicl

        home = str(Path(mechicl.__file__).parents[1])
        self._parent = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": home},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._parent.communicate()

    def start(self, verb: str, root: Path, at: int = -1, kind: str = "kill", **options) -> int:
        """Begin; returns the process id."""
        return self._ask({"verb": verb, "root": str(root), "at": at, "kind": kind, **options})

    def wait(self, pid: int) -> int:
        """How it ended: 0, an exit code, or minus the signal that killed it."""
        return self._ask({"wait": pid})

    def run(self, verb: str, root: Path, at: int = -1, kind: str = "kill", **options) -> int:
        """Start and wait."""
        return self.wait(self.start(verb, root, at, kind, **options))

    def _ask(self, job: dict) -> int:
        print(json.dumps(job), file=self._parent.stdin, flush=True)
        return int(self._parent.stdout.readline())


def _work(job: dict) -> None:
    from mechicl.config import Config, from_dict
    from mechicl.training.branching import branch
    from mechicl.training.loop import train
    from mechicl.training.replay import densify, resume

    with Fault(job["at"], job["kind"]):
        root = Path(job["root"])
        if job["verb"] == "train":
            train(from_dict(Config, job["config"]), root, progress=False)
        elif job["verb"] == "branch":
            branch(job["parent"], job["step"], without=job["without"], out=root, progress=False)
        elif job["verb"] == "resume":
            resume(root, steps=job.get("steps"), progress=False)
        else:
            densify(root, *job["window"], progress=False)


def _serve() -> None:
    import torch

    from mechicl.config import BankConfig, Config
    from mechicl.training.loop import train

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:  # what torch imports on first use, once
        train(Config(name="x", steps=1, bank=BankConfig(n_classes=3), threads=1), folder, progress=False)
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            answer = os.waitstatus_to_exitcode(os.waitpid(job["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                code = 1
                with contextlib.suppress(BaseException):
                    _work(job)
                    code = 0
                os._exit(code)
        print(answer, flush=True)


if __name__ == "__main__":
    _serve()
