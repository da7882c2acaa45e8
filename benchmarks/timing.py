"""Timing things in turns, so that whatever else the machine does slows each alike.

Seconds are the process's own CPU time, of all its threads: on a busy machine that leaves out the
waiting for a core. What a second core gains shows on the clock only, and only on a quiet machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from mechicl.system import work_queue as share

T = TypeVar("T")


def in_turns(
    rounds: int, functions: dict[str, Callable[[], object]], clock: Callable[[], float] = time.process_time
) -> dict[str, np.ndarray]:
    """CPU seconds of every call (or seconds of another clock), [rounds] per name. Each is called
    once before, untimed."""
    for function in functions.values():
        function()
    seconds = {name: np.empty(rounds) for name in functions}
    for i in range(rounds):
        for name, function in functions.items():
            start = clock()
            function()
            seconds[name][i] = clock() - start
    return seconds


def once(function: Callable[[], T]) -> tuple[float, float, T]:
    """CPU seconds of one call, its seconds on the clock, and what it returned."""
    start, started = time.process_time(), time.perf_counter()
    out = function()
    return time.process_time() - start, time.perf_counter() - started, out


@contextmanager
def one_core() -> Iterator[None]:
    """Without the engine's second thread."""
    helper = share._helper
    share._helper = lambda: None
    try:
        yield
    finally:
        share._helper = helper


def ratio(slow: np.ndarray, fast: np.ndarray) -> tuple[float, float, float]:
    """Median of slow / fast over rounds, and its quartiles."""
    low, middle, high = np.percentile(slow / fast, [25, 50, 75])
    return float(middle), float(low), float(high)
