"""Every path of one checkpoint cut, each by itself: what each sequence then scores.

Paths into heads go through `engine.paths`, many at a time; all others, and those of models from elsewhere, through
`CutPaths`. The results are equal (tests/measures/test_path_ablation.py).

Legend: p paths, c conditions, b sequences, t positions, n senders, h heads, k d_head, d d_model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit
from mechicl.engine.forward import forward, restart_hooks
from mechicl.engine.ops import layer_norm
from mechicl.engine.paths import heads_without
from mechicl.evaluators import score
from mechicl.interventions import CutPaths, intact
from mechicl.interventions.components import Component, Path, parse, reaches, senders
from mechicl.interventions.cut_paths import source
from mechicl.measures.ablation import scores_under
from mechicl.models.params import Params
from mechicl.protocol.batch import TaskBatch

__all__: list[str] = []

DEEP = 3  # layers, from which on there are too many paths to cut every one
_SEQUENCES = 128  # at a time
_CONDITIONS = 16  # of CutPaths at a time
_NUMBERS = 2**24  # of activations at a time, at most
ROOM = 8.0 * 4 * _NUMBERS  # bytes that they take together, at most


@dataclass(frozen=True)
class Cutting:
    """Paths of one checkpoint to cut. params: packed and plain; like: the kind of cut, whose own paths do not count."""

    params: Params
    batch: TaskBatch
    model: ModelConfig
    like: CutPaths
    metrics: tuple[str, ...]

    def scores(self, paths: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Metric -> [b] of the intact model, and [p, b] with each path cut by itself."""
        final = forward(self.params, self.batch, self.model).final
        before = {name: x.cpu() for name, x in score(self.params, final, self.batch, self.metrics).items()}
        out = {name: x.new_empty(len(paths), len(self.batch)) for name, x in before.items()}
        ends = [parse(path) for path in paths]
        quick = [i for i, path in enumerate(ends) if path.receiver.kind == "head" and not self.model.hooked]
        for layer in sorted({ends[i].receiver.layer for i in quick}):
            self._into_heads(layer, {ends[i]: i for i in quick if ends[i].receiver.layer == layer}, out)
        rest = sorted({*range(len(paths))}.difference(quick), key=lambda i: ends[i].receiver.kind)
        for i in range(0, len(rest), _CONDITIONS):
            self._one_by_one(rest[i : i + _CONDITIONS], paths, out)
        return before, out

    def _one_by_one(self, numbers: list[int], paths: Sequence[str], out: dict[str, Tensor]) -> None:
        """Of CutPaths: any path."""
        conditions = [replace(self.like, paths=(paths[i],)) for i in numbers]
        on = intact(self.params, self.batch, self.model, conditions)
        for name, values in scores_under(
            conditions, on, self.metrics, sequences_at_once(len(numbers), self.batch, self.model)
        ).items():
            out[name][numbers] = values[0].cpu()

    def _into_heads(self, layer: int, numbers: dict[Path, int], out: dict[str, Tensor]) -> None:
        """Paths to the queries, keys and values of one layer's heads. numbers: path -> its number in `out`."""
        model, query_only = self.model, not self.batch.everywhere and layer == self.model.n_layers - 1
        writing = list(dict.fromkeys(path.sender for path in numbers))
        size = sequences_at_once(len(writing) * model.n_heads, self.batch, model)
        which = {
            part: [
                numbers.get(Path(sender, Component("head", layer, h, part)))
                for sender in writing
                for h in range(model.n_heads)
            ]
            for part in "qkv"
        }
        for rows, batch in self._parts(size):
            (stream, mix), after = restart_hooks(layer), f"blocks.{layer}.hook_resid_post"
            known = forward(self.params, batch, model, capture=[stream, mix, after, *_sources(writing)]).acts
            taken = self._written(known, writing) - self._instead(writing, rows)
            found = heads_without(self.params, known[stream], taken, model, layer, query_only)
            for part, z in found.items():
                asked = [c for c, number in enumerate(which[part]) if number is not None]
                if not asked:
                    continue
                change = (z - known[mix]).movedim(-2, 1).flatten(0, 1)  # [n * h, b, q, k], of one head each
                if len(asked) < len(change):
                    change = change.index_select(0, torch.tensor(asked).to(change.device))
                final = self._final(layer, change, [c % model.n_heads for c in asked], known, batch)
                scored = score(self.params, final, batch, self.metrics)
                to = [which[part][c] for c in asked]
                for name, values in scored.items():
                    out[name][to, rows] = values.cpu()

    def _final(
        self, layer: int, change: Tensor, heads: list[int], known: dict[str, Tensor], batch: TaskBatch
    ) -> Tensor:
        """The final stream [c, b, d] (or [c, b, t, d]) where one head's z changes under each condition.

        Args:
            change: [c, b, q, k], of that head; heads: which it is.
            known: the intact activations of the layer.
        """
        model, (_, mix) = self.model, restart_hooks(layer)
        at = torch.tensor(heads).to(change.device)
        if layer < model.n_layers - 1 or model.has_mlp(layer):
            alone = torch.nn.functional.one_hot(at, model.n_heads).to(change)[:, None, None, :, None]
            edits = {mix: Edit(1.0, alone * change.unsqueeze(-2))}
            restart = {hook: known[hook] for hook in restart_hooks(layer)}
            return forward(self.params, batch, model, edits=edits, known=restart).final
        w = self.params[f"blocks.{layer}.attn.W_O"].unflatten(
            0, (model.n_heads, -1)
        )  # nothing reads it but what is read out
        x = (
            torch.bmm(change.flatten(1, 2), w[at])
            .view(*change.shape[:-1], -1)
            .add_(known[f"blocks.{layer}.hook_resid_post"])
        )
        x = x if batch.everywhere else x[..., -1, :]
        return layer_norm(x, self.params["ln_final.w"], self.params["ln_final.b"]) if model.layer_norm else x

    def _instead(self, writing: list[Component], rows: slice) -> Tensor | float:
        """What comes in the place of what components write, [n, b or 1, t, d]."""
        if self.like.kind == "zero":
            return 0.0
        if self.like.kind == "mean":
            return torch.stack([self._means[component] for component in writing])
        acts = forward(self.params, self._partners[rows], self.model, capture=_sources(writing)).acts
        return self._written(acts, writing)

    @cached_property
    def _partners(self) -> TaskBatch:
        return self.batch.counterfactual(self.like.counterfactual)

    @cached_property
    def _means(self) -> dict[Component, Tensor]:
        """[1, t, d] of every component that a head may read, over the whole set."""
        last = Component("head", self.model.n_layers - 1, 0, "q")
        writing = [component for component in senders(self.model) if reaches(component, last, self.model)]
        total: Tensor | float = 0.0
        for _, batch in self._parts(sequences_at_once(len(writing), self.batch, self.model)):
            acts = forward(self.params, batch, self.model, capture=_sources(writing)).acts
            total = total + self._written(acts, writing).double().sum(1, keepdim=True)
        means = (total / len(self.batch)).to(self.params["unembed.b_U"])  # type: ignore[union-attr]
        return dict(zip(writing, means, strict=True))

    def _written(self, acts: dict[str, Tensor], writing: list[Component]) -> Tensor:
        """[n, b, t, d]: what components write."""
        return torch.stack([acts[source(c)][:, :, c.head] if c.kind == "head" else acts[source(c)] for c in writing])

    def _parts(self, size: int) -> Iterator[tuple[slice, TaskBatch]]:
        for i in range(0, len(self.batch), size):
            rows = slice(i, i + size)
            yield rows, self.batch[rows]


def _sources(writing: Sequence[Component]) -> list[str]:
    return list(dict.fromkeys(source(component) for component in writing))


def sequences_at_once(conditions: int, batch: TaskBatch, model: ModelConfig) -> int:
    """How many sequences are computed together under so many conditions: what they need stays in the caches."""
    return max(1, min(_SEQUENCES, _NUMBERS // (conditions * batch.shape[-1] * model.d_model)))
