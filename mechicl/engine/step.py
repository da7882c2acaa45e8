"""One training step: loss, gradients, Adam, on plain tensors.

The loss is cross-entropy over all labels at the query (science.md 1.1). What treatments do to a
step is a function of the config and the step's number (engine/treated.py). Which L2 is applied
to what is stated in `OptimConfig`. Parameters may be stacked over models (axis s, e.g. the
seeds of one recipe): each then takes its own step on its own batch, in one pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mechicl.config import Config, ModelConfig
from mechicl.data.banks import Batch
from mechicl.engine.forward import forward, logits
from mechicl.engine.params import Params, group
from mechicl.engine.share import Piece, Shared
from mechicl.engine.treated import LayerTreatment, drawn_anew, edits, frozen, layer_treatments, moments_since
from mechicl.treatments import in_force


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
        self._many = self.params["embed.W_E"].dim() == 3
        # The same memory, stacked, as numpy sees it; and as the flat arrays that Adam walks.
        self._arrays = {k: (v if self._many else v.unsqueeze(0)).numpy() for k, v in self.params.items()}
        # The label embedding's gradient is all zeros but in a few rows, cleared after each step.
        self._grads = {k: np.zeros_like(x) for k, x in self._arrays.items()}
        from mechicl.engine.adam import pieces

        moments = zip(*self.moments.values(), strict=True)
        walked = (self._arrays.values(), *([x.numpy() for x in each] for each in moments), self._grads.values())
        self._size = sum(x.size for x in self._arrays.values())
        self._walked = pieces([tuple(x.reshape(-1) for x in arrays) for arrays in walked])

    def update(self, batch: Batch) -> Tensor:
        """One update on one batch; returns its loss (or [s]), before the update."""
        from mechicl.engine.adam import clear_rows
        from mechicl.engine.gradients import loss_and_gradients

        model, treatments, treated = self.config.model, self.config.treatments, {}
        if treatments:
            self._strike()
            treated = layer_treatments(in_force(treatments, self.step + 1), model, 2 * batch.n_pairs + 1)
        of_unembedding, of_rest = self._adam()
        work = Shared(self._size)
        args = (self._arrays, batch, model, self._grads, treated)
        with np.errstate(over="ignore", invalid="ignore"):  # the loss shows that a run diverges
            if model.positions == "rotary":
                value = loss_and_autograd(*args)
                work.add(of_unembedding)
            else:
                value = loss_and_gradients(*args, unembedded=lambda: work.add(of_unembedding))
        work.add(of_rest)
        work.finish()
        value = torch.from_numpy(value)
        table = self._grads["embed.W_E"]
        clear_rows(table, batch.labels.numpy().reshape(len(table), -1))
        self.step += 1
        return value if self._many else value[0]

    def _strike(self) -> None:
        """What treatments do between two updates: draw parameters anew, clear moments."""
        for name, p in drawn_anew(self.config, self.step).items():
            self.params[name].copy_(p)
        for name, moments in self.moments.items():
            if moments_since(self.config.treatments, self.step, name) == self.step:
                for moment in moments:
                    moment.zero_()

    def _adam(self) -> tuple[list[Piece], list[Piece]]:
        """The update in pieces: the unembedding's, which can go first, and the rest."""
        from mechicl.engine.adam import adam

        optim, lr, dtype = self.config.optim, self.config.optim.lr_at(self.step), self._arrays["embed.W_E"].dtype
        each = np.array([self._rates(name, lr) for name in self.params], dtype)
        shared = np.array((*optim.betas, optim.adam_eps), dtype)
        early, rest, unembedding = [], [], [*self.params].index("unembed.W_U")
        for which, arrays in self._walked:
            (early if which == [unembedding] else rest).append(partial(adam, *arrays, shared, each[which]))
        return early, rest

    def _rates(self, name: str, lr: float) -> tuple[float, float, float, float, float]:
        """What `adam` does to one parameter in the update about to be made."""
        optim, (b1, b2), treatments = self.config.optim, self.config.optim.betas, self.config.treatments
        live = not (treatments and frozen(treatments, self.step, name))
        done = self.step + 1 - (moments_since(treatments, self.step, name) if treatments else 0)
        l2 = optim.l2 if optim.l2_group in ("all", group(name)) else 0.0
        held = (l2, 1.0) if optim.l2_form == "penalty" else (0.0, 1 - lr * l2)
        return live, lr / (1 - b1**done), 1 / math.sqrt(1 - b2**done), *held

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
        return x[i] if self._many else x

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
    params: dict[str, np.ndarray], batch: Batch, model: ModelConfig, grads: dict[str, np.ndarray],
    treated: Mapping[int, LayerTreatment] = MappingProxyType({}),
) -> np.ndarray:  # fmt: skip
    """As `gradients.loss_and_gradients`, for any model, by autograd."""
    values = []
    for i in range(len(params["embed.W_E"])):
        leaves = {name: torch.from_numpy(p[i]).requires_grad_() for name, p in params.items()}
        own = batch if batch.target.dim() == 1 else batch[i]
        final = forward(leaves, own, model, edits=edits(treated, model)).final
        value = F.cross_entropy(logits(leaves, final), own.target)
        for name, grad in zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True):
            grads[name][i] = grad.numpy()
        values.append(float(value.detach()))
    return np.array(values, params["embed.W_E"].dtype)
