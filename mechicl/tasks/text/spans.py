"""Sequences of tokens of which several parts have metrics of their own.

`repeat`: beside the second half (`loss`, `token_acc`) the first (`loss_first`, `token_acc_first`), after which random
tokens come: no model predicts them, and what it scores there is what the second half is compared with.

Held-out text: beside all positions an early and a late stretch.

    loss_early, loss_late   mean over the stretch
    in_context_score        loss_late - loss_early: below 0 where a long context helps
    in_context_gain         the same with its sign turned, so that more is better

Olsson et al. (2022) take positions 50 and 500 of 512. The stretches are those places scaled to the length t of a
sequence, each t / 16 positions long (at least one), so that a score of few sequences is more than noise. The early one
is centred at 50 t / 512, the late one ends with the sequence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from mechicl.tasks.text.batch import METRICS, TokenBatch

if TYPE_CHECKING:
    from mechicl.models.params import Params

_FROM_BOTH = ("in_context_score", "in_context_gain")


@dataclass(frozen=True, repr=False)
class RepeatBatch(TokenBatch):
    """`repeat`: scored is the second half."""

    recorded: ClassVar[tuple[str, ...]] = (*METRICS, "loss_first", "token_acc_first")

    @property
    def spans(self) -> dict[str, Tensor]:
        return {"": self.scored, "_first": ~self.scored}


@dataclass(frozen=True, repr=False)
class TextBatch(TokenBatch):
    """Windows of text: what their beginnings and ends are predicted like."""

    recorded: ClassVar[tuple[str, ...]] = (*METRICS, "loss_early", "loss_late", *_FROM_BOTH)

    @property
    def spans(self) -> dict[str, Tensor]:
        parts = {"": self.scored}
        for name, (start, stop) in stretches(self.scored.shape[-1]).items():
            parts[name] = torch.zeros_like(self.scored)
            parts[name][..., start:stop] = True
        return parts

    def score(self, params: Params, final: Tensor, wanted: Iterable[str]) -> dict[str, Tensor]:
        wanted = tuple(wanted)
        plain = dict.fromkeys(name for name in wanted if name not in _FROM_BOTH)
        both = {"loss_early": None, "loss_late": None} if set(_FROM_BOTH) & set(wanted) else {}
        found = super().score(params, final, plain | both)
        if both:
            score = found["loss_late"] - found["loss_early"]
            found |= {"in_context_score": score, "in_context_gain": -score}
        return {name: found[name] for name in wanted}

    def chance(self, n_outputs: int) -> dict[str, float]:
        """Of a uniform guess, which no context changes."""
        return super().chance(n_outputs) | dict.fromkeys(_FROM_BOTH, 0.0)


def stretches(t: int) -> dict[str, tuple[int, int]]:
    """The early and the late stretch of a sequence of t positions, from and to (without it)."""
    width = max(1, t // 16)
    start = max(0, round(50 * t / 512 - width / 2))
    return {"_early": (start, start + width), "_late": (t - width, t)}
