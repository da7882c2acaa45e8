"""Some of a series' checkpoints, for work that would take too long on all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mechicl.errors import SeriesError
from mechicl.series.series import Series
from mechicl.system.steps import Listed, apart, check, parse_steps


def chosen(series: Series, steps: str | None = None, every: int | None = None) -> Series:
    """The same series, of which analyses see these checkpoints alone. What was recorded in training stays whole.

    Args:
        steps: '0,500,3000', or a range, '0..3000', of which every checkpoint is taken.
        every: of these at most one per this many optimiser steps; the first and the last stay.

    Raises:
        ConfigError: neither a list nor a range, or no distance, or a list and a distance.
        SeriesError: a step was not saved, or none is left.
    """
    if steps is None and every is None:
        return series
    listed = None if steps is None else parse_steps(steps)
    check(listed, every)
    return replace(series, only=frozenset(apart(_named(series, listed), every)))


def counted(series: Series) -> str:
    """How many checkpoints analyses see: '44 checkpoints', or '25 of 44 checkpoints'."""
    seen, saved = len(series.steps), len(series.saved)
    return f"{seen:,} checkpoints" if seen == saved else f"{seen:,} of {saved:,} checkpoints"


def with_steps(series: Series, steps: Iterable[int]) -> Series:
    """The same series, of which analyses see these checkpoints, too."""
    return series if series.only is None else replace(series, only=series.only | frozenset(steps))


def _named(series: Series, steps: Listed | None) -> list[int]:
    if steps is None:
        return series.steps
    if not isinstance(steps, range):
        return sorted({series.entry(step).step for step in steps})
    found = [step for step in series.steps if step in steps]
    if not found:
        last = steps.stop - 1
        raise SeriesError(
            f"--steps {steps.start}..{last}: {series.root} has no checkpoints there; it has {_ends(series)}."
        )
    return found


def _ends(series: Series) -> str:
    return f"{len(series.steps)}, from step {series.steps[0]} to {series.steps[-1]}" if series.steps else "none"
