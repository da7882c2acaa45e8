"""Which optimiser steps are evaluated and saved: known before step 0, written to the manifest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mechicl.config import Config, ScheduleConfig
from mechicl.errors import ConfigError


def evaluated_steps(config: Config) -> list[int]:
    """Ascending steps at which every evaluator is scored: step 0, the last, and the schedule's union.

    Raises:
        ConfigError: an explicit step or window lies beyond the run.
    """
    plan, last = config.checkpoint_steps, config.steps
    steps = {0, last}
    if plan.log_points:
        steps |= set(np.unique(np.geomspace(1, last, plan.log_points).round().astype(int)).tolist())
    if plan.linear_every:
        steps |= set(range(0, last + 1, plan.linear_every))
    steps |= set(plan.steps)
    for window in plan.windows:
        steps |= {*range(window.start, window.stop + 1, window.every), window.stop}
    wrong = [s for s in steps if not 0 <= s <= last]
    if wrong:
        step = min(wrong, key=abs)
        field = "steps" if step in plan.steps else "windows"
        raise ConfigError(
            f"checkpoint_steps.{field} names step {step}, but the run has steps 0..{last}. Remove steps outside this "
            f"range: checkpoint_steps.{field} = [] removes all that are named so."
        )
    return sorted(steps)


def within(plan: ScheduleConfig, last: int) -> ScheduleConfig:
    """A schedule without what lies after step `last`, for a run that is made shorter. A window that goes beyond it ends
    there."""
    windows = (replace(each, stop=min(each.stop, last)) for each in plan.windows if each.start <= last)
    return replace(plan, steps=tuple(step for step in plan.steps if step <= last), windows=tuple(windows))


def checkpoint_steps(config: Config) -> list[int]:
    """Ascending steps whose weights are kept: all evaluated steps, or with `keep='metrics'` the first and the last."""
    steps = evaluated_steps(config)
    return steps if config.keep == "all" else [steps[0], steps[-1]]


def resume_steps(config: Config) -> set[int]:
    """Steps at which a run saves all that it needs to continue: the evaluated steps nearest to `config.states` equal
    divisions of the run, with the last."""
    evaluated = np.array(evaluated_steps(config))
    targets = config.steps * np.arange(1, config.states + 1) / config.states
    nearest = np.abs(evaluated[None] - targets[:, None]).argmin(axis=1)
    return {int(s) for s in evaluated[nearest]} - {0}


def state_steps(config: Config) -> set[int]:
    """Steps whose full optimiser state is kept, to resume and densify from. With
    `keep='metrics'` none is kept: each replaces the one before, and the end of the run removes the last."""
    return resume_steps(config) if config.keep == "all" else set()
