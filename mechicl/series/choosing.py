"""Some of a series' checkpoints, for work that would take too long on all of them."""

from __future__ import annotations

from dataclasses import replace

from mechicl.errors import ConfigError, SeriesError
from mechicl.series.series import Series


def chosen(series: Series, steps: str | None = None, every: int | None = None) -> Series:
    """The same series, of which analyses see these checkpoints alone. What was recorded in training stays whole.

    Args:
        steps: '0,500,3000', or a range, '0..3000', of which every checkpoint is taken.
        every: of them at most one in so many optimiser steps; the first and the last stay.

    Raises:
        ConfigError: neither a list nor a range, or no distance. SeriesError: a step was not saved, or none is left.
    """
    if steps is None and every is None:
        return series
    kept = series.steps if steps is None else _named(series, steps)
    if every is not None:
        if every < 1:
            raise ConfigError(f"--every {every}: expected at least one step.")
        kept = _apart(kept, every)
    return replace(series, only=frozenset(kept))


def _named(series: Series, text: str) -> list[int]:
    try:
        if ".." in text:
            first, last = map(int, text.split(".."))
            found = [step for step in series.steps if first <= step <= last]
            if not found:
                raise SeriesError(f"--steps {text}: {series.root} has no checkpoints there; it has {_ends(series)}.")
            return found
        listed = [int(part) for part in text.split(",")]
    except ValueError as error:
        if isinstance(error, (ConfigError, SeriesError)):
            raise
        raise ConfigError(f"--steps {text}: expected checkpoints' steps, as 0,500, or a range, as 0..3000.") from None
    return sorted({series.entry(step).step for step in listed})


def _ends(series: Series) -> str:
    return f"{len(series.steps)}, from step {series.steps[0]} to {series.steps[-1]}" if series.steps else "none"


def _apart(steps: list[int], every: int) -> list[int]:
    kept: list[int] = []
    for step in steps:
        if not kept or step - kept[-1] >= every:
            kept.append(step)
    return kept if not steps or kept[-1] == steps[-1] else [*kept, steps[-1]]
