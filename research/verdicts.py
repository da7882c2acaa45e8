"""How a claim is judged: each of its parts by an exact interval over seeds that lies on one side of a bound, or not.

    supported        the whole interval is on the side that the claim says
    contradicted     the whole interval is on the other side
    inconclusive     the interval holds both answers, or there are too few seeds for one
    not comparable   the setting differs from the claim's in something that is known to decide the outcome
    running          not all planned seeds are finished: no verdict
    not run yet      nothing was run

A claim is the conjunction of its parts: contradicted where one is, supported where all are. So 'supported' needs no
correction for the number of parts; 'contradicted' would, and has none (Methods say so).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from mechicl.figures.style import short
from mechicl.statistics import median_interval, share_interval
from research.statistics import STRICT

SMALLEST = 0.1  # the smallest difference in accuracy that counts
FACTOR = 0.5  # of times: log2 of the smallest ratio that counts, 1.4
Status = Literal["supported", "contradicted", "inconclusive", "not comparable", "running", "not run yet"]


@dataclass(frozen=True)
class Part:
    """One statement that can fail: what is measured, the effect with its interval and n, its status, and what the claim
    says of it. strict: the status by an interval of 95%; None: no interval decides it."""

    says: str
    effect: str
    status: Status
    claim: str = ""
    strict: Status | None = None


def decided(holds: bool, opposite: bool) -> Status:
    """Of a rule that says when its claim is supported and when it is contradicted."""
    return "supported" if holds else "contradicted" if opposite else "inconclusive"


def judged(low: float, high: float, above: float | None = None, below: float | None = None) -> Status:
    """Whether an interval lies above `above` and below `below` (those that are given). NaN: there is no interval."""
    if np.isnan(low) or np.isnan(high):
        return "inconclusive"
    inside = (above is None or low > above) and (below is None or high < below)
    outside = (above is not None and high < above) or (below is not None and low > below)
    return decided(inside, outside)


def effect(
    says: str,
    values: Sequence[float] | pd.Series | np.ndarray,
    *,
    above: float | None = None,
    below: float | None = None,
    text: str = "{:+.2f}",
) -> Part:
    """The median over seeds lies above, below or between bounds. values: one per seed, infinite where a time is never;
    NaN is a seed that has no such value, and is left out. Judged by the exact interval of the median."""
    claim = _bounds(above, below, text)
    x = np.asarray(values, float)
    x = x[~np.isnan(x)]
    if not len(x):
        return Part(says, "not run", "not run yet", claim)
    middle, low, high = median_interval(x)
    strict = judged(*median_interval(x, STRICT)[1:], above, below)
    said = number(middle, text)
    if np.isnan(low):
        said += f" (from {number(x.min(), text)} to {number(x.max(), text)}; too few for an interval)"
    else:
        said += f" [{number(low, text)}, {number(high, text)}]"
    return Part(says, f"{said}, n = {len(x)}", judged(low, high, above, below), claim, strict)


def share(says: str, holds: Iterable[bool] | None, *, above: float | None = None, below: float | None = None) -> Part:
    """Something holds in more, or in less, than a share of runs. holds: None if nothing was run; empty if there is no
    run of the wanted kind, for example if ICL never formed. Judged by the exact (Clopper-Pearson) interval."""
    claim = _bounds(above, below, "{:.0%}") + " of the runs"
    if holds is None:
        return Part(says, "not run", "not run yet", claim)
    found = [bool(h) for h in holds]
    if not found:
        return Part(says, "there is no such run", "inconclusive", claim)
    low, high = share_interval(sum(found), len(found))
    strict = judged(*share_interval(sum(found), len(found), STRICT), above, below)
    said = f"{sum(found) / len(found):.0%} [{low:.0%}, {high:.0%}], {sum(found)} of {len(found)}"
    return Part(says, said, judged(low, high, above, below), claim, strict)


def never(says: str, happens: Iterable[bool] | None, rare: float = 0.25) -> Part:
    """Something never happens: one run in which it does contradicts it; none supports it where the interval of its
    share ends below `rare`."""
    found = None if happens is None else [bool(h) for h in happens]
    part = share(says, found, below=rare)
    if found and any(found):
        return Part(says, part.effect, "contradicted", "never")  # no interval: one is enough
    return replace(part, claim="never")


def any_of(says: str, parts: Sequence[Part]) -> Part:
    """At least one of these holds: contradicted where all are."""
    said = "; ".join(f"{part.says}: {part.effect}" for part in parts)
    status, strict = _any([part.status for part in parts]), _any([part.strict or part.status for part in parts])
    return Part(says, said, status, f"at one of them {parts[0].claim}", strict)


def _any(found: Sequence[Status]) -> Status:
    if "supported" in found:
        return "supported"
    if all(status == "contradicted" for status in found):
        return "contradicted"
    if all(status == "not run yet" for status in found):
        return "not run yet"
    return "inconclusive"


def together(parts: Sequence[Part], *, strict: bool = False) -> Status:
    """The status of a claim that says all of these. strict: by intervals of 95%, where a part has one."""
    found = {(part.strict if strict else None) or part.status for part in parts}
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


def _bounds(above: float | None, below: float | None, text: str) -> str:
    """What a claim says of a number, in words."""
    if above is not None and below is not None:
        return f"between {number(above, text)} and {number(below, text)}"
    if above is not None:
        return f"more than {number(above, text)}"
    if below is not None:
        return f"less than {number(below, text)}"
    raise ValueError("a part without a bound could not fail")
