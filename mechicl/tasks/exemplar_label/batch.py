"""A batch of sequences of exemplars and labels: what a model reads and what it should answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F

from mechicl.config import ModelConfig
from mechicl.protocol.batch import Arrays, Gradients, Hook, TaskBatch
from mechicl.protocol.batch import stack_batches as stack_batches

if TYPE_CHECKING:
    from mechicl.protocol.shipped import Shipped
    from mechicl.protocol.task import Task


@dataclass(frozen=True, repr=False)
class Batch(TaskBatch):
    """The sequences that a model reads, with the right answers. All tensors are on one device.

    exemplars [b, C+1, d_in] float; labels [b, C], target [b], classes [b, C+1],
    exemplar_ids [b, C+1], trained_labels [b, C+1] (every slot's class's own label): int64
    """

    task: ClassVar[str | None] = "exemplar_label"
    variations: ClassVar[tuple[str, ...]] = ("flip", "ciwl", "iwl")
    everywhere: ClassVar[bool] = False  # only the query's answer counts
    recorded: ClassVar[tuple[str, ...]] = ("in_context_acc", "acc", "loss")
    counterfactuals: ClassVar[tuple[str, ...]] = ("labels", "next")
    known_edges: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "label->previous": "label → its exemplar",
            "query->match_label": "query → matching label",
            "query->match": "query → matching exemplar",
        }
    )
    static: ClassVar[bool] = True

    exemplars: torch.Tensor
    labels: torch.Tensor
    target: torch.Tensor
    classes: torch.Tensor
    exemplar_ids: torch.Tensor
    trained_labels: torch.Tensor

    def __repr__(self) -> str:
        stacked = f"{self.target.shape[0]} stacked, each of " if self.stacked else ""
        b, where = len(self), "" if self.device.type == "cpu" else f", on {self.device}"
        kind = f"{self.exemplars.shape[-1]} numbers, {str(self.exemplars.dtype)[6:]}{where}"
        return (
            f"Batch({stacked}{b:,} sequence{'' if b == 1 else 's'} of {self.n_pairs} pairs and a query; "
            f"exemplars of {kind})"
        )

    def wrong(self, task: Task) -> str:
        from mechicl.tasks.exemplar_label.readable import wrong

        return wrong(self, task)

    @property
    def ids(self) -> torch.Tensor:
        """[b, 2C+1] int64: what stands at each position, the class of an exemplar (even) or a label (odd)."""
        pairs = torch.stack([self.classes[..., :-1], self.labels], dim=-1).flatten(-2)
        return torch.cat([pairs, self.classes[..., -1:]], dim=-1)

    @property
    def stacked(self) -> bool:
        return self.target.dim() > 1

    @property
    def shape(self) -> torch.Size:
        """[b, 2C+1]: sequences and positions, as of a tensor of tokens."""
        return torch.Size([*self.target.shape, 2 * self.n_pairs + 1])

    @property
    def n_pairs(self) -> int:
        return self.labels.shape[-1]

    def embed(self, params: dict[str, torch.Tensor], model: ModelConfig, hook: Hook) -> torch.Tensor:
        from mechicl.tasks.exemplar_label.embedding import embed

        return embed(params, self, model, hook)

    def embed_placed(
        self, params: dict[str, torch.Tensor], model: ModelConfig, hook: Hook, positions: torch.Tensor
    ) -> torch.Tensor | None:
        from mechicl.tasks.exemplar_label.embedding import embed_placed

        return embed_placed(params, self, model, hook, positions)

    def loss(self, z: torch.Tensor) -> torch.Tensor:
        """Cross-entropy over all labels at the query (docs/references.md#sequences), of logits [b, v]."""
        return F.cross_entropy(z, self.target)

    def gradients(self, model: ModelConfig) -> Gradients:
        from mechicl.tasks.exemplar_label.fast.gradients import loss_and_gradients

        return loss_and_gradients

    def clear(self, grads: Arrays) -> None:
        """The label embedding's gradient is all zeros but in the rows of the labels shown."""
        from mechicl.engine.fast.adam import clear_rows

        table = grads["embed.W_E"]
        clear_rows(table, self.labels.numpy().reshape(len(table), -1))

    def losses(self, z: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(z, self.target, reduction="none")

    def score(
        self, params: dict[str, torch.Tensor], final: torch.Tensor, wanted: Iterable[str]
    ) -> dict[str, torch.Tensor]:
        from mechicl.tasks.exemplar_label.scores import score

        return score(params, final, self, wanted)

    def chance(self, n_outputs: int) -> dict[str, float]:
        from mechicl.tasks.exemplar_label.scores import chance

        return chance(self, n_outputs)

    def shipped(self, model: ModelConfig, metric: str) -> Shipped:
        from mechicl.tasks.exemplar_label.shipped import shipped

        return shipped(self, model, metric)

    def roles(self) -> dict[str, torch.Tensor]:
        """query, exemplar (of the context), label; match, other: exemplars of the query's class or not; match_label,
        other_label: their labels."""
        none = torch.zeros(self.shape, dtype=torch.bool, device=self.device)
        match = self.classes[:, :-1] == self.classes[:, -1:]

        def at(start: int, which: torch.Tensor | bool) -> torch.Tensor:
            out = none.clone()
            out[:, start:-1:2] = which
            return out

        query = none.clone()
        query[:, -1] = True
        return {
            "query": query,
            "exemplar": at(0, True),
            "label": at(1, True),
            "match": at(0, match),
            "match_label": at(1, match),
            "other": at(0, ~match),
            "other_label": at(1, ~match),
        }

    def counterfactual(self, kind: str = "") -> Batch:
        """'labels': two labels of the context change places, the answer's and the first other one. Exemplars and query
        stay, and so does the answer from the weights; the answer from the context becomes the other label, where the
        query's class is shown. 'next': the next sequence of the batch."""
        if (kind or "labels") != "labels":
            return super().counterfactual(kind)
        shown = (self.labels == self.target[:, None]).any(1, keepdim=True)
        one = torch.where(shown, self.target[:, None], self.labels[:, :1])
        other = self.labels.gather(1, (self.labels != one).long().argmax(1, keepdim=True))
        labels = torch.where(self.labels == one, other, torch.where(self.labels == other, one, self.labels))
        in_context = (self.classes[:, :-1] == self.classes[:, -1:]).any(1) & shown[:, 0]
        return replace(self, labels=labels, target=torch.where(in_context, other[:, 0], self.target))

    def varied(self, variation: str) -> tuple[Batch, Batch]:
        from mechicl.tasks.exemplar_label.variations import exchanged

        return exchanged(self, variation) if variation in self.variations else super().varied(variation)

    def match_row(self, strength: float, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
        from mechicl.tasks.exemplar_label.clamped import match_row

        return match_row(self, strength, dtype)

    def copied_loss(self, scores: torch.Tensor) -> torch.Tensor:
        from mechicl.tasks.exemplar_label.clamped import copied_loss

        return copied_loss(scores, self)

    def score_copied(self, scores: torch.Tensor, wanted: Iterable[str]) -> dict[str, torch.Tensor]:
        from mechicl.tasks.exemplar_label.clamped import score_copied

        return score_copied(scores, self, wanted)

    def relations(self) -> dict[str, torch.Tensor]:
        """Of places alone: classes and labels are not one vocabulary."""
        return {name: x for name, x in super().relations().items() if name in ("previous", "self", "first")}

    def answers(self) -> dict[str, torch.Tensor]:
        """The label that is right in the context, and that of the query's class."""
        return {"logit_in_context": self.target, "logit_in_weights": self.trained_labels[:, -1]}

    def attention(self, pattern: torch.Tensor) -> dict[str, torch.Tensor]:
        from mechicl.tasks.exemplar_label.scores import attention

        return attention(pattern, self)
