"""One training step: loss, gradients, Adam, on plain tensors.

The loss is the task's. A task may have written its gradients out (`TaskBatch.gradients`); all others train by
autograd. What training interventions do to a step is a function of the config and the step's number
(training_interventions.py, engine/held.py). `OptimConfig` says which L2 penalty applies to which parameters. Parameters
may be stacked over models (axis s, such as the seeds of one recipe): each model then takes its own step on its own
batch, in one pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from mechicl.config import Config, ModelConfig
from mechicl.engine.forward import forward, loss_of
from mechicl.engine.held import HeldLayer, edits, held_layers, query_scores, reading_head, scores_hook
from mechicl.models.params import Params, group, init, pack
from mechicl.protocol.batch import TaskBatch
from mechicl.system.devices import CPU
from mechicl.system.work_queue import Piece, Shared
from mechicl.training_interventions import frozen, in_force, in_groups, moments_since, updates_of_moments

_LINE = 16  # numbers in a cache line: every parameter begins one


def loss(params: Params, batch: TaskBatch, config: Config) -> Tensor:
    """The task's loss, without any penalty. A scalar, differentiable."""
    return loss_of(params, forward(params, batch, config.model).final, batch)


def drawn_anew(config: Config, update: int) -> Params:
    """The packed parameters that a reset draws just before this update; mostly none."""
    groups = [g for x in config.training_interventions if x.kind == "reset" and x.falls_on(update) for g in x.groups]
    if not groups:
        return {}
    return {name: p for name, p in pack(init(config, update)).items() if in_groups(name, tuple(groups))}


