"""Attention patterns that heads can be given during training, by name. A task adds its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mechicl.doors import Door, of_tasks

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """One pattern. It has one of the two functions; t is the number of positions.

    meaning: what it is, in words.
    held: t -> the attention itself [t, t], rows sum to 1.
    banned: t -> what is masked before the softmax, bool [t, t]; the rest is as learned.
    task: the one task whose sequences have such positions; None: every task.
    """

    meaning: str
    held: Callable[[int], Tensor] | None = None
    banned: Callable[[int], Tensor] | None = None
    task: str | None = None


PATTERNS: Door[Pattern] = Door("attention pattern", built_in=(__name__, *of_tasks("training")))


def _uniform(t: int) -> Tensor:
    import torch

    return torch.ones(t, t).tril() / torch.arange(1, t + 1)[:, None]


def _previous(t: int) -> Tensor:
    import torch

    return torch.eye(t)[(torch.arange(t) - 1).clamp(min=0)]


def _self(t: int) -> Tensor:
    import torch

    return torch.eye(t)


for _name, _pattern in {
    "uniform": Pattern(meaning="the same attention to every position so far, itself included", held=_uniform),
    "previous": Pattern(meaning="all attention on the position before (the first: on itself)", held=_previous),
    "self": Pattern(meaning="all attention on the position itself", held=_self),
}.items():
    PATTERNS.add(_name, _pattern, __name__)
