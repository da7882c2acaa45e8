"""Is what somebody's own task returns such that a run can be trained on it?

Everything of it is called once, on the training sequences and on the evaluation sets, before a run has a folder. A
mistake that shows in the first step, or in `show` after the last, would leave a run that has begun. What `draw` and
`score` return is checked wherever they are called (protocol/drawn.py, protocol/scored.py), and what `source` returns
where it is built (series/source.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mechicl import doors
from mechicl.config import Config
from mechicl.engine.forward import forward, loss_of
from mechicl.errors import ConfigError
from mechicl.evaluators import EVALUATORS, score
from mechicl.models.params import Params, init, pack
from mechicl.own_code import is_yours, whose
from mechicl.protocol.batch import TaskBatch
from mechicl.protocol.known import TASKS, task_of


def check_task(config: Config, source: Any, sets: Mapping[str, TaskBatch]) -> None:
    """Raise unless a plugin's task embeds, loses, scores and guesses as `TaskBatch` says. mechicl's own are not asked.

    Args:
        source: what training sequences are drawn from.
        sets: evaluator -> sequences of it.

    Raises:
        ConfigError: names the task, its file and the method; says what it returned, and what was expected.
    """
    task = task_of(config)
    if not is_yours(TASKS.what, task.kind):
        return
    params = {name: p.requires_grad_() for name, p in pack(init(config)).items()}
    try:
        _check_loss(params, next(task.batches(config, source, 0, 1)), config)
        for name, batch in sets.items():
            with torch.no_grad():
                _check_embedded(params, batch, config)
                score(params, forward(params, batch, config.model).final, batch)
            if not doors.is_ours(type(batch).__module__):
                _check_chance(name, batch, task.n_outputs)
    except _Wrong as wrong:
        raise ConfigError(f"{whose(TASKS.what, task.kind)}: {wrong}.") from None


class _Wrong(Exception):
    """What a method returned, and what was expected."""


def _check_embedded(params: Params, batch: TaskBatch, config: Config) -> None:
    name, (b, t), positions = type(batch).__name__, batch.shape, task_of(config).n_tokens
    if t != positions and config.model.positions == "learned":
        raise _Wrong(f"ids of a {name} has {t} positions, but n_tokens is {positions}: expected as many")
    found, expected = batch.embed(params, config.model, lambda _, x: x), [b, t, config.model.d_model]
    if not isinstance(found, Tensor) or list(found.shape) != expected:
        raise _Wrong(
            f"{name}.embed returned {_said(found)}: expected a tensor of the shape {expected}, which is sequences, "
            "positions (as many as `ids` has) and d_model"
        )


def _check_loss(params: Params, batch: TaskBatch, config: Config) -> None:
    with torch.enable_grad():
        _check_embedded(params, batch, config)
        found: Any = loss_of(params, forward(params, batch, config.model).final, batch)
    name = f"{type(batch).__name__}.loss"
    if not isinstance(found, Tensor) or found.dim() or not found.is_floating_point():
        raise _Wrong(
            f"{name} returned {_said(found)}: expected one number, a tensor of the shape [], such as .mean() has"
        )
    if not found.requires_grad:
        raise _Wrong(
            f"{name} returned a number without a gradient: expected one that torch computes from `z`, without numpy, "
            ".item() or .detach()"
        )


def _check_chance(evaluator: str, batch: TaskBatch, n_outputs: int) -> None:
    name, metric, found = type(batch).__name__, EVALUATORS[evaluator].primary_metric, batch.chance(n_outputs)
    asked = f"the primary metric of the evaluator {evaluator!r}"
    if metric not in batch.recorded:
        raise _Wrong(f"{name}.recorded is {', '.join(batch.recorded)}: expected {metric!r} among them, {asked}")
    if not isinstance(found, Mapping) or metric not in found:
        has = f"{', '.join(map(str, found)) or 'nothing'}" if isinstance(found, Mapping) else _said(found)
        raise _Wrong(f"{name}.chance returned {has}: expected a dict with a number for {metric!r}, {asked}")
    if not isinstance(found[metric], (int, float)):
        raise _Wrong(f"{name}.chance returned {_said(found[metric])} for {metric!r}: expected a float")


def _said(found: object) -> str:
    if isinstance(found, Tensor):
        return f"a tensor of the shape {list(found.shape)}, {str(found.dtype).removeprefix('torch.')}"
    return "None" if found is None else f"a {type(found).__name__}"
