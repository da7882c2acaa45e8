"""Sequences of tokens of which one answer is asked, at the last position: what a corpus fixes, and `conflict`.

Metrics of `weights`, whose answer only the weights know:

    acc, prob, loss    whether the answer is the likeliest of all tokens; its probability; minus its logarithm

Metrics of `conflict` and its controls. B is what followed the last token in the context, C what follows it in the
corpus:

    follows_context    whether B is likelier than C: the context wins, or the weights do
    context_acc, weights_acc, neither
                       whether B, C, or another token is the likeliest of all
    context_prob, weights_prob
                       the probability of B, of C
    logit_difference   the logit of B minus that of C
    loss               minus the logarithm of B's probability

Legend: b sequences, t positions, v tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.forward import logits
from mechicl.protocol.batch import Hook, TaskBatch, embed_tokens
from mechicl.protocol.drawn import wrong_numbers

if TYPE_CHECKING:
    from mechicl.models.params import Params
    from mechicl.protocol.shipped import Shipped
    from mechicl.protocol.task import Task


@dataclass(frozen=True, repr=False)
class LastBatch(TaskBatch):
    """tokens [b, t], which the model reads; held [b]: what the weights answer."""

    task: ClassVar[str | None] = "text"
    everywhere: ClassVar[bool] = False
    recorded: ClassVar[tuple[str, ...]] = ("loss", "acc", "prob")

    tokens: Tensor
    held: Tensor

    def wrong(self, task: Task) -> str:
        asked = [(name, x) for name, x in vars(self).items() if name in ("tokens", "held", "shown", "other")]
        return next(filter(None, (wrong_numbers(name, x, task.n_outputs, "tokens") for name, x in asked)), "")

    @property
    def ids(self) -> Tensor:
        return self.tokens

    @property
    def right(self) -> Tensor:
        """[b]: the answer that the loss is of."""
        return self.held

    def embed(self, params: Params, model: ModelConfig, hook: Hook) -> Tensor:
        return embed_tokens(self.tokens, params)

    def loss(self, z: Tensor) -> Tensor:
        return self.losses(z).mean()

    def losses(self, z: Tensor) -> Tensor:
        return F.cross_entropy(z if z.dim() == 2 else z[:, -1], self.right, reduction="none")

    def score(self, params: Params, final: Tensor, wanted: Iterable[str]) -> dict[str, Tensor]:
        wanted = self.checked(wanted, self.recorded)
        said = logits(params, final)  # [*lead, b, v]
        return {name: self._one(name, said) for name in wanted}

    def _one(self, name: str, said: Tensor) -> Tensor:
        if name == "acc":
            return said.argmax(-1) == self.held
        logarithm = logit_of(said, self.right) - said.logsumexp(-1)
        return -logarithm if name == "loss" else logarithm.exp()

    def shipped(self, model: ModelConfig, metric: str) -> Shipped:
        from mechicl.tasks.text.shipped import of_last

        return of_last(self, metric)

    def answers(self) -> dict[str, Tensor]:
        return {"logit_in_weights": self.held}

    def roles(self) -> dict[str, Tensor]:
        last = torch.zeros_like(self.tokens, dtype=torch.bool)
        last[..., -1] = True
        return {"query": last}

    def chance(self, n_outputs: int) -> dict[str, float]:
        return {"loss": float(np.log(n_outputs)), "acc": 1 / n_outputs, "prob": 1 / n_outputs}


@dataclass(frozen=True, repr=False)
class ConflictBatch(LastBatch):
    """shown [b]: B; cue [b, t] bool: where the token before each B stands in the context, of `conflict` the last token
    itself."""

    recorded: ClassVar[tuple[str, ...]] = (
        "follows_context",
        "context_acc",
        "weights_acc",
        "neither",
        "context_prob",
        "weights_prob",
        "logit_difference",
        "loss",
    )

    shown: Tensor
    cue: Tensor

    @property
    def right(self) -> Tensor:
        return self.shown

    def _one(self, name: str, said: Tensor) -> Tensor:
        if name == "loss":
            return super()._one(name, said)
        b, c = logit_of(said, self.shown), logit_of(said, self.held)
        if name in ("follows_context", "logit_difference"):
            return b > c if name == "follows_context" else b - c
        if name in ("context_prob", "weights_prob"):
            return ((b if name == "context_prob" else c) - said.logsumexp(-1)).exp()
        top = said.argmax(-1)
        is_b, is_c = top == self.shown, top == self.held
        return {"context_acc": is_b, "weights_acc": is_c, "neither": ~(is_b | is_c)}[name]

    def answers(self) -> dict[str, Tensor]:
        """B and C."""
        return {"logit_in_context": self.shown, "logit_in_weights": self.held}

    def roles(self) -> dict[str, Tensor]:
        """query: the last position; cue: the token before each B in the context; shown: what follows it."""
        follows = torch.zeros_like(self.cue)
        follows[..., 1:] = self.cue[..., :-1]
        return super().roles() | {"cue": self.cue, "shown": follows}

    def chance(self, n_outputs: int) -> dict[str, float]:
        """Of a uniform guess; of `follows_context` one half, since every token is as often B as it is C."""
        one = 1 / n_outputs
        shares = dict.fromkeys(("context_acc", "weights_acc", "context_prob", "weights_prob"), one)
        rest = {
            "neither": 1 - 2 * one,
            "follows_context": 0.5,
            "logit_difference": 0.0,
            "loss": float(np.log(n_outputs)),
        }
        return shares | rest


def logit_of(said: Tensor, tokens: Tensor) -> Tensor:
    """The logits of one token per sequence: [*lead, b, v] and [b] -> [*lead, b]."""
    return said.gather(-1, tokens[:, None].expand(*said.shape[:-1], 1))[..., 0]
