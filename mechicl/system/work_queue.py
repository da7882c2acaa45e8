"""Work in pieces, of which an idle core takes some. The result does not depend on which core did which piece.

BLAS's own threads wait for one another in busy loops, which loses a factor of ten on a busy machine (docs/speed.md).
Here the caller never waits for a thread that has not begun. It takes pieces until none is left, and the helper takes
pieces, too, when a core has time for it.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from mechicl.system.cores import cores

Piece = Callable[[], object]
In = TypeVar("In")
Out = TypeVar("Out")
WORTH = 2**18  # fewer numbers than this are not worth a helper


class Shared:
    """Pieces of work. Each is called once, in any order; all are done when `finish` returns.

    Pieces must not depend on one another. A helper only gains time where pieces release Python's lock (compiled
    kernels, BLAS). `size`: how many numbers all pieces process together.
    """

    def __init__(self, size: int):
        self._left: deque[Piece] = deque()
        # If BLAS itself has several threads, the last bits of a sum would depend on which thread does a piece.
        self._helper = _helper() if size > WORTH and torch.get_num_threads() == 1 else None
        self._helping: list[Future[Any]] = []
        self._inference = torch.is_inference_mode_enabled()  # a thread's own, too

    def add(self, pieces: Iterable[Piece]) -> None:
        """Add pieces; the helper may begin with them at once."""
        self._left.extend(pieces)
        if self._helper and self._left:
            self._helping.append(self._helper.submit(self._help))

    def finish(self) -> None:
        """Do what is left. Raises the error of the piece that had one."""
        try:
            self._work()
        finally:
            started = [each for each in self._helping if not each.cancel()]
            for each in started:
                each.result()

    def _help(self) -> None:
        with torch.inference_mode(self._inference):
            self._work()

    def _work(self) -> None:
        while True:
            try:
                piece = self._left.popleft()
            except IndexError:
                return
            piece()


def share(pieces: Iterable[Piece], size: int) -> None:
    """Call every piece once: `Shared`, from beginning to end."""
    work = Shared(size)
    work.add(pieces)
    work.finish()


def share_each(function: Callable[[In], Out], items: Iterable[In], size: int) -> list[Out]:
    """[function(item) for item in items], `share`d."""
    listed = list(items)
    found: dict[int, Out] = {}

    def one(i: int) -> None:
        found[i] = function(listed[i])

    share([partial(one, i) for i in range(len(listed))], size)
    return [found[i] for i in range(len(listed))]


def thread() -> ThreadPoolExecutor:
    """A helper. What `threads` sets is a thread's own."""
    return ThreadPoolExecutor(1, "mechicl-share", _set, (1,))


@cache
def _helper() -> ThreadPoolExecutor | None:
    """None on a single core and in a pool's process, because the other processes use the other cores."""
    return thread() if cores() > 1 and multiprocessing.parent_process() is None else None


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Torch and numpy's BLAS on this many threads, which decides the last bits of their sums. Numbers below 1e-38
    become 0, because a CPU is up to a hundred times slower with them (an L2 penalty and Adam's moments lead there)."""
    before, flushed = torch.get_num_threads(), _flushes()
    _set(n)
    try:
        with _libraries().limit(limits=n, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(flushed)


def _flushes() -> bool:
    """What torch sets but does not tell."""
    return not np.float32(1e-40) * np.float32(1)


def _set(n: int) -> None:
    torch.set_num_threads(n)
    torch.set_flush_denormal(True)


@cache
def _libraries() -> ThreadpoolController:
    """Looking for them takes milliseconds."""
    return ThreadpoolController()
