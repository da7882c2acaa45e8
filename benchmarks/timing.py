"""Timing things in turns, so that whatever else the machine does slows each alike.

Seconds are the process's own CPU time. Everything timed here runs on one thread, so on a quiet
machine that is the time on the clock, and on a busy one it leaves out the waiting for a core.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def in_turns(rounds: int, functions: dict[str, Callable[[], object]]) -> dict[str, np.ndarray]:
    """CPU seconds of every call, [rounds] per name. Each is called once before, untimed."""
    for function in functions.values():
        function()
    seconds = {name: np.empty(rounds) for name in functions}
    for i in range(rounds):
        for name, function in functions.items():
            start = time.process_time()
            function()
            seconds[name][i] = time.process_time() - start
    return seconds


def once(function: Callable[[], T]) -> tuple[float, T]:
    """Seconds of one call, and what it returned."""
    start = time.process_time()
    out = function()
    return time.process_time() - start, out


def ratio(slow: np.ndarray, fast: np.ndarray) -> tuple[float, float, float]:
    """Median of slow / fast over rounds, and its quartiles."""
    low, middle, high = np.percentile(slow / fast, [25, 50, 75])
    return float(middle), float(low), float(high)
