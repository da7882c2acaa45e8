"""Ticks of a log axis: decades if there are enough of them, else also numbers between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mechicl.figures.style import short


def log_ticks(low: float, high: float, write: Callable[[float], str] = short) -> dict[str, Any]:
    """What a plotly log axis from low to high needs, both > 0: at least two ticks, whatever its length.

    An axis of two decades or more keeps plotly's own ticks, one per decade. A shorter axis, as in a short run, has 1,
    2 and 5 of each decade, or round numbers if even those are too few; `write` makes their texts.
    """
    if math.floor(math.log10(high) + 1e-9) - math.ceil(math.log10(low) - 1e-9) >= 1:
        return {"dtick": 1}
    at = [m * 10.0**k for k in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for m in (1, 2, 5)]
    at = [x for x in at if low <= x <= high]
    if len(at) < 3:
        at = _round(low, high)
    return {"tickvals": at, "ticktext": [write(x) for x in at]}


def _round(low: float, high: float) -> list[float]:
    """About five equally spaced round numbers from low to high; the two ends if none fits between them."""
    if high <= low:
        return [low]
    size = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(m * size for m in (1, 2, 5, 10) if m * size >= (high - low) / 4 * 0.999)
    at = [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    return at if len(at) > 1 else [low, high]
