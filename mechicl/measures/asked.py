"""What every measure is asked for: which checkpoints, which evaluators, and how many of their sequences."""

from __future__ import annotations

from collections.abc import Iterable

from mechicl.errors import ConfigError, SeriesError
from mechicl.protocol.batch import TaskBatch
from mechicl.series import Series

Steps = Iterable[int] | int | None  # one checkpoint, several, or all
Names = Iterable[str] | str | None  # one name, several, or those of the measure; of evaluators in most cases


def chosen_steps(series: Series, steps: Steps) -> list[int]:
    """The asked-for steps, one or several, each checked to exist; default all.

    Raises:
        SeriesError: a step was not saved, or there are none.
        ConfigError: it is no whole number.
    """
    if steps is None:
        listed = series.steps
    elif isinstance(steps, Iterable) and not isinstance(steps, str) and getattr(steps, "ndim", 1):
        listed = sorted({series.entry(s).step for s in steps})
    else:
        listed = [series.entry(steps).step]  # pyright: ignore[reportArgumentType]  (what else it is, `entry` says)
    if not listed:
        raise SeriesError(f"{series.root}: no checkpoints to measure, of {len(series.steps)} that it has.")
    return listed


def chosen_names(names: Names, default: Iterable[str]) -> list[str]:
    """The asked-for names, one or several; whether they exist is not checked here."""
    if names is None:
        return [*default]
    return [names] if isinstance(names, str) or not isinstance(names, Iterable) else [*names]


def chosen_sets(
    series: Series, evaluators: Names, default: Iterable[str], n: int | None, split: int = 0
) -> dict[str, TaskBatch]:
    """The evaluation sets of the asked-for evaluators.

    Raises:
        ConfigError: the run has no such evaluator, or none was asked for.
    """
    default = list(default)
    names = chosen_names(evaluators, default)
    if not names:
        raise ConfigError(f"evaluators={evaluators!r}: expected at least one, such as {', '.join(default[:3])!r}.")
    return {name: series.evaluation_set(name, n, split) for name in names}
