"""Which optimiser steps are saved: known before step 0, written to the manifest."""

from __future__ import annotations

import numpy as np

from mechicl.config import Config, ConfigError


def checkpoint_steps(config: Config) -> list[int]:
    """Ascending steps that become checkpoints: step 0, the last, and the schedule's union.

    Raises:
        ConfigError: an explicit step or window lies beyond the run.
    """
    plan, last = config.schedule, config.steps
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
        raise ConfigError(f"schedule names step {min(wrong, key=abs)}, but the run has steps 0..{last}.")
    return sorted(steps)


def state_steps(config: Config) -> set[int]:
    """Steps that also keep the full optimiser state, to resume and densify from: the
    checkpoints nearest to `config.states` even divisions of the run, the last included."""
    checkpoints = np.array(checkpoint_steps(config))
    targets = config.steps * np.arange(1, config.states + 1) / config.states
    nearest = np.abs(checkpoints[None] - targets[:, None]).argmin(axis=1)
    return {int(s) for s in checkpoints[nearest]} - {0}
