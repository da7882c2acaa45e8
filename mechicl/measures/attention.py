"""Attention scores: where each head looks, per checkpoint (definitions: science.md 4.2).

A[i, j] is attention from position i to j; context pair p has its exemplar at 2p and its
label at 2p + 1; the query is at 2C. 'Correct' pairs show the query's class.

    previous_token      mean of A[i, i-1] over i >= 1
    label_to_exemplar   mean of A[2p+1, 2p] over pairs: the previous-token score at labels
    label_to_self       mean of A[2p+1, 2p+1]
    query_to_match      sum of A[2C, 2p] over correct pairs: the matching exemplars
    query_to_label      sum of A[2C, 2p+1] over correct pairs: their labels
    query_to_wrong      sum of A[2C, 2p+1] over the other pairs
    induction_strength  query_to_label - query_to_wrong; -1..1
    query_to_self       A[2C, 2C]
    query_to_own        sum of A[2C, 2p+1] where the label is the canonical one of the
                        query's class: what context-constrained in-weights learning looks at

Those about correct pairs, or own labels, average over the sequences that have one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mechicl.data.banks import Batch
from mechicl.engine.forward import forward
from mechicl.engine.params import Params
from mechicl.evaluators import normal_interval
from mechicl.measures.cache import cached
from mechicl.measures.tables import chosen_steps, encoded_bytes, measured, tidy
from mechicl.series import Series
from mechicl.surroundings import reading

SCORES = (
    "previous_token", "label_to_exemplar", "label_to_self", "query_to_match", "query_to_label",
    "query_to_wrong", "induction_strength", "query_to_self", "query_to_own",
)  # fmt: skip
EVALUATORS = ("icl", "flip", "ciwl")


def scores(pattern: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Every score of every head and sequence.

    Args:
        pattern: [*lead, b, h, t, t] attention of one layer.
        batch: the sequences it was computed on.

    Returns:
        score -> [*lead, b, h]; NaN where a sequence has no such position.
    """
    c = batch.n_pairs
    correct = (batch.classes[:, :-1] == batch.classes[:, -1:])[:, None]  # [b, 1, C]
    own = (batch.labels == batch.canonical[:, -1:])[:, None]
    shown = torch.where(correct.any(-1), 0.0, torch.nan)  # added: NaN where there is no correct pair
    has_own = torch.where(own.any(-1), 0.0, torch.nan)
    positions = torch.arange(2 * c + 1)
    to_exemplars, to_labels = pattern[..., -1, 0:-1:2], pattern[..., -1, 1::2]  # [*lead, b, h, C]
    at_labels = positions[1::2]
    right = (to_labels * correct).sum(-1) + shown
    wrong = (to_labels * ~correct).sum(-1)
    return {
        "previous_token": pattern[..., positions[1:], positions[:-1]].mean(-1),
        "label_to_exemplar": pattern[..., at_labels, at_labels - 1].mean(-1),
        "label_to_self": pattern[..., at_labels, at_labels].mean(-1),
        "query_to_match": (to_exemplars * correct).sum(-1) + shown,
        "query_to_label": right,
        "query_to_wrong": wrong,
        "induction_strength": right - wrong,
        "query_to_self": pattern[..., -1, -1],
        "query_to_own": (to_labels * own).sum(-1) + has_own,
    }


@reading()
def attention_scores(
    series: Series,
    steps: Iterable[int] | None = None,
    evaluators: Iterable[str] = EVALUATORS,
    n: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """The tidy table of all SCORES, per step, evaluator, layer and head, with a normal 95%
    interval over sequences. Scores that an evaluator does not define are left out."""
    model = series.config.model
    sets = {name: series.evaluation_set(name, n) for name in evaluators}
    widest = max(len(b) for b in sets.values())
    t = series.config.sequences.n_tokens
    size = 4.0 * widest * t * (model.n_heads * t * model.n_layers * 3 + model.d_model * 8)
    size += encoded_bytes(series, widest)
    hooks = [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.n_layers)]
    chosen = chosen_steps(series, steps)

    def measure(chunk: list[int], params: Params, name: str, batch: Batch) -> Iterator[dict]:
        acts = forward(params, batch, model, capture=hooks, query_only=False).acts
        for layer, hook in enumerate(hooks):
            for metric, values in scores(acts[hook][:, 0], batch).items():  # [s, b, h]
                yield from _rows(chunk, layer, name, metric, values.numpy())

    rows = measured(series, chosen, size, "attention", sets, measure, progress)
    settings = {"n": {name: len(batch) for name, batch in sets.items()}}
    return cached(series, "attention", chosen, settings, lambda: tidy(series, rows))


def _rows(steps: list[int], layer: int, evaluator: str, metric: str, values: np.ndarray) -> Iterable[dict]:
    used = ~np.isnan(values[0, :, 0])  # the same sequences for every step and head
    n = int(used.sum())
    if n == 0:
        return
    mean, low, high = normal_interval(np.moveaxis(values[:, used], 1, -1))  # [s, h]
    for i, step in enumerate(steps):
        for head in range(mean.shape[1]):
            yield {
                "step": step, "layer": layer, "head": head, "evaluator": evaluator, "metric": metric,
                "intervention": "intact", "value": float(mean[i, head]), "n": n,
                "ci_low": float(low[i, head]), "ci_high": float(high[i, head]),
            }  # fmt: skip
