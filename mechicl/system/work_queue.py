"""Work in pieces, of which an idle core takes some: what comes out does not depend on who did what.

BLAS's own threads wait for one another by spinning, which loses a factor of ten on a busy machine
(docs/speed.md). Here nobody waits for a thread that has not begun: the caller takes pieces until
none is left, and the helper, when a core has time for it, takes them too.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from typing import TypeVar

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from mechicl.system.cores import cores

Piece = Callable[[], object]
In = TypeVar("In")
Out = TypeVar("Out")
WORTH = 2**18  # numbers to go through, below which asking for help costs more than it gains


class Shared:
    """Pieces to be called once each, in any order, all of them by the end of `finish`.

    Pieces must not depend on one another, and gain only where they leave Python's lock (compiled
    kernels, BLAS). `size`: how many numbers they go through together.
    """

    def __init__(self, size: int):
        self._left: deque[Piece] = deque()
        # Where BLAS itself has several threads, who does a piece would decide the last bits of its sums.
        self._helper = _helper() if size > WORTH and torch.get_num_threads() == 1 else None
        self._helping: list[Future] = []
        self._inference = torch.is_inference_mode_enabled()  # a thread's own, too

    def add(self, pieces: Iterable[Piece]) -> None:
        """The helper may begin with them at once."""
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
    """None on a single core, and in a pool's process: the other cores are its siblings'."""
    return thread() if cores() > 1 and multiprocessing.parent_process() is None else None


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Torch and numpy's BLAS on so many threads, which decide the last bits of their sums; and numbers
    below 1e-38 as 0, with which a CPU is up to a hundred times slower (L2 and Adam's moments go there)."""
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
