"""Tasks for tests/system/test_pool.py: in a module of their own, where worker processes can import them."""

import os
import signal
import sys
import time
from pathlib import Path

from mechicl.errors import SeriesError
from mechicl.system.pool import run_tasks


def work(what: str, tell) -> None:
    tell(("pid", os.getpid()))
    if what == "raise":
        raise SeriesError("the disk is full")
    if what == "bug":
        raise ZeroDivisionError("a bug")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "exit":
        os._exit(3)
    tell(what)


def beat(path: str, tell) -> None:
    """Writes its process id, then goes on until it is ended."""
    Path(path).write_text(str(os.getpid()))
    while True:
        time.sleep(0.01)


def either(what: str, tell) -> None:
    (beat if "/" in what else work)(what, tell)


if __name__ == "__main__":  # a parent to be killed
    list(run_tasks(beat, [(path,) for path in sys.argv[1:]], 2, lambda *_: None))
