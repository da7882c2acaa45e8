"""The training step on any device, by autograd and torch's own operators.

What a step reads stays in one place: parameters, moments and gradients in the trainer's flat memory, the batch and
the rates in buffers that each step is copied into. So where `supports` says that a step is the same sequence of
kernels every time, CUDA records it once as a graph and repeats it in one launch: steps of small models are bound by
launches. Elsewhere the same function is called.

Legend: s model, b batch, v outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from mechicl.config import Config
from mechicl.engine.forward import forward, logits
from mechicl.engine.held import HeldLayer, edits, query_scores, reading_head, scores_hook
from mechicl.models.params import Params
from mechicl.protocol.batch import TaskBatch
from mechicl.system import devices
from mechicl.training.step import Trainer

_WARM = 3  # steps before a graph is recorded, in which torch's libraries set themselves up


def supports(batch: TaskBatch, held: Mapping[int, HeldLayer]) -> bool:
    """Whether a step is the same sequence of kernels every time and waits for no number: what a graph can repeat."""
    return batch.static and not held


class DeviceTrainer(Trainer):
    """A `Trainer` on one device. Its state is the same as on any other."""

    def _prepare(self, bounds: list[tuple[int, int]], grads: Params) -> None:
        config, flat = self.config, self._flat
        self._gradients = grads
        self._frozen = any(x.kind == "freeze" for x in config.training_interventions)
        # Of which parameter each number of the flat memory is; what lies between two belongs to the first, and is 0.
        starts = [start for start, _ in bounds] + [flat.shape[1]]
        sizes = torch.tensor([b - a for a, b in pairwise(starts)])
        self._which = torch.arange(len(bounds)).repeat_interleave(sizes).to(self.device)
        self._each = torch.ones(5, len(bounds), dtype=flat.dtype, device=self.device)
        self._repeated: Repeated | None = None

    def _step(self, batch: TaskBatch, held: dict[int, HeldLayer]) -> Tensor:
        """The loss [s] before the update."""
        self._each.copy_(torch.from_numpy(self._rates().T).to(self._each.dtype))
        if not supports(batch, held):
            return self._update(batch.to(self.device), held)
        if self._repeated is None or not self._repeated.takes(batch):
            self._repeated = Repeated(partial(self._update, held={}), batch, self._flat)
        return self._repeated(batch)

    def _update(self, batch: TaskBatch, held: Mapping[int, HeldLayer]) -> Tensor:
        leaves = {name: p.detach().requires_grad_() for name, p in self.params.items()}
        value = losses(leaves, batch, self.config, held)
        found = torch.autograd.grad(value.sum(), list(leaves.values()), materialize_grads=True)
        for name, grad in zip(leaves, found, strict=True):
            self._gradients[name].copy_(grad)
        self._adam_step()
        return value.detach()

    @torch.no_grad()
    def _adam_step(self) -> None:
        """As `engine.fast.adam.adam`, on the flat memory as a whole."""
        b1, b2 = self.config.optim.betas
        (p, m, v, g), (live, rate, bias2, penalty, shrink) = self._flat, self._each[:, self._which]
        before = self._flat[:3].clone() if self._frozen else None
        d = g + penalty * p
        m.mul_(b1).add_(d, alpha=1 - b1)
        v.mul_(b2).addcmul_(d, d, value=1 - b2)
        p.mul_(shrink).sub_(rate * m / (v.sqrt() * bias2 + self.config.optim.adam_eps))
        if before is not None:
            self._flat[:3].copy_(torch.where(live > 0, self._flat[:3], before))


def losses(params: Params, batch: TaskBatch, config: Config, held: Mapping[int, HeldLayer]) -> Tensor:
    """The task's loss of each stacked model [s]; of plain parameters [1]. Differentiable."""
    model, reads = config.model, reading_head(held)
    asked = [] if reads is None else [scores_hook(model)]
    out = forward(params, batch, model, edits=edits(held, model, batch), capture=asked)
    if reads is not None:
        return batch.copied_loss(query_scores(out.acts, model, reads)).mean(-1, keepdim=True)
    z = logits(params, out.final)
    if not batch.stacked:
        return batch.loss(z)[None]
    return torch.stack([batch[i].loss(z[i, 0]) for i in range(len(z))])


class Repeated:
    """A function of a batch, called again and again with batches of one shape, which are copied to where the first was.
    On CUDA it is recorded as a graph the first time; what the recording's trial steps do to `state` is undone.

    Args:
        state: all that the function changes.
    """

    def __init__(self, function: Callable[[TaskBatch], Tensor], batch: TaskBatch, state: Tensor):
        self.function = function
        self.batch: TaskBatch = type(batch)(
            **{k: torch.empty_like(x, device=state.device) for k, x in vars(batch).items()}
        )
        self._fill(batch)
        self.value: Tensor  # of the recorded graph
        self.graph: torch.cuda.CUDAGraph | None = (
            self._recorded(state) if devices.kind_of(str(state.device)) == "cuda" else None
        )

    def takes(self, batch: TaskBatch) -> bool:
        """Whether a batch is of the same shapes and types."""
        mine, its = vars(self.batch), vars(batch)
        return all(mine[k].shape == x.shape and mine[k].dtype == x.dtype for k, x in its.items())

    def __call__(self, batch: TaskBatch) -> Tensor:
        self._fill(batch)
        if self.graph is None:
            return self.function(self.batch)
        self.graph.replay()
        return self.value.clone()  # the graph writes the next step's over it

    def _fill(self, batch: TaskBatch) -> None:
        for name, x in vars(batch).items():
            getattr(self.batch, name).copy_(x)

    def _recorded(self, state: Tensor) -> torch.cuda.CUDAGraph:
        before, stream = state.clone(), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM):
                self.function(self.batch)
        torch.cuda.current_stream().wait_stream(stream)
        state.copy_(before)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.value = self.function(self.batch)
        return graph
