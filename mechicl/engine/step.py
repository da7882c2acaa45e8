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
        self._slot = np.full(self.params["embed.W_E"].shape[-2], -1)

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
        from mechicl.engine.kernels import adam, adam_rows

        optim, (b1, b2), done = self.config.optim, self.config.optim.betas, self.step + 1
        lr, bias2 = optim.lr_at(self.step), 1 / math.sqrt(1 - b2**done)
        for name, p in self.params.items():
            l2 = optim.l2 if optim.l2_group in ("all", group(name)) else 0.0
            penalty, shrink = (l2, 1.0) if optim.l2_form == "penalty" else (0.0, 1 - lr * l2)
            number = np.float32 if p.dtype == torch.float32 else np.float64
            rates = [number(x) for x in (lr / (1 - b1**done), b1, b2, optim.adam_eps, bias2, penalty, shrink)]
            state = [x.detach().numpy() for x in (p, *self.moments[name])]
            if name == "embed.W_E":
                models = len(p) if p.dim() == 3 else 1
                tables = [x.reshape(models, *p.shape[-2:]) for x in state]
                shown = labels.numpy().reshape(models, -1)
                g = np.zeros((*shown.shape, p.shape[-1]), number) if d_rows is None else d_rows.numpy()
                g = g.reshape(models, -1, p.shape[-1])
                for s in range(models):
                    adam_rows(*(x[s] for x in tables), shown[s], g[s], self._slot, *rates)
            elif p.grad is not None:
                adam(*(x.reshape(-1) for x in state), p.grad.numpy().reshape(-1), *rates)

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
        trainer.moments = {k: (state[f"exp_avg/{k}"].clone(), state[f"exp_avg_sq/{k}"].clone()) for k in weights}
        return trainer


def _shown_rows(table: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
    """The label rows that a batch shows, one per occurrence, as a small leaf table of its own
    ([b*C, d], or [s, b*C, d]), and the batch with labels that count its rows."""
    labels = batch.labels
    flat = labels.flatten(-2)
    rows = table[flat] if table.dim() == 2 else torch.stack([t[i] for t, i in zip(table, flat, strict=True)])
    own = torch.arange(flat.shape[-1]).view(labels.shape[-2:]).expand(labels.shape)
    return rows.requires_grad_(), dataclasses.replace(batch, labels=own)
