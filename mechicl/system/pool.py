"""Tasks shared out over processes, one failure at a time.

A task that raises, or whose process is killed, fails alone. The others continue, and a new process takes the place of
a dead one. No worker outlives its parent, however the parent ends. So no old worker writes to a run while the next
call does.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from types import MappingProxyType
from typing import Any

from mechicl import own_code, plugins
from mechicl.errors import ConfigError, SeriesError

_READABLE = (ConfigError, SeriesError)  # say themselves what happened; of others, the traceback does
_NO_GUARD = (
    "the processes that were to share the work could not start. Each of them imports the script that was run: what "
    "the script does must stand under `if __name__ == '__main__':`, or stay in one process (jobs=1, workers=1)."
)
_EVERY = 1 << 14  # sequences trained between two reports of a run's progress


class TaskError(RuntimeError):
    """A task ended in an unexpected way: its traceback, or the signal that killed it."""


class Tally:
    """Replaces the progress bar in a worker. It sends what it is told to the parent: numbers (sequences trained) in
    groups, texts at once."""

    def __init__(self, tell: Callable[[Any], None]):
        self.tell: Callable[[Any], None] = tell
        self.count: int = 0

    def update(self, n: int) -> None:
        self.count += n
        if self.count >= _EVERY:
            self.flush()

    def flush(self) -> None:
        self.tell(self.count)
        self.count = 0

    def set_postfix_str(self, s: str) -> None:
        self.tell(s)


def run_tasks(
    function: Callable[..., None],
    tasks: Sequence[tuple[Any, ...]],
    workers: int,
    heard: Callable[[int, Any], None],
    after: Mapping[int, int] = MappingProxyType({}),
) -> Iterator[tuple[int, Exception | None]]:
    """Call `function(*task, tell)` for every task, in `workers` processes, in their order.

    Args:
        function: a function of a module; what it passes to `tell` reaches `heard`.
        heard: called here with a task's number and what that task told.
        after: of a task's number, that of an earlier task which must have ended first, well or not.

    Yields:
        When a task ends: its number, and None or the error (ConfigError and SeriesError as raised, a ConfigError where
        a plugin's code failed, TaskError for all others).

    Raises:
        ConfigError: a new process cannot import the calling script, because the script has no `if __name__ ==
            "__main__":`.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(1)  # in a process that is only importing the script: the parent says what is missing
    waiting = _Waiting(tasks, after)
    crew: dict[Any, _Worker] = {}
    try:
        _fill(crew, workers, function, waiting)
        while crew:
            for connection in wait(list(crew)):
                worker = crew[connection]
                try:
                    kind, value = worker.connection.recv()
                except (EOFError, OSError):
                    kind, value = "died", worker.epitaph()
                    if not worker.ready and (worker.process.exitcode or 0) > 0:
                        raise ConfigError(_NO_GUARD) from None
                if kind == "ready":
                    worker.ready = True
                    continue
                if kind == "told":
                    heard(worker.task, value)
                    continue
                done = worker.task
                waiting.ended.add(done)
                if kind == "died":
                    del crew[connection]
                elif (following := waiting.pop()) is not None:
                    worker.give(following)
                else:
                    crew.pop(connection).leave()
                _fill(crew, workers, function, waiting)
                yield done, value
    finally:  # left early: by an error here, Ctrl-C, or a caller that wants no more
        for worker in crew.values():
            worker.process.terminate()
        for worker in crew.values():
            worker.process.join()


class _Waiting:
    """Tasks that were not begun, in their order; `ended` are the numbers of those that others may have waited for."""

    def __init__(self, tasks: Sequence[tuple[Any, ...]], after: Mapping[int, int]):
        if wrong := [number for number, first in after.items() if not 0 <= first < number]:
            raise ValueError(f"task {wrong[0]} is after task {after[wrong[0]]}: expected an earlier one.")
        self.tasks, self.after, self.ended = dict(enumerate(tasks)), after, set[int]()

    def pop(self) -> tuple[int, tuple[Any, ...]] | None:
        """The next task that may begin, with its number; None: there is none now."""
        for number in self.tasks:
            if number not in self.after or self.after[number] in self.ended:
                return number, self.tasks.pop(number)
        return None


def _fill(crew: dict[Any, _Worker], workers: int, function: Callable[..., Any], waiting: _Waiting) -> None:
    """As many processes as are wanted, and as there are tasks that may begin."""
    while len(crew) < workers and (task := waiting.pop()) is not None:
        _hire(crew, function, task)


class _Worker:
    """The parent's end of one process."""

    def __init__(self, function: Callable[..., Any]):
        context = multiprocessing.get_context("spawn")  # torch's thread pools do not survive a fork
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(function, theirs, plugins.for_workers()), daemon=True)
        with _deaf():
            self.process.start()
        theirs.close()  # so that the worker's death ends the pipe
        self.task, self.ready = -1, False

    def give(self, numbered: tuple[int, tuple[Any, ...]]) -> None:
        self.task, task = numbered
        with contextlib.suppress(OSError):  # died just now: the pipe's end will say so
            self.connection.send(task)

    def leave(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.send(None)
        self.process.join()

    def epitaph(self) -> TaskError:
        self.process.join()
        code = self.process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = " (out of memory? try fewer processes)" if code == -signal.SIGKILL else ""
        return TaskError(f"its process {how}{hint}")


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """A process that is started here is born without ears for Ctrl-C: `_work` comes only after its imports. Here a
    Ctrl-C waits until it is started."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    resource_tracker.ensure_running()  # else the start itself begins it, and listens again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _hire(crew: dict[Any, _Worker], function: Callable[..., Any], first: tuple[int, tuple[Any, ...]]) -> None:
    worker = _Worker(function)
    crew[worker.connection] = worker
    worker.give(first)


def _work(function: Callable[..., Any], connection: Any, modules: Sequence[str]) -> None:
    """A worker's life. modules: what registers the banks, evaluators, ... that the tasks name."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connection.send(("ready", None))
    while (task := connection.recv()) is not None:
        error = None
        try:
            plugins.load(modules)
            function(*task, lambda told: connection.send(("told", told)))
        except _READABLE as raised:
            error = raised
        except Exception as raised:
            said = own_code.failure(raised)
            error = TaskError(traceback.format_exc()) if said is None else ConfigError(said)
        connection.send(("done", error))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
