"""The loss at every position: what a longer context is worth, over training."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mechicl.config import ModelConfig
from mechicl.engine.forward import forward
from mechicl.errors import ConfigError
from mechicl.measures.asked import Names, Steps, chosen_sets
from mechicl.measures.door import measure
from mechicl.measures.parts import over_evaluators
from mechicl.models.params import Params
from mechicl.protocol.batch import TaskBatch
from mechicl.registry import main
from mechicl.series import Series
from mechicl.statistics import normal_interval
from mechicl.system.surroundings import reading

__all__ = ["loss_by_position"]


@reading()
@measure(
    "loss_by_position",
    rows="step, evaluator, position",
    value="the loss at the position, in nats",
    against="column `chance`: the loss of a uniform guess; the other positions",
)
def loss_by_position(
    series: Series, steps: Steps = None, evaluators: Names = None, n: int | None = None, progress: bool = True
) -> pd.DataFrame:
    """The loss at every position of a task that is scored at every position.

    Args:
        series: the run.
        steps: which checkpoints (default: all).
        evaluators: the evaluators whose sequences are used (default: the run's main ones with an answer at every
            position).
        n: sequences per evaluator (default: the run's `n_eval`).
        progress: show a bar over long series.

    Returns:
        The tidy table, one row per step, evaluator and position, with `position` (from 0: the loss of the token after
        it) and `chance` (of a uniform guess) as further columns. `value` is in nats, with n and its normal 95% interval
        over sequences.

    Raises:
        ConfigError: no evaluator of the run has an answer at every position, or a given one has not.
        SeriesError: a step was not saved.
    """
    sets = asked = chosen_sets(series, evaluators, main(series.config), n)
    if evaluators is None:
        sets = {name: batch for name, batch in sets.items() if batch.everywhere}
    if lacking := [name for name, batch in sets.items() if not batch.everywhere]:
        raise ConfigError(
            f"evaluator {lacking[0]!r}: it has an answer only at the last position, but this measure needs one at "
            "every position."
        )
    if not sets:
        raise ConfigError(f"no evaluator of {series.name} has an answer at every position: it has {', '.join(asked)}.")
    model = series.config.model
    t, widest = series.task.n_tokens, max(map(len, sets.values()))
    size = 4.0 * widest * t * (model.d_model * (8 + 2 * model.mlp_ratio) + model.n_heads * t)

    return over_evaluators(
        series,
        "positions",
        steps,
        sets,
        partial(_measured, model=model),
        size,
        extra=("position", "chance"),
        label="losses",
        progress=progress,
    )


def _measured(
    chunk: list[int], params: Params, name: str, batch: TaskBatch, *, model: ModelConfig
) -> Iterator[dict[str, Any]]:
    found = batch.position_losses(params, forward(params, batch, model).final)
    chance = batch.chance(params["unembed.b_U"].shape[-1])["loss"]
    values = found.reshape(len(chunk), len(batch), -1).cpu().numpy()
    mean, low, high = normal_interval(np.moveaxis(values, 1, -1))  # [s, t]
    for i, step in enumerate(chunk):
        for at in range(mean.shape[1]):
            yield {
                "step": step,
                "evaluator": name,
                "metric": "loss",
                "intervention": "intact",
                "position": at,
                "chance": chance,
                "value": float(mean[i, at]),
                "n": len(batch),
                "ci_low": float(low[i, at]),
                "ci_high": float(high[i, at]),
            }
