"""The direct path, from the embedding to the unembedding without any layer between.

What a model answers is what the path answers and what the layers add: `RemoveDirectPath` leaves the second,
`only_direct_path` the first (Singh et al. 2025, 2503.05631, appendix C.1: docs/references.md#singh-2025-mechanism).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit
from mechicl.interventions.base import Intervention
from mechicl.interventions.heads import AblateHeads
from mechicl.interventions.mlps import AblateMLPs
from mechicl.interventions.together import Together
from mechicl.protocol.batch import TaskBatch

_EMBEDDED = "blocks.0.hook_resid_pre"


@dataclass(frozen=True)
class RemoveDirectPath(Intervention):
    """Subtract the embedding's direct contribution from the final residual stream.

    What enters the first layer (the query's embedding and its position's) is subtracted after the last layer, so
    that every head and MLP still reads it. The final LayerNorm is recomputed from the rest.
    """

    def __str__(self) -> str:
        return "no direct path"

    @property
    def baseline(self) -> str:
        return "0 in place of the embedding in the final residual stream"

    def same_pattern(self, layer: int, head: int) -> str:
        return "only what is read out changes"

    def needs(self, model: ModelConfig) -> list[str]:
        return [_EMBEDDED, _final(model)]

    def edits(
        self, model: ModelConfig, intact: Mapping[str, Tensor], batch: TaskBatch | None = None
    ) -> dict[str, Edit]:
        positions = intact[_final(model)].shape[-2]  # the last layer may be computed at the query only
        return {_final(model): Edit(1.0, -intact[_EMBEDDED][..., -positions:, :])}


def only_direct_path(model: ModelConfig) -> Intervention:
    """The embed-unembed path alone: every head and every MLP zeroed."""
    heads = AblateHeads(heads=tuple((layer, h) for layer in range(model.n_layers) for h in range(model.n_heads)))
    mlps = tuple(layer for layer in range(model.n_layers) if model.has_mlp(layer))
    return Together(parts=(heads, AblateMLPs(layers=mlps))) if mlps else heads


def _final(model: ModelConfig) -> str:
    return f"blocks.{model.n_layers - 1}.hook_resid_post"