class Trainer:
    """Parameters and their Adam moments: everything that a step changes. On the CPU; `on_device` has the others.

    `params` are packed, plain or stacked. `step` is the number of updates done.
    """

    def __init__(self, config: Config, params: Params, device: str = CPU):
        self.config: Config = config
        self.device: str = device
        self.step: int = 0
        self.params: Params
        self.moments: dict[str, tuple[Tensor, Tensor]]
        bounds, end = [], 0
        for p in params.values():
            bounds.append((end, end + p.numel()))
            end += -(-p.numel() // _LINE) * _LINE
        # One memory for all, which Adam walks in one go: parameters, both moments, gradients.
        self._flat = torch.zeros(4, end, dtype=params["unembed.W_U"].dtype, device=device)
        where = {name: (slice(*each), p.shape) for (name, p), each in zip(params.items(), bounds, strict=True)}
        self.params, first, second, grads = (
            {name: row[at].view(shape) for name, (at, shape) in where.items()} for row in self._flat
        )
        for name, p in params.items():
            self.params[name].copy_(p.detach())
        self.moments = {name: (first[name], second[name]) for name in params}
        self._many = self.params["unembed.W_U"].dim() == 3
        optim = config.optim
        self._l2 = np.array([optim.l2 if optim.l2_group in ("all", group(name)) else 0.0 for name in params])
        self._prepare(bounds, grads)

    def _prepare(self, bounds: list[tuple[int, int]], grads: Params) -> None:
        """What `_step` needs. bounds: where each parameter lies in the flat memory; grads: its gradients there."""
        from mechicl.engine.fast.adam import pieces

        # The same memory, stacked, as numpy sees it.
        self._arrays, self._grads = (
            {name: (x if self._many else x.unsqueeze(0)).numpy() for name, x in each.items()}
            for each in (self.params, grads)
        )
        optim, cut, unembedding = self.config.optim, pieces(bounds), [*self.params].index("unembed.W_U")
        self._early = [segments for segments in cut if (segments[:, 0] == unembedding).all()]
        self._rest = [segments for segments in cut if (segments[:, 0] != unembedding).any()]
        self._betas = np.array((*optim.betas, optim.adam_eps), self._flat.numpy().dtype)

    def update(self, batch: TaskBatch) -> Tensor:
        """One update on one batch, on whatever device it is; returns its loss (or [s]), before the update."""
        model, interventions, held = self.config.model, self.config.training_interventions, {}
        if interventions:
            self._strike()
            held = held_layers(in_force(interventions, self.step + 1), model, batch.shape[-1], self.device)
        value = self._step(batch, held)
        self.step += 1
        return value if self._many else value[0]

    def _step(self, batch: TaskBatch, held: dict[int, HeldLayer]) -> Tensor:
        """The loss [s] before the update."""
        model = self.config.model
        of_unembedding, of_rest = self._adam()
        work = Shared(self._flat.shape[1])
        by = batch.gradients(model) or loss_and_autograd
        with np.errstate(over="ignore", invalid="ignore"):  # the loss shows that a run diverges
            value = torch.from_numpy(
                by(self._arrays, batch, model, self._grads, held, unembedded=lambda: work.add(of_unembedding))
            )
        work.add(of_rest)
        work.finish()
        batch.clear(self._grads)
        return value

    def _strike(self) -> None:
        """What training interventions do between two updates: draw parameters anew, clear moments."""
        for name, p in drawn_anew(self.config, self.step).items():
            self.params[name].copy_(p)
        for name, moments in self.moments.items():
            if moments_since(self.config.training_interventions, self.step, name) == self.step:
                for moment in moments:
                    moment.zero_()

    def _adam(self) -> tuple[list[Piece], list[Piece]]:
        """The update in pieces: the unembedding's, which can go first, and the rest."""
        from mechicl.engine.fast.adam import adam

        flat = self._flat.numpy()
        each = self._rates().astype(flat.dtype)

        def of(pieces: list[np.ndarray]) -> list[Piece]:
            return [partial(adam, flat, segments, self._betas, each) for segments in pieces]

        return of(self._early), of(self._rest)

    def _rates(self) -> np.ndarray:
        """What `adam` does to each parameter in the update about to be made."""
        optim, lr = self.config.optim, self.config.optim.lr_at(self.step)
        interventions = self.config.training_interventions
        rates = np.empty((len(self.params), 5))
        rates[:, :3] = 1, *self._corrected(lr, self.step + 1)
        for k, name in enumerate(self.params if interventions else ()):
            done = updates_of_moments(interventions, self.step, name)
            rates[k, :3] = not frozen(interventions, self.step, name), *self._corrected(lr, done)
        rates[:, 3], rates[:, 4] = (self._l2, 1) if optim.l2_form == "penalty" else (0, 1 - lr * self._l2)
        return rates

    def _corrected(self, lr: float, done: int) -> tuple[float, float]:
        """The rate and the second moment's scale, both corrected for moments that began as 0 (Adam's t)."""
        b1, b2 = self.config.optim.betas
        return lr / (1 - b1**done), 1 / math.sqrt(1 - b2**done)

    def member(self, i: int) -> Params:
        """The parameters of stacked model `i`; of a plain trainer, its own. Not copied."""
        return {k: self._of(v, i) for k, v in self.params.items()}

    def state(self, i: int = 0) -> dict[str, Tensor]:
        """All tensors that model `i` needs to go on, on the CPU: weights, both Adam moments, the step. Copies."""
        held = {name: x.to(CPU, copy=True) for name, x in self.held(i).items()}
        return {"step": torch.tensor(self.step)} | held

    def held(self, i: int = 0) -> dict[str, Tensor]:
        """What `state` has of model `i`, but for the step. Not copied."""
        return {
            f"{kind}/{name}": self._of(x, i)
            for name, p in self.params.items()
            for kind, x in zip(("weights", "exp_avg", "exp_avg_sq"), (p, *self.moments[name]), strict=True)
        }

    def only(self, kept: Sequence[int]) -> Self:
        """A trainer of some of the stacked models, from here on; of one, a plain one."""
        states = [self.state(i) for i in kept]
        return self.from_state(self.config, states[0] if len(states) == 1 else _stacked(states), self.device)

    def _of(self, x: Tensor, i: int) -> Tensor:
        return x[i] if self._many else x

    @classmethod
    def from_state(cls, config: Config, state: dict[str, Tensor], device: str = CPU) -> Self:
        """The inverse of `state`: the next update is the one the saved run would have made."""
        weights = {k.removeprefix("weights/"): v for k, v in state.items() if k.startswith("weights/")}
        trainer = cls(config, weights, device)
        trainer.step = int(state["step"])
        for name, moments in trainer.moments.items():
            for kind, moment in zip(("exp_avg", "exp_avg_sq"), moments, strict=True):
                moment.copy_(state[f"{kind}/{name}"])
        return trainer


def _stacked(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Several models' states at one step as one."""
    return {k: x if k == "step" else torch.stack([state[k] for state in states]) for k, x in states[0].items()}


def loss_and_autograd(
    params: dict[str, np.ndarray],
    batch: TaskBatch,
    model: ModelConfig,
    grads: dict[str, np.ndarray],
    held: Mapping[int, HeldLayer] = MappingProxyType({}),
    unembedded: Callable[[], object] = lambda: None,
) -> np.ndarray:
    """As `Gradients` says, for any task and model, by autograd; all gradients come at once."""
    values, like = [], params["unembed.W_U"]
    for i in range(len(like)):
        leaves = {name: torch.from_numpy(p[i]).requires_grad_() for name, p in params.items()}
        own = batch[i] if batch.stacked else batch
        reads = reading_head(held)
        asked = [] if reads is None else [scores_hook(model)]
        out = forward(leaves, own, model, edits=edits(held, model, own), capture=asked)
        if reads is None:
            value = loss_of(leaves, out.final, own)
        else:
            value = own.copied_loss(query_scores(out.acts, model, reads)).mean()
        found = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)  # a copy needs no unembedding
        for name, grad in zip(leaves, found, strict=True):
            grads[name][i] = grad.numpy()
        values.append(float(value.detach()))
    unembedded()
    return np.array(values, like.dtype)
