"""How exemplars and labels enter the residual stream: exemplars at even positions, labels at odd ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.ops import compiled, linear, map_rows, sequences
from mechicl.tasks.exemplar_label.encoder import encode

if TYPE_CHECKING:
    from mechicl.protocol.batch import Hook
    from mechicl.tasks.exemplar_label.batch import Batch


def embed(params: dict[str, Tensor], batch: Batch, model: ModelConfig, hook: Hook) -> Tensor:
    """[*lead, b, 2C+1, d], positions aside."""
    features, labels, table = _inputs(params, batch, model, hook)
    rows = F.embedding(labels, table) if table.dim() == 2 else torch.stack(list(map(F.embedding, labels, table)))
    shown = linear(features, params["exemplar_embed.W"], params["exemplar_embed.b"])
    pairs = torch.stack([shown[..., :-1, :], rows], dim=-2).flatten(-3, -2)
    return torch.cat([pairs, shown[..., -1:, :]], dim=-2)


def embed_placed(
    params: dict[str, Tensor], batch: Batch, model: ModelConfig, hook: Hook, positions: Tensor
) -> Tensor | None:
    """The same with positions [t, d] or [s, t, d] added, in one compiled pass; None where that does not serve."""
    w, bias, table = params["exemplar_embed.W"], params["exemplar_embed.b"], params["embed.W_E"]
    if not compiled(batch.exemplars, w, table, positions):
        return None
    features, labels, _ = _inputs(params, batch, model, hook)
    return _placed(features, w, bias, table, labels, positions) if compiled(features) else None


def _placed(features: Tensor, w: Tensor, bias: Tensor, table: Tensor, labels: Tensor, positions: Tensor) -> Tensor:
    """On the CPU and without gradient: [*lead, 2C+1, d].

    Args:
        features: [*lead, C+1, i]; w [i, d] and bias [d] embed them (or stacked, as in `linear`).
        table: [v, d] or [s, v, d], of which the rows labels [*lead, C] stand between them.
        positions: [2C+1, d], added; or [s, 2C+1, d].
    """
    from mechicl.engine.fast.kernels import interleave

    shown = map_rows(features, w, bias)
    x = shown.new_empty(*shown.shape[:-2], 2 * shown.shape[-2] - 1, shown.shape[-1])
    models = len(table) if table.dim() == 3 else 1
    each = labels.numpy().reshape(models, -1, labels.shape[-1])
    interleave(sequences(shown), sequences(table), each, sequences(positions), sequences(x))
    return x


def _inputs(params: dict[str, Tensor], batch: Batch, model: ModelConfig, hook: Hook) -> tuple[Tensor, Tensor, Tensor]:
    features, labels = batch.exemplars.to(params["exemplar_embed.W"].dtype), batch.labels
    table = params["embed.W_E"]
    if table.dim() == 3:
        features, labels = (_per_model(x, own, table.shape[0]) for x, own in ((features, 3), (labels, 2)))
    if model.encoder == "conv":
        features = hook("hook_encoder", encode(params, features, model))
    return features, labels, table


def _per_model(x: Tensor, dims: int, models: int) -> Tensor:
    """Data [*shape] for all models, or [s, *shape] with some for each, as [s, 1, *shape]."""
    return x.unsqueeze(1) if x.dim() > dims else x.expand(models, 1, *x.shape)
