"""Copying scores: whether a head raises the logit of the token that it looks at (docs/references.md#olsson-2022).

At each position j the head's value there goes through its output matrix and the unembedding, as if the head looked at j
alone. The score is the share of the sequence's other tokens whose logit this raises less than that of the token at j;
ties count one half. So a head that copies has 1, one that suppresses what it sees 0, and one that writes nothing, or
anything that does not depend on the token, one half: that is the chance level, exactly. Olsson et al. take the share of
the raised logits that falls on the token; a rank needs no scale, and is the same for every size of vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.forward import forward
from mechicl.errors import ConfigError
from mechicl.measures.asked import Names, Steps, chosen_sets
from mechicl.measures.attention import head_rows
from mechicl.measures.door import measure
from mechicl.measures.parts import over_evaluators
from mechicl.models.params import Params
from mechicl.protocol.batch import TaskBatch
from mechicl.series import Series
from mechicl.system.surroundings import reading

__all__ = ["copying_scores"]

CHANCE = 0.5


@reading()
@measure(
    "copying_scores",
    rows="step, evaluator, head",
    value="share of other tokens whose logit the head raises less than that of the token it attends to",
    against="0.5: a head that does not depend on the token",
)
def copying_scores(
    series: Series, steps: Steps = None, evaluators: Names = None, n: int | None = None, progress: bool = True
) -> pd.DataFrame:
    """The copying score of every head, over training.

    Args:
        series: a run whose outputs are its input tokens.
        steps: which checkpoints (default: all).
        evaluators: the evaluators whose sequences are used (default: the one of the task's circuit, such as `repeat`).
        n: sequences per evaluator (default: the run's `n_eval`).
        progress: show a bar over long series.

    Returns:
        The tidy table, one row per step, evaluator and head: `value` from 0 to 1, one half by chance, with its normal
        95% interval over sequences.

    Raises:
        ConfigError: the run answers with something other than its tokens.
        SeriesError: a step was not saved.
    """
    sets = chosen_sets(series, evaluators, [series.task.circuit.evaluator], n)
    model, inputs = series.config.model, series.task.input_shapes(series.config.model)
    if [*inputs] != ["embed.W_E"] or inputs["embed.W_E"][0] != series.task.n_outputs:
        raise ConfigError(f"{series.name} has different inputs and outputs: copying scores need a task of tokens.")
    t, widest = series.task.n_tokens, max(map(len, sets.values()))
    size = 4.0 * widest * t * (model.n_heads * t + model.d_model * (8 + model.n_layers))
    return over_evaluators(series, "copying", steps, sets, partial(_measured, model=model), size, progress=progress)


def _measured(
    chunk: list[int], params: Params, name: str, batch: TaskBatch, *, model: ModelConfig
) -> Iterator[dict[str, Any]]:
    hooks = [f"blocks.{layer}.attn.hook_v" for layer in range(model.n_layers)]
    acts = forward(params, batch, model, capture=hooks, query_only=False).acts
    singles = [{key: p[i] for key, p in params.items()} for i in range(len(chunk))]
    for layer, hook in enumerate(hooks):
        found = [_scores(acts[hook][i, 0], one, layer, batch.ids, model) for i, one in enumerate(singles)]
        yield from head_rows(chunk, layer, name, "copying", np.stack(found))


def _scores(values: Tensor, params: Params, layer: int, ids: Tensor, model: ModelConfig) -> np.ndarray:
    """[b, h], of one layer. values [b, t, h or fewer, k]: with grouped queries several heads have the same."""
    values = values.repeat_interleave(model.n_heads // values.shape[2], 2)
    written = params[f"blocks.{layer}.attn.W_O"].unflatten(0, (model.n_heads, -1))  # [h, k, d]
    read = params["unembed.W_U"] * params["ln_final.w"][:, None] if model.layer_norm else params["unembed.W_U"]
    if "ln_final.b" in params:  # a LayerNorm, which centres
        read = read - read.mean(0)
    out = []
    for v, tokens in zip(values, ids, strict=True):
        raised = torch.einsum("thk,hkd,dj->htj", v, written, read[:, tokens])  # on the sequence's own tokens
        own = raised.diagonal(dim1=1, dim2=2)[..., None]
        others = (tokens[:, None] != tokens[None, :]).to(raised.dtype)
        less = ((raised < own).to(raised.dtype) + (raised == own).to(raised.dtype) / 2) * others
        out.append((less.sum(-1) / others.sum(-1).clamp(min=1)).mean(-1))
    return torch.stack(out).cpu().numpy()
