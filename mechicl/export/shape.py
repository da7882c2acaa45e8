"""Models as the exported page runs them: which it can, and what it must know of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mechicl.config import ModelConfig
from mechicl.errors import ConfigError, SeriesError
from mechicl.models.params import pack, rotary_tables, sinusoidal_positions
from mechicl.protocol.shipped import Shipped
from mechicl.series import Series

REPORT = "`mechicl report` writes a page of any run."
_LARGEST = 65504.0  # of float16


def check_series(series: Series) -> None:
    """Raise unless the page can run this run's models on its evaluation sets.

    Raises:
        ConfigError: it cannot.
        SeriesError: there are no checkpoints.
    """
    if series.config.model.hooked:
        raise ConfigError(
            f"{series.name} holds models from elsewhere: the exported page runs models that mechicl trained. {REPORT}"
        )
    if series.task.changes(series.config):
        raise ConfigError(
            f"the labels of {series.name} change during training, and its evaluation sets with them; the exported page "
            f"has one set of sequences for all checkpoints. {REPORT}"
        )
    if not series.steps:
        raise SeriesError(f"{series.root} has no checkpoints yet.")


def packed(series: Series, step: int) -> dict[str, torch.Tensor]:
    """A checkpoint's parameters as the page multiplies them, in the order in which they are shipped."""
    return pack(series.weights(step))


def halves(series: Series, step: int) -> bytes:
    """A checkpoint as float16, one parameter after another, little-endian.

    Raises:
        SeriesError: a parameter is too large for float16.
    """
    numbers = np.concatenate([x.numpy().ravel() for x in packed(series, step).values()])
    if (largest := float(np.abs(numbers).max(initial=0))) > _LARGEST:
        raise SeriesError(f"{series.name}, step {step}: a parameter of {largest:.3g} is too large for float16.")
    return numbers.astype("<f2").tobytes()


def shape_of(series: Series, sequences: Shipped) -> dict[str, Any]:
    """What `assets/model.js` must know of the model, as plain data. sequences: of any evaluator."""
    m, positions = series.config.model, sequences.tokens.shape[-1]
    parameters = packed(series, series.steps[0])
    return {
        "layers": m.n_layers,
        "heads": m.n_heads,
        "width": m.d_model,
        "hidden": m.mlp_ratio * m.d_model,
        "mlps": [m.has_mlp(layer) for layer in range(m.n_layers)],
        "positions": positions,
        "inputs": sequences.inputs.shape[-1],
        "outputs": series.task.n_outputs,
        "norm": m.layer_norm,
        "activation": m.activation,
        "input": {"table": sequences.table, "weight": sequences.weight, "bias": sequences.bias},
        "parameters": [[name, x.numel()] for name, x in parameters.items()],
        "places": m.positions,
        **_places(m, positions),
    }


def _places(model: ModelConfig, positions: int) -> dict[str, Any]:
    """Tables of positions that are not parameters."""
    if model.positions == "sinusoidal":
        table = sinusoidal_positions(positions, model.d_model, model.position_time)
        return {"sinusoids": table.flatten().tolist()}
    if model.positions == "rotary":
        cos, sin = rotary_tables(model, positions)
        return {"rotary": {"cos": cos.flatten().tolist(), "sin": sin.flatten().tolist()}}
    return {}
