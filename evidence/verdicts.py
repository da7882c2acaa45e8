"""How a claim is judged: each of its parts by an exact interval over seeds that lies on one side of a bound, or not.

    supported        the whole interval is on the side that the claim says
    contradicted     the whole interval is on the other side
    inconclusive     the interval holds both answers, or there are too few seeds for one
    not comparable   the setting differs from the claim's in something that is known to decide the outcome
    running          not all planned seeds are finished: no verdict
    not run yet      nothing was run

A claim is the conjunction of its parts: contradicted where one is, supported where all are. So its parts need no
correction for their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from evidence.statistics import median_interval, share_interval
from mechicl.figures.style import short

SMALLEST = 0.1  # the smallest difference in accuracy that counts
FACTOR = 0.5  # of times: log2 of the smallest ratio that counts, 1.4
Status = Literal["supported", "contradicted", "inconclusive", "not comparable", "running", "not run yet"]


@dataclass(frozen=True)
class Part:
    """One statement that can fail: what it says, the effect with its interval and n, and its status."""

    says: str
    effect: str
    status: Status


def judged(low: float, high: float, above: float | None = None, below: float | None = None) -> Status:
    """Whether an interval lies above `above` and below `below` (those that are given). NaN: there is no interval."""
    if np.isnan(low) or np.isnan(high):
        return "inconclusive"
    inside = (above is None or low > above) and (below is None or high < below)
    outside = (above is not None and high < above) or (below is not None and low > below)
    return "supported" if inside else "contradicted" if outside else "inconclusive"


def effect(
    says: str, values: Sequence[float] | pd.Series, *,
    above: float | None = None, below: float | None = None, text: str = "{:+.2f}",
) -> Part:  # fmt: skip
    """The median over seeds lies above, below or between bounds. values: one per seed, infinite where a time is never;
    NaN is a seed that has no such value, and is left out. Judged by the exact interval of the median."""
    if above is None and below is None:
        raise ValueError(f"{says!r} has no bound, so it could not fail")
    x = np.asarray(values, float)
    x = x[~np.isnan(x)]
    if not len(x):
        return Part(says, "not run", "not run yet")
    middle, low, high = median_interval(x)
    said = f"{number(middle, text)}, n = {len(x)}"
    if np.isnan(low):
        return Part(says, f"{said} ({number(x.min(), text)} to {number(x.max(), text)}; too few for an interval)",
                    "inconclusive")  # fmt: skip
    said = f"{number(middle, text)} [{number(low, text)}, {number(high, text)}], n = {len(x)}"
    return Part(says, said, judged(low, high, above, below))


def share(says: str, holds: Iterable[bool], *, above: float | None = None, below: float | None = None) -> Part:
    """Something holds in more, or in less, than a share of runs. Judged by the exact (Clopper-Pearson) interval."""
    if above is None and below is None:
        raise ValueError(f"{says!r} has no bound, so it could not fail")
    found = [bool(h) for h in holds]
    if not found:
        return Part(says, "not run", "not run yet")
    low, high = share_interval(sum(found), len(found))
    return Part(says, f"{sum(found)} of {len(found)} [{low:.2f}, {high:.2f}]", judged(low, high, above, below))


def never(says: str, happens: Iterable[bool], rare: float = 0.25) -> Part:
    """Something never happens: one run in which it does contradicts it; none supports it where the interval of its
    share ends below `rare`."""
    part = share(says, happens, below=rare)
    if part.status == "not run yet" or part.effect.startswith("0 of"):
        return part
    return Part(says, part.effect, "contradicted")


def any_of(says: str, parts: Sequence[Part]) -> Part:
    """At least one of these holds: contradicted where all are."""
    found = [part.status for part in parts]
    status: Status = "inconclusive"
    if "supported" in found:
        status = "supported"
    elif set(found) == {"contradicted"} or set(found) == {"not run yet"}:
        status = found[0]
    return Part(says, "; ".join(f"{part.says} {part.effect}" for part in parts), status)


def together(parts: Sequence[Part]) -> Status:
    """The status of a claim that says all of these."""
    found = {part.status for part in parts}
    if not parts or found == {"not run yet"}:
        return "not run yet"
    order: tuple[Status, ...] = ("contradicted", "running", "not run yet", "not comparable", "inconclusive")
    worst = next((status for status in order if status in found), "supported")
    return "running" if worst == "not run yet" else worst


def number(value: float, text: str = "{:+.2f}") -> str:
    """A value as text; times in sequences as 193k, an infinite one as never."""
    if np.isinf(value):
        return "never"
    return short(value) if text == "time" else text.format(value + 0.0)
