"""Who computes next, where many look at one server: whoever waits for numbers, before all that may come later."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from mechicl.system.cores import cores

T = TypeVar("T")


class Turns:
    """Two lines, each served in the order of arrival, with as many at once as cores. The second waits while anybody is
    in the first. So a click has its numbers as if nobody's curves were computed, and nobody's are forgotten."""

    def __init__(self, places: int | None = None):
        self._places = cores() if places is None else places
        self._tickets, self._change = itertools.count(), threading.Condition()
        self._lines: dict[bool, list[int]] = {True: [], False: []}  # urgent or not -> tickets of those who wait
        self._inside: dict[bool, int] = {True: 0, False: 0}
        self._hurried = 0  # readers who wait for numbers outside the lines
        self._hands = ThreadPoolExecutor(2 * self._places, "mechicl-turns")

    def compute(self, what: Callable[[], T], urgent: bool = False) -> T:
        """The value of `what` in its turn, computed by one of a few threads. A thread for each question, as a server
        has them, would keep memory of its own (an arena of malloc) for what it once computed."""
        with self.turn(urgent):
            return self._hands.submit(what).result()

    @contextmanager
    def turn(self, urgent: bool = False) -> Iterator[None]:
        """Wait for a place, and keep it inside the block."""
        line = self._lines[urgent]
        with self._change:
            mine = next(self._tickets)
            line.append(mine)
            try:
                self._change.wait_for(self._may(mine, urgent))
            finally:
                line.remove(mine)
            self._inside[urgent] += 1
            self._change.notify_all()  # there may be another place
        try:
            yield
        finally:
            with self._change:
                self._inside[urgent] -= 1
                self._change.notify_all()

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """Inside the block a reader waits for what this thread computes, with or without a place."""
        with self._change:
            self._hurried += 1
        try:
            yield
        finally:
            with self._change:
                self._hurried -= 1
                self._change.notify_all()

    def _may(self, mine: int, urgent: bool) -> Callable[[], bool]:
        return lambda: (
            self._inside[urgent] < self._places and self._lines[urgent][0] == mine and (urgent or not self.awaited)
        )

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for numbers right now: what takes longer makes way."""
        return bool(self._inside[True] or self._lines[True] or self._hurried)

    @property
    def crowded(self) -> bool:
        """Whether anybody waits for a place: nothing is computed ahead."""
        return bool(self._lines[True] or self._lines[False])
