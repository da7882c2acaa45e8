"""One training step: loss, gradients, Adam, on plain tensors.

The loss is cross-entropy over all labels at the query (science.md 1.1). Which L2 is applied
to what is stated in `OptimConfig`. Parameters may be stacked over models (axis s, e.g. the
seeds of one recipe): each then takes its own step on its own batch, in one pass.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from torch import Tensor

from mechicl.config import Config
from mechicl.data.banks import Batch
from mechicl.engine.forward import forward
from mechicl.engine.ops import cross_entropy
from mechicl.engine.params import Params, group


def loss(params: Params, batch: Batch, config: Config) -> Tensor:
    """Mean cross-entropy at the query, without any penalty: a scalar, or [s] for stacked
    parameters with a batch stacked alike."""
    w, bias = params["unembed.W_U"], params["unembed.b_U"]
    final = forward(params, batch, config.model).final
    return cross_entropy(final if w.dim() == 2 else final.squeeze(1), w, bias, batch.target)


class Trainer:
    """Parameters and their Adam moments: everything that a step changes.

    `params` are packed leaf tensors, plain or stacked. `step` is the number of updates done.
    """

    def __init__(self, config: Config, params: Params):
        self.config = config
        self.step = 0
        self.params = {k: v.detach().clone().requires_grad_() for k, v in params.items()}
        self.moments = {k: (torch.zeros_like(v), torch.zeros_like(v)) for k, v in params.items()}
        # The same memory, flat, as numpy sees it.
        self._arrays = {
            name: [x.detach().numpy().reshape(-1) for x in (p, *self.moments[name])] for name, p in self.params.items()
        }
        # The label embedding's gradient [s, v, d], kept: all but a few rows of it are always 0.
        table = self.moments["embed.W_E"][0].numpy()
        self._d_table = np.zeros_like(table).reshape(-1, *table.shape[-2:])

    def update(self, batch: Batch) -> Tensor:
        """One update on one batch; returns its loss (or [s]), before the update."""
        for p in self.params.values():
            p.grad = None
        # Of the label embedding a batch reads a few rows: only those go through autograd.
        rows, local = _shown_rows(self.params["embed.W_E"].detach(), batch)
        value = loss(self.params | {"embed.W_E": rows}, local, self.config)
        value.backward(torch.ones_like(value))
        self._adam(rows.grad, batch.labels)
        self.step += 1
        return value.detach()

    def _adam(self, d_rows: Tensor | None, labels: Tensor) -> None:
        from mechicl.engine.kernels import adam, clear_rows, scatter_rows

        optim, (b1, b2), done = self.config.optim, self.config.optim.betas, self.step + 1
        lr, dense = optim.lr_at(self.step), self._d_table
        shown = labels.numpy().reshape(len(dense), -1)
        if d_rows is not None:  # some layer reads them
            scatter_rows(dense, shown, d_rows.numpy().reshape(*shown.shape, -1))
        rates = (lr / (1 - b1**done), b1, b2, optim.adam_eps, 1 / math.sqrt(1 - b2**done))
        for name, p in self.params.items():
            g = dense if name == "embed.W_E" else None if p.grad is None else p.grad.numpy()
            if g is None:
                continue
            l2 = optim.l2 if optim.l2_group in ("all", group(name)) else 0.0
            held = (l2, 1.0) if optim.l2_form == "penalty" else (0.0, 1 - lr * l2)
            adam(*self._arrays[name], g.reshape(-1), np.array((*rates, *held), g.dtype))
        clear_rows(dense, shown)

    def state(self) -> dict[str, Tensor]:
        """All tensors needed to go on: weights, both Adam moments, the step."""
        out = {"step": torch.tensor(self.step)}
        for name, p in self.params.items():
            out[f"weights/{name}"] = p.detach().clone()
            out[f"exp_avg/{name}"], out[f"exp_avg_sq/{name}"] = (m.clone() for m in self.moments[name])
        return out

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


def _shown_rows(table: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
    """The label rows that a batch shows, one per occurrence, as a small leaf table of its own
    ([b*C, d], or [s, b*C, d]), and the batch with labels that count its rows."""
    labels = batch.labels
    flat = labels.flatten(-2)
    rows = table[flat] if table.dim() == 2 else torch.stack([t[i] for t, i in zip(table, flat, strict=True)])
    own = torch.arange(flat.shape[-1]).view(labels.shape[-2:]).expand(labels.shape)
    return rows.requires_grad_(), dataclasses.replace(batch, labels=own)
