"""How long a run takes on one core here and now, measured from a few of its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mechicl import own_code
from mechicl.config import Config, ScheduleConfig, Seeds
from mechicl.errors import ConfigError
from mechicl.evaluators import evaluate_params, evaluation_sets
from mechicl.models.params import init, pack
from mechicl.protocol.known import task_of
from mechicl.protocol.task import STEPS_PER_DRAW
from mechicl.schedule import evaluated_steps
from mechicl.series.source import built
from mechicl.sweeps.conditions import Condition
from mechicl.system.devices import CPU
from mechicl.system.progress import each
from mechicl.system.work_queue import threads
from mechicl.training.devices import trainer_on
from mechicl.training.loop import training_batches
from mechicl.training.own_task import check_task

_TIMED = 12  # of them, this many updates are timed


@dataclass(frozen=True)
class Pace:
    """Seconds for one update with its sequences, for scoring every evaluator once, and to start."""

    step: float
    evaluation: float
    start: float

    def seconds(self, config: Config, begins: int = 0, replayed: int = 0) -> float:
        """A whole run. Of a branch: the step that it begins at, and how many of its parent's are replayed before."""
        evaluated = sum(step >= begins for step in evaluated_steps(config))
        return self.start + (config.steps - begins + replayed) * self.step + evaluated * self.evaluation

    def of(self, condition: Condition, seed: int) -> float:
        """A whole run of a condition, from the state that its parent keeps."""
        replayed = condition.branch.replayed(seed) if condition.branch else 0
        return self.seconds(condition.at_seed(seed), condition.begins, replayed)


_AT_ONCE = Pace(0.0, 0.0, 1.0)  # of runs that fail before their first step


def paces(
    conditions: Sequence[Condition],
    data: str | Path | None,
    progress: bool,
    device: str = CPU,
    failing: bool = False,
) -> dict[str, Pace]:
    """The pace of each condition, by name; conditions of one size are measured once.

    Args:
        failing: go on where a plugin's code fails: its runs will fail, each by itself, and others may not.

    Raises:
        ConfigError: a condition cannot be run: its bank or an evaluator is impossible.
    """
    found: dict[Config, Pace] = {}
    out = {}
    for condition in each(conditions, "measuring", show=progress, leave=False, unit=" conditions"):
        size = _size(condition.config)
        if size not in found:
            where = condition.branch.data(condition.config.seeds.init) if condition.branch and data is None else data
            try:
                found[size] = pace(condition.config, where, device)
            except Exception as error:
                if isinstance(error, ConfigError) or not failing or own_code.failure(error) is None:
                    raise
                found[size] = _AT_ONCE
        out[condition.name] = found[size]
    return out


def _size(config: Config) -> Config:
    """The config without what does not change how long a step takes."""
    optim = replace(config.optim, lr=0.0, warmup_steps=0, lr_schedule="constant")
    return replace(
        config,
        name="size",
        steps=1,
        seeds=Seeds(),
        states=1,
        checkpoint_steps=ScheduleConfig(),
        training_interventions=(),
        optim=optim,
    )


def pace(config: Config, data: str | Path | None = None, device: str = CPU) -> Pace:
    """Measured on a fresh model of this config, which is thrown away."""
    with threads(config.threads):
        task = task_of(config)
        start, source = _timed(lambda: built(config, data))
        more, sets = _timed(lambda: evaluation_sets(config, task.source_at(config, source, 0)))
        check_task(config, source, sets)
        sets = {name: batch.to(device) for name, batch in sets.items()}
        trainer = trainer_on(device)(replace(config, training_interventions=()), pack(init(config)), device)
        drawn, batches = _timed(lambda: list(training_batches(config, source, 0, STEPS_PER_DRAW)))
        evaluate_params(trainer.params, sets, config)  # compiles
        scored, _ = _timed(lambda: evaluate_params(trainer.params, sets, config))
        spent = [_timed(lambda batch=batch: float(trainer.update(batch)))[0] for batch in batches[: _TIMED + 2]]
    return Pace(float(np.mean(spent[2:])) + drawn / STEPS_PER_DRAW, scored, start + more)


def _timed(call: Callable[..., Any]):
    start = time.perf_counter()
    value = call()
    return time.perf_counter() - start, value
