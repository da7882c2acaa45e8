"""What cutting each path would do to the loss, estimated for all paths at once from one backward pass: attribution
patching (Syed et al. 2023, 2310.10348).

To first order, a receiver that loses what a sender wrote, e, changes the loss by -e times the gradient at what the
receiver reads. The estimate fails where the model is far from linear, as in a saturated softmax, so the strongest paths
are then cut exactly (`path_effects`).

Legend: b sequences, t positions, q positions that ask, n senders, r readers, d d_model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.forward import forward, loss_of
from mechicl.interventions import CutPaths
from mechicl.interventions.components import parse
from mechicl.interventions.cut_paths import reading, source
from mechicl.models.params import Params
from mechicl.protocol.batch import TaskBatch

__all__: list[str] = []

_BYTES = 2**28  # of gradients at a time, about


def attributed(params: Params, batch: TaskBatch, model: ModelConfig, like: CutPaths, paths: Sequence[str]) -> Tensor:
    """What cutting each path adds to the mean loss, to first order: [p], float64.

    Args:
        params: packed and plain.
        like: the kind of cut; its own paths do not count.
    """
    ends = [parse(path) for path in paths]
    sources = list(dict.fromkeys(source(path.sender) for path in ends))
    places = list(dict.fromkeys(reading(path.receiver, model) for path in ends))
    heads = sum(hook.endswith("_input") for hook in places) * model.n_heads + len(places)
    size = max(1, _BYTES // (8 * heads * batch.shape[-1] * model.d_model))
    with torch.inference_mode(False), torch.enable_grad():
        params = {name: p.clone().requires_grad_(p.is_floating_point()) for name, p in params.items()}
        instead = _instead(params, batch, model, like, sources, size)
        total: dict[tuple[str, str], Tensor] = {}
        for i in range(0, len(batch), size):
            rows = slice(i, min(i + size, len(batch)))
            part = _cloned(batch[rows])
            # All positions: of a model from elsewhere those left out would be cut off behind what gradients reach.
            out = forward(params, part, model, capture={*places, *sources}, query_only=False)
            loss = loss_of(params, out.final, part) * (len(part) / len(batch))
            read = [out.acts[hook] for hook in places]
            gradients = torch.autograd.grad(loss, read, allow_unused=True)
            for wrote in sources:
                own = _with_axis(out.acts[wrote].detach() - instead(wrote, rows), wrote)
                for hook, x, gradient in zip(places, read, gradients, strict=True):
                    if gradient is None:
                        continue
                    slope = _with_axis(gradient.reshape(x.shape), hook)  # [b, q, r, d]
                    found = -torch.einsum("btnd,btrd->nr", own[:, -slope.shape[1] :].double(), slope.double())
                    total[wrote, hook] = total.get((wrote, hook), 0.0) + found
    one = [(source(p.sender), reading(p.receiver, model), max(p.sender.head, 0), max(p.receiver.head, 0)) for p in ends]
    zero = torch.zeros((), dtype=torch.float64, device=batch.device)
    return torch.stack([total[a, b][i, j] if (a, b) in total else zero for a, b, i, j in one])


def _instead(params: Params, batch: TaskBatch, model: ModelConfig, like: CutPaths, sources: list[str], size: int):
    """(source, rows) -> what comes in the place of what was written there."""
    if like.kind == "zero":
        return lambda wrote, rows: 0.0
    with torch.no_grad():
        if like.kind == "counterfactual":
            partners = batch.counterfactual(like.counterfactual)
            return lambda wrote, rows: (
                forward(params, _cloned(partners[rows]), model, capture=[wrote], query_only=False).acts[wrote].detach()
            )
        total: dict[str, Tensor] = {}
        for i in range(0, len(batch), size):
            acts = forward(params, batch[i : i + size], model, capture=sources, query_only=False).acts
            total = {name: total.get(name, 0.0) + acts[name].double().sum(0, keepdim=True) for name in sources}
        means = {name: (x / len(batch)).to(params["unembed.b_U"].dtype) for name, x in total.items()}
        return lambda wrote, rows: means[wrote]


def _with_axis(x: Tensor, hook: str) -> Tensor:
    """[b, t, n, d], with an axis of 1 where the hook has none for heads."""
    return x if hook.endswith(("_input", "hook_result")) else x.unsqueeze(-2)


def _cloned(batch: TaskBatch) -> TaskBatch:
    """A batch that autograd can keep: none of its tensors was made while nothing could ask for gradients."""
    return type(batch)(**{name: x.clone() for name, x in vars(batch).items()})
