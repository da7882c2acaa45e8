"""One training step: loss, gradients, Adam, on plain tensors.

The loss is cross-entropy over all labels at the query (science.md 1.1). Which L2 is applied
to what is stated in `OptimConfig`. Parameters may be stacked over models (axis s, e.g. the
seeds of one recipe): each then takes its own step on its own batch, in one pass.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mechicl.config import Config, ModelConfig
from mechicl.data.banks import Batch
from mechicl.engine.forward import forward, logits
from mechicl.engine.gradients import loss_and_gradients
from mechicl.engine.params import Params, group


def loss(params: Params, batch: Batch, config: Config) -> Tensor:
    """Mean cross-entropy at the query, without any penalty. A scalar, differentiable."""
    final = forward(params, batch, config.model).final
    return F.cross_entropy(logits(params, final), batch.target)


class Trainer:
    """Parameters and their Adam moments: everything that a step changes.

    `params` are packed, plain or stacked. `step` is the number of updates done.
    """

    def __init__(self, config: Config, params: Params):
        self.config = config
        self.step = 0
        self.params = {k: v.detach().clone() for k, v in params.items()}
        self.moments = {k: (torch.zeros_like(v), torch.zeros_like(v)) for k, v in params.items()}
        # The same memory, flat, as numpy sees it.
        self._arrays = {k: [x.numpy().reshape(-1) for x in (p, *self.moments[k])] for k, p in self.params.items()}
        # The label embedding's gradient [s, v, d] is kept: all but a few rows of it are always 0.
        table = self.params["embed.W_E"]
        self._d_table = torch.zeros_like(table).view(-1, *table.shape[-2:]).numpy()

    def update(self, batch: Batch) -> Tensor:
        """One update on one batch; returns its loss (or [s]), before the update."""
        from mechicl.engine.adam import clear_rows

        by = loss_and_autograd if self.config.model.positions == "rotary" else loss_and_gradients
        value, grads = by(self.params, batch, self.config.model, self._d_table)
        self._adam(grads)
        clear_rows(self._d_table, batch.labels.numpy().reshape(len(self._d_table), -1))
        self.step += 1
        return value

    def _adam(self, grads: Params) -> None:
        from mechicl.engine.adam import adam

        optim, (b1, b2), done = self.config.optim, self.config.optim.betas, self.step + 1
        lr = optim.lr_at(self.step)
        rates = (lr / (1 - b1**done), b1, b2, optim.adam_eps, 1 / math.sqrt(1 - b2**done))
        for name, (p, m, v) in self._arrays.items():
            g = self._d_table if name == "embed.W_E" else grads[name].numpy()
            l2 = optim.l2 if optim.l2_group in ("all", group(name)) else 0.0
            held = (l2, 1.0) if optim.l2_form == "penalty" else (0.0, 1 - lr * l2)
            adam(p, m, v, g.reshape(-1), np.array((*rates, *held), g.dtype))

    def member(self, i: int) -> Params:
        """The parameters of stacked model `i`; of a plain trainer, its own. Not copied."""
        return {k: self._of(v, i) for k, v in self.params.items()}

    def state(self, i: int = 0) -> dict[str, Tensor]:
        """All tensors that model `i` needs to go on: weights, both Adam moments, the step."""
        out = {"step": torch.tensor(self.step)}
        for name, p in self.params.items():
            for kind, x in zip(("weights", "exp_avg", "exp_avg_sq"), (p, *self.moments[name]), strict=True):
                out[f"{kind}/{name}"] = self._of(x, i).clone()
        return out

    def _of(self, x: Tensor, i: int) -> Tensor:
        return x[i] if self.params["embed.W_E"].dim() == 3 else x

    @classmethod
    def from_state(cls, config: Config, state: dict[str, Tensor]) -> Trainer:
        """The inverse of `state`: the next update is the one the saved run would have made."""
        weights = {k.removeprefix("weights/"): v for k, v in state.items() if k.startswith("weights/")}
        trainer = cls(config, weights)
        trainer.step = int(state["step"])
        for name, moments in trainer.moments.items():
            for kind, moment in zip(("exp_avg", "exp_avg_sq"), moments, strict=True):
                moment.copy_(state[f"{kind}/{name}"])
        return trainer


def loss_and_autograd(
    params: Params, batch: Batch, model: ModelConfig, d_table: np.ndarray
) -> tuple[Tensor, dict[str, Tensor]]:
    """As `loss_and_gradients`, for any model, by autograd. Parameters are not stacked."""
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    final = forward(leaves, batch, model).final
    value = F.cross_entropy(logits(leaves, final), batch.target)
    grads = dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True))
    d_table += grads["embed.W_E"].numpy()
    return value.detach(), grads
