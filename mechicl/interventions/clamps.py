"""Subcircuits of an induction head made perfect (Singh et al. 2024: docs/references.md#singh-2024-clamps).

Here are the first layer and the copy.

`ClampMatch` (attention.py) is the third. As training interventions: docs/training-interventions.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit
from mechicl.engine.held import clamped_layer
from mechicl.errors import ConfigError
from mechicl.interventions.base import Intervention
from mechicl.loading import check_types
from mechicl.protocol.batch import TaskBatch
from mechicl.training_interventions import check_layer_clamp, check_reading_head


@dataclass(frozen=True)
class ClampLayer(Intervention):
    """A perfect first layer, for models with two layers and no MLP in the first.

    In layer 1, the query and key of each position, except the first and the query, are computed from the embedding of
    the position before and nothing else: in the default task a label's key is its exemplar's. Values are computed from
    the unchanged embeddings. Layer 0 writes nothing.
    """

    def __str__(self) -> str:
        return "layer clamped"

    @property
    def baseline(self) -> str:
        return "in place of layer 0's output: the embedding of the position before, for patterns; nothing, for values"

    def check(self, model: ModelConfig) -> None:
        check_layer_clamp(model)

    def edits(
        self, model: ModelConfig, intact: Mapping[str, Tensor], batch: TaskBatch | None = None
    ) -> dict[str, Edit]:
        if batch is None:
            raise ConfigError("ClampLayer depends on the length of the sequences: give the batch.")
        batch.check_one_answer(self)
        return clamped_layer(model, batch.shape[-1], batch.device)


@dataclass(frozen=True, kw_only=True)
class ClampCopy(Intervention):
    """A perfect copy: the logit of a label in the context is the attention score, before the softmax, of one head of
    the last layer at that label; no other label is ever answered. The unembedding is not used.

    It replaces the unembedding, which no hook of a HookedTransformer can do. So it works only in `series.evaluate` and
    `answers`.
    """

    head: tuple[int, int]

    def __post_init__(self) -> None:
        check_types(self, "ClampCopy")

    def __str__(self) -> str:
        return "copy L{}H{}".format(*self.head)

    @property
    def baseline(self) -> str:
        return "the head's attention scores at the labels in place of their logits"

    @property
    def reads(self) -> tuple[int, int]:
        return self.head

    @property
    def kept_heads(self) -> tuple[tuple[int, int], ...]:
        return (self.head,)

    @property
    def family(self) -> str:
        return str(self)

    @property
    def place(self) -> tuple[int, int]:
        return self.head

    def check(self, model: ModelConfig) -> None:
        check_reading_head(self.head, model)

    def edits(
        self, model: ModelConfig, intact: Mapping[str, Tensor], batch: TaskBatch | None = None
    ) -> dict[str, Edit]:
        if batch is not None:
            batch.check_one_answer(self)
        return {}
