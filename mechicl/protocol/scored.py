"""Is what somebody's own `score` returned a number for each sequence?

An interval over three numbers looks as one over a thousand sequences does, so this is seen to each time. It costs
nothing: shapes alone are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from mechicl import doors, own_code
from mechicl.errors import ConfigError
from mechicl.protocol.batch import TaskBatch
from mechicl.protocol.known import TASKS


def check_scored(scored: Any, batch: TaskBatch, final: Tensor, wanted: Iterable[str]) -> dict[str, Tensor]:
    """What `score` returned of a batch and `final`, if it is what `TaskBatch.score` promises.

    Raises:
        ConfigError: it is something else; says what, and what was expected.
    """
    if doors.is_ours(type(batch).__module__):
        return scored
    shape = final.shape[: -2 if batch.everywhere else -1]
    if problem := _problem(scored, list(shape), list(wanted)):
        raise ConfigError(f"{whose(batch)}: {type(batch).__name__}.score returned {problem}.")
    return scored


def whose(batch: TaskBatch) -> str:
    """The task that a plugin's batch belongs to, as "your task 'mine' (FILE)"; of no task, its module."""
    home = type(batch).__module__
    kinds = [kind for kind in TASKS if doors.home_of(TASKS.what, kind) == home]
    mine = batch.task if batch.task in kinds else next(iter(kinds), None)
    return f"your module {home!r}" if mine is None else own_code.whose(TASKS.what, mine)


def _problem(scored: object, shape: list[int], wanted: list[str]) -> str:
    each = f"expected a tensor of the shape {shape} for each metric, a number for each sequence"
    if not isinstance(scored, dict):
        return f"{'None' if scored is None else f'a {type(scored).__name__}'}: expected a dict. In it, {each}"
    for name in wanted:
        if name not in scored:
            return f"no {name!r}: {each} of {', '.join(wanted)}"
        found = scored[name]
        if not isinstance(found, Tensor):
            return f"{name!r} as a {type(found).__name__}: {each}"
        if list(found.shape) != shape:
            return f"{name!r} of the shape {list(found.shape)}: {each}"
    return ""
