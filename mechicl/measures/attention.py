"""Attention scores: where each head looks, per checkpoint (docs/references.md#singh-2024-measures).

Which scores there are is the task's (`TaskBatch.attention`), and so are their names (protocol/attention_scores.py): of
tokens prefix matching and others, of exemplars and labels those of docs/references.md#singh-2024-measures.

A score says nothing without its baseline: a causal head that attends evenly has a
previous-token score of .32 with two pairs. `uniform_scores` has that value for every score, and
`standing_out` the heads that are above it, and above the heads of the untrained model too: random
weights alone give single heads scores far from the uniform one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from mechicl.measures.baselines import joint_intervals
from mechicl.measures.door import measure
from mechicl.measures.parts import over_evaluators
from mechicl.models.params import Params, init, pack
from mechicl.protocol.batch import TaskBatch
from mechicl.registry import main_in_context
from mechicl.series import Series
from mechicl.statistics import normal_interval
from mechicl.system.surroundings import reading

__all__ = ["attention_scores", "standing_out", "uniform_scores", "untrained_scores"]


def scores(pattern: Tensor, batch: TaskBatch) -> dict[str, Tensor]:
    """Every score of every head and sequence that the batch defines (`TaskBatch.attention`).

    Args:
        pattern: [*lead, b, h, t, t] attention of one layer.
        batch: the sequences it was computed on.

    Returns:
        score -> [*lead, b, h]; NaN where a sequence has no such position.
    """
    return batch.attention(pattern)


def uniform_scores(batch: TaskBatch) -> dict[str, float]:
    """Every score of a head with uniform attention to all positions so far, including its own. It is exact: `scores` of
    this pattern, averaged over the same sequences. Scores that no sequence defines are left out."""
    t = batch.shape[-1]
    even = torch.ones(t, t, dtype=torch.float64).tril() / torch.arange(1, t + 1, dtype=torch.float64)[:, None]
    found = scores(even.expand(len(batch), 1, t, t), batch.to("cpu"))
    return {name: float(x.nanmean()) for name, x in found.items() if not x.isnan().all()}


@reading()
def untrained_scores(series: Series, evaluator: str, n: int | None = None) -> dict[str, float]:
    """Every score of the untrained model: the highest of its heads, on the sequences of one evaluator.

    Its weights are the run's own random initial weights, even if the run kept no step 0 or began from a graft.
    """
    model, batch = series.config.model, series.evaluation_set(evaluator, n)
    params = {name: w[None].to(series.device) for name, w in pack(init(series.config)).items()}
    hooks = _patterns(model.n_layers)
    acts = forward(params, batch, model, capture=hooks, query_only=False).acts
    layers = [scores(acts[hook][0, 0], batch) for hook in hooks]  # [b, h]
    found = {name: torch.stack([layer[name].nanmean(0) for layer in layers]) for name in layers[0]}
    return {name: float(x.max()) for name, x in found.items() if not x.isnan().all()}


def standing_out(
    table: pd.DataFrame, metric: str, step: int, untrained: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """The heads whose score at a step is above its baselines, the highest first.

    A head is included if its interval is above uniform attention and above the highest head of the untrained model. The
    intervals hold at 95% for all heads of the table together (Bonferroni, `baselines.joint_intervals`).

    Args:
        table: a table of `attention_scores` for one evaluator, with all heads that were considered.
        metric: which score, such as 'induction_strength'.
        step: which checkpoint.
        untrained: the result of `untrained_scores`; None: uniform attention is the only baseline.

    Returns:
        Their rows, with the columns joint_low, joint_high and floor (the higher of the two baselines). Empty
        where no head is above.

    Raises:
        ConfigError: the table has no such metric or step.

    Examples:
        >>> scores = mechicl.attention_scores(series, [3000], ["flip"], n=100, progress=False)
        >>> mechicl.standing_out(scores, "induction_strength", 3000).layer.unique().tolist()  # induction heads: layer 1
        [1]
    """
    for column, wanted in (("metric", metric), ("step", step)):
        known = table[column].unique().tolist()
        if known and wanted not in known:
            there = ", ".join(map(str, known))
            raise ConfigError(f"{column}={wanted!r}: the table has no such {column}; it has {there}.")
    now = joint_intervals(table[(table.metric == metric) & (table.step == step)])
    now["floor"] = now.uniform.clip(lower=(untrained or {}).get(metric, -np.inf))
    return now[now.joint_low > now.floor].sort_values("value", ascending=False, kind="stable")


@reading()
@measure(
    "attention_scores",
    rows="step, evaluator, head, score",
    value="share of attention (definitions: `mechicl/measures/attention.py`)",
    against="column `uniform`: uniform attention; `measures.untrained_scores`",
)
def attention_scores(
    series: Series, steps: Steps = None, evaluators: Names = None, n: int | None = None, progress: bool = True
) -> pd.DataFrame:
    """The tidy table of all SCORES, per step, evaluator, layer and head.

    Args:
        series: the run.
        steps: the checkpoints (default: all).
        evaluators: the evaluators whose sequences are used. Default: the run's main evaluators whose context has the
            right label: icl, flip and ciwl, or those of held-out labels, classes and exemplars.
        n: sequences per evaluator (default: the run's `n_eval`).
        progress: show a progress bar.

    Returns:
        One row per step, evaluator, layer, head and score: value (a share of attention, in the score's
        `limits`), its normal 95% interval over sequences, and an additional column `uniform`: the score of uniform
        attention (`uniform_scores`). Scores that are not defined on an evaluator's sequences are left out.

    Raises:
        SeriesError: a step was not saved.
        ConfigError: there is no such evaluator.

    Examples:
        >>> scores = mechicl.attention_scores(series, [3000], ["flip"], n=100, progress=False)
        >>> best = scores.query("metric == 'induction_strength'").nlargest(1, "value")
        >>> bool(best.value.item() > 0.5), best.uniform.item()
        (True, 0.0)
    """
    model = series.config.model
    sets = chosen_sets(series, evaluators, main_in_context(series.config), n)
    widest = max(len(b) for b in sets.values())
    t = series.task.n_tokens
    size = 4.0 * widest * t * (model.n_heads * t * model.n_layers * 3 + model.d_model * 8)
    size += series.task.embedding_bytes(series.config.model, widest)
    measured = partial(_measured, model=model, even={name: uniform_scores(batch) for name, batch in sets.items()})
    return over_evaluators(series, "attention", steps, sets, measured, size, extra=("uniform",), progress=progress)


def _measured(
    steps: list[int],
    params: Params,
    name: str,
    batch: TaskBatch,
    *,
    model: ModelConfig,
    even: Mapping[str, Mapping[str, float]],
) -> Iterator[dict[str, Any]]:
    """even: evaluator -> `uniform_scores` of its sequences."""
    hooks = _patterns(model.n_layers)
    acts = forward(params, batch, model, capture=hooks, query_only=False).acts
    for layer, hook in enumerate(hooks):
        for metric, values in scores(acts[hook][:, 0], batch).items():  # [s, b, h]
            for row in head_rows(steps, layer, name, metric, values.cpu().numpy()):
                yield row | {"uniform": even[name][metric]}


def _patterns(n_layers: int) -> list[str]:
    return [f"blocks.{layer}.attn.hook_pattern" for layer in range(n_layers)]


def head_rows(
    steps: list[int], layer: int, evaluator: str, metric: str, values: np.ndarray
) -> Iterator[dict[str, Any]]:
    """A row for each step and head of a layer: the mean and its interval over sequences, those without a value left
    out. values [s, b, h]."""
    used = ~np.isnan(values[0, :, 0])  # the same sequences for every step and head
    n = int(used.sum())
    if n == 0:
        return
    mean, low, high = normal_interval(np.moveaxis(values[:, used], 1, -1))  # [s, h]
    for i, step in enumerate(steps):
        for head in range(mean.shape[1]):
            yield {
                "step": step,
                "layer": layer,
                "head": head,
                "evaluator": evaluator,
                "metric": metric,
                "intervention": "intact",
                "value": float(mean[i, head]),
                "n": n,
                "ci_low": float(low[i, head]),
                "ci_high": float(high[i, head]),
            }
