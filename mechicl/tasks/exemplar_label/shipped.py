"""Sequences of exemplars and labels as plain arrays (`TaskBatch.shipped`)."""

from __future__ import annotations

import torch

from mechicl.config import ModelConfig
from mechicl.errors import ConfigError
from mechicl.protocol.shipped import Scored, Shipped, last_of
from mechicl.tasks.exemplar_label.batch import Batch

SCORED = ("in_context_acc", "acc")


def shipped(batch: Batch, model: ModelConfig, metric: str) -> Shipped:
    """Labels are rows of the table; exemplars are shipped as the model reads them, each different one once.

    Raises:
        ConfigError: exemplars go through convolutions, which change during training; or there is no such metric.
    """
    if model.encoder != "linear":
        raise ConfigError(
            f"model.encoder={model.encoder!r}: the exported page runs models that read exemplars through a linear map, "
            "not pictures through convolutions. `mechicl report` writes a page of any run."
        )
    if metric not in SCORED:
        raise ConfigError(f"metric {metric!r}: the page scores one of {', '.join(SCORED)}.")
    inputs, which = batch.exemplars.flatten(0, 1).unique(dim=0, return_inverse=True)
    tokens = torch.full(tuple(batch.shape), -1)
    tokens[:, 1::2] = batch.labels
    places = torch.full_like(tokens, -1)
    places[:, ::2] = which.view(len(batch), -1)
    return Shipped(
        tokens=tokens,
        shown=places,
        inputs=inputs.float(),
        scored=Scored(
            term="right",
            target=batch.target,
            among=batch.labels if metric == "in_context_acc" else None,
            yes_or_no=True,
            **last_of(*batch.shape),
        ),
        table="embed.W_E",
        weight="exemplar_embed.W",
        bias="exemplar_embed.b",
    )
