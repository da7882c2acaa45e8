"""Is what somebody's own `draw` returned a batch that a model can read?

Compiled kernels read a label's row of a table without asking whether there is one: a label that no output has would be
a number from somewhere else in memory, or the end of the process. So what a plugin's evaluator or task draws is checked
once, before anything is computed from it. Every batch says itself what its numbers may be (`TaskBatch.wrong`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mechicl.errors import ConfigError
from mechicl.protocol.batch import TaskBatch

if TYPE_CHECKING:
    from mechicl.protocol.task import Task


def check_drawn(batch: object, task: Task, n: int, whose: str) -> None:
    """Raise unless these are `n` sequences that a model of the task can read.

    Args:
        batch: what `draw` returned.
        whose: whose draw it was, as "the evaluator 'mine' (FILE)".

    Raises:
        ConfigError: it is something else; says what, and what was expected.
    """
    if problem := _problem(batch, task, n):
        raise ConfigError(f"{whose}: draw(..., n={n}, rng) returned {problem}.")


def _problem(batch: object, task: Task, n: int) -> str:
    wanted = f"expected a batch of the task {task.kind!r}"
    if made := " or ".join(_called(each) for each in _known(TaskBatch) if each.task == task.kind):
        wanted += f", {made}"
    if batch is None:
        return f"None: {wanted}. Does it end without `return`?"
    if not isinstance(batch, TaskBatch) or not type(batch).is_of(task.kind):
        return f"a {type(batch).__name__}: {wanted}"
    name = type(batch).__name__
    for field, x in vars(batch).items():
        if not isinstance(x, Tensor):
            return f"a {name} whose field {field} is a {type(x).__name__}: expected a tensor (torch.from_numpy)"
        if x.dim() == 0 or len(x) != n:
            return (
                f"a {name} whose field {field} has the shape {_shape(x)}: expected {n} sequences along its first "
                "axis, as many as were asked for"
            )
    if said := batch.wrong(task):
        return f"a {name} whose {said}"
    if batch.shape[-1] > task.n_tokens:
        return f"a {name} of {batch.shape[-1]} positions: this run's model reads {task.n_tokens}"
    return ""


def _known(cls: type[TaskBatch]) -> Iterator[type[TaskBatch]]:
    for each in cls.__subclasses__():
        yield each
        yield from _known(each)


def _called(cls: type[TaskBatch]) -> str:
    """How one is made, as 'Batch(exemplars, labels)'."""
    return f"{cls.__name__}({', '.join(f.name for f in fields(cls))})" if is_dataclass(cls) else cls.__name__


def wrong_shape(name: str, x: Tensor, expected: tuple[int, ...], axes: str) -> str:
    """In words, that a tensor has not the expected shape, whose axes are called so; '' if it has."""
    if tuple(x.shape) == expected:
        return ""
    return f"field {name} has the shape {_shape(x)}: expected {list(expected)}, which is {axes}"


def wrong_numbers(name: str, x: Tensor, below: int | None = None, what: str = "") -> str:
    """In words, that these are no whole numbers from 0 to `below` - 1; '' if they are.

    Args:
        what: what there are so many of, as 'labels'.
    """
    if x.dtype != torch.int64:
        return f"field {name} is of type {_dtype(x)}: expected whole numbers, int64, such as {name}.long() has"
    if below is None or not x.numel():
        return ""
    low, high = int(x.min()), int(x.max())
    if low >= 0 and high < below:
        return ""
    return f"field {name} has numbers from {low} to {high}: expected 0 to {below - 1}, since there are {below} {what}"


def not_finite(name: str, x: Tensor) -> str:
    """In words, that these are no finite numbers, or no floating-point ones; '' if they are."""
    if not x.is_floating_point():
        return f"field {name} is of type {_dtype(x)}: expected floating-point numbers, such as {name}.float() has"
    if x.isfinite().all():
        return ""
    return f"field {name} has numbers that are not finite (nan or inf): expected finite ones"


def _shape(x: Tensor) -> list[int]:
    """As a message shows it."""
    return list(x.shape)


def _dtype(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")
