"""One training step: loss, gradients, Adam, on plain tensors.

The loss is cross-entropy over all labels at the query (science.md 1.1). Adam is torch's
fused implementation; which L2 is applied to what is stated in `OptimConfig`.
"""

from __future__ import annotations

import dataclasses

import torch

from mechicl.config import Config, OptimConfig
from mechicl.data.banks import Batch
from mechicl.engine.forward import forward
from mechicl.engine.ops import cross_entropy
from mechicl.engine.params import Params, group

def loss(params: Params, batch: Batch, config: Config) -> torch.Tensor:
    """Mean cross-entropy at the query, without any penalty. A scalar."""
    final = forward(params, batch, config.model).final
    return cross_entropy(final, params["unembed.W_U"], params["unembed.b_U"], batch.target)


class Trainer:
    """Parameters and their optimiser: everything that a step changes.

    The label tables hold most parameters and a fresh [b, v] tensor costs more in page
    faults than in arithmetic, so the step keeps its large buffers: autograd runs only
    through the transformer body, and the two ends are written out by hand (`_embed_rows`,
    `_head`). A test compares the result with autograd through `loss`.

    `params` are packed leaf tensors. `step` is the number of updates done.
    """

    def __init__(self, config: Config, params: Params):
        self.config = config
        self.step = 0
        self.params = {k: v.detach().clone().requires_grad_() for k, v in params.items()}
        self.optimizer = _adam(self.params, config.optim)
        self._others = [p for name, p in self.params.items() if name != "embed.W_E"]
        self.params["embed.W_E"].grad = torch.zeros_like(self.params["embed.W_E"])
        self._touched: torch.Tensor | None = None  # rows of the label embedding with a gradient

    def update(self, batch: Batch) -> torch.Tensor:
        """One update on one batch; returns its loss, before the update."""
        for params in self.optimizer.param_groups:
            params["lr"] = self.config.optim.lr_at(self.step)
        for p in self._others:
            p.grad = None
        rows, local = self._embed_rows(batch)
        value = loss(self.params | {"embed.W_E": rows}, local, self.config)
        value.backward()
        self._scatter_rows(rows, batch)
        self.optimizer.step()
        self.step += 1
        return value.detach()

    def _embed_rows(self, batch: Batch) -> tuple[torch.Tensor, Batch]:
        """The label rows that this batch shows, as a small leaf table [b*C, d] of its own."""
        shown = batch.labels.flatten()
        rows = self.params["embed.W_E"].detach()[shown].requires_grad_()
        own = torch.arange(len(shown)).view_as(batch.labels)
        return rows, dataclasses.replace(batch, labels=own)

    def _scatter_rows(self, rows: torch.Tensor, batch: Batch) -> None:
        grad = self.params["embed.W_E"].grad
        assert grad is not None
        if self._touched is not None:
            grad.index_fill_(0, self._touched, 0.0)
        self._touched = batch.labels.flatten()
        if rows.grad is not None:  # no layer may read them
            grad.index_add_(0, self._touched, rows.grad)

    def state(self) -> dict[str, torch.Tensor]:
        """All tensors needed to go on: weights, both Adam moments, the step."""
        out = {"step": torch.tensor(self.step)}
        for name, p in self.params.items():
            moments = self.optimizer.state.get(p, {})
            out[f"weights/{name}"] = p.detach().clone()
            out[f"exp_avg/{name}"] = moments.get("exp_avg", torch.zeros_like(p)).detach().clone()
            out[f"exp_avg_sq/{name}"] = moments.get("exp_avg_sq", torch.zeros_like(p)).detach().clone()
        return out

    @classmethod
    def from_state(cls, config: Config, state: dict[str, torch.Tensor]) -> Trainer:
        """The inverse of `state`: the next update is the one the saved run would have made."""
        weights = {k.removeprefix("weights/"): v for k, v in state.items() if k.startswith("weights/")}
        trainer = cls(config, weights)
        trainer.step = int(state["step"])
        for name, p in trainer.params.items():
            trainer.optimizer.state[p] = {
                "step": torch.tensor(float(trainer.step)),
                "exp_avg": state[f"exp_avg/{name}"].clone(),
                "exp_avg_sq": state[f"exp_avg_sq/{name}"].clone(),
            }
        return trainer


def _adam(params: Params, optim: OptimConfig) -> torch.optim.Optimizer:
    chosen = [p for n, p in params.items() if optim.l2_group in ("all", group(n))]
    others = [p for n, p in params.items() if optim.l2_group not in ("all", group(n))]
    groups = [{"params": chosen, "weight_decay": optim.l2}, {"params": others, "weight_decay": 0.0}]
    # torch's Adam adds weight_decay * theta to the gradient, the gradient of (l2/2) theta^2.
    kind = torch.optim.Adam if optim.l2_form == "penalty" else torch.optim.AdamW
    kept = [g for g in groups if g["params"]]
    return kind(kept, lr=optim.lr, betas=optim.betas, eps=optim.adam_eps, fused=True)
