"""Evaluators: fixed sets of sequences, each with an exact metric, drawn once from `seeds.eval`.

`registry.py` has each one's entry: to which runs it applies, how its sequences are drawn, which metric is its primary
one. The task says what a metric is (`TaskBatch.score`). Those of exemplars and labels (docs/references.md#evaluators;
`tasks/exemplar_label/scores.py` has the metrics exactly):

    name         context                             labels               right answer needs
    train        as in training                      canonical            either
    icl          query's class and one other, C/2    {0, 1}, random       ICL
    flip         as icl                              the two swapped      ICL; 0 = in-weights
    ciwl         C other classes                     one overwritten by   in-weights, among the
                                                     the query's          context's labels
    iwl          C other classes                     canonical            in-weights recall
    icl_holdout  as icl, classes never trained on    {0, 1}, random       ICL

Where few labels are dealt out anew in every sequence (Singh et al. 2024), a class has no label of its
own, and a run records others beside `train`, of which acc, over all labels, is the primary metric:

    holdout_pairs      as in training    pairs of labels never trained on together    ICL (published: fsl_val_rl)
    holdout_classes    classes never trained on          as in training               ICL (fsl_test_class)
    holdout_exemplars  new exemplars of trained classes  as in training               ICL (fsl_train_valex)

Where classes share labels, the classes of one evaluation context have distinct labels. Exemplars are drawn
with replacement whatever the training data does (in `train` as in training), unless `Config.eval_exemplars` is
'as_training': where items of a class show the identical exemplar, ICL and Flip ask for no generalisation.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from torch import Tensor

from mechicl.config import Config, ConfigError
from mechicl.engine.copied import label_scores, score_copied, scores_hook
from mechicl.engine.forward import forward
from mechicl.engine.params import Params
from mechicl.engine.share import share_each
from mechicl.engine.treated import edits, layer_treatments, reading_head
from mechicl.loading import whole
from mechicl.registry import EVALUATORS as EVALUATORS
from mechicl.registry import Evaluator as Evaluator
from mechicl.registry import applying as applying
from mechicl.surroundings import reading
from mechicl.tasks.base import task_of
from mechicl.tasks.batch import TaskBatch
from mechicl.tasks.exemplar_label.scores import ALL_METRICS as ALL_METRICS
from mechicl.tasks.exemplar_label.scores import METRICS as METRICS
from mechicl.tasks.exemplar_label.scores import in_context_correct as in_context_correct
from mechicl.tasks.exemplar_label.scores import in_context_loss as in_context_loss
from mechicl.treatments import Treatment

Metrics = Iterable[str] | Literal["recorded"]
_ACCURACIES = ("in_context_acc", "acc")  # right or wrong; of all others the interval is the normal one
_Z = 1.959963984540054  # the normal distribution's 97.5% point


def evaluation_set(name: str, config: Config, source: Any, n: int | None = None, fold: int = 0) -> Any:
    """The fixed sequences of one evaluator, a `TaskBatch`: the same for every checkpoint of a run.

    Args:
        name: one of EVALUATORS.
        source: what the run's sequences are drawn from, as its whole bank (`series.source`).
        n: how many sequences (default `config.n_eval`); each n is a set of its own.
        fold: 0 is the set that is reported; others are independent of it, to select on.
    """
    if not isinstance(name, str) or name not in EVALUATORS:
        raise ConfigError(f"no evaluator named {name!r}; there are {', '.join(EVALUATORS)}.")
    evaluator = EVALUATORS[name]
    if not evaluator.asked_of(config):
        raise ConfigError(f"evaluator {name!r} does not apply to this run: it needs {evaluator.lacking(config)}. The "
                          f"run has {', '.join(applying(config))}.")  # fmt: skip
    size = config.n_eval if n is None else whole("n", n, "a number of sequences")
    if size < 1 or whole("fold", fold) < 0:
        raise ConfigError(f"n={n}, fold={fold}: expected at least one sequence, and folds counted from 0.")
    rng = np.random.default_rng([config.seeds.eval, zlib.crc32(name.encode()), fold])
    return evaluator.drawn(config, source, size, rng)


def evaluation_sets(config: Config, source: Any, n: int | None = None) -> dict[str, Any]:
    """The set of every evaluator that applies to the run."""
    return {name: evaluation_set(name, config, source, n) for name in applying(config)}


def chance(name: str, batch: TaskBatch, n_outputs: int) -> dict[str, float]:
    """What guessing scores, computed from the set itself (`TaskBatch.chance`); `name` says whose set it is."""
    return batch.chance(n_outputs)


def wanted_of(name: str, batch: TaskBatch, metrics: Metrics | None) -> tuple[str, ...]:
    """Which metrics of an evaluator are asked for: these, those recorded in training, or, of None, its headline."""
    if metrics is None:
        return (EVALUATORS[name].headline,)
    return batch.recorded if metrics == "recorded" else tuple(metrics)


def score(params: Params, final: Tensor, batch: TaskBatch, metrics: Metrics = "recorded") -> dict[str, Tensor]:
    """Metrics of every sequence, from the final residual stream where answers are read.

    Args:
        final: [*lead, b, d], or [*lead, b, t, d] of a task whose answers are read everywhere (`engine.forward`).
        metrics: which (default: those recorded in training, `batch.recorded`).

    Returns:
        metric -> [*lead, b].

    Raises:
        ConfigError: there is no such metric.
    """
    return batch.score(params, final, batch.recorded if metrics == "recorded" else tuple(metrics))


def normal_interval(values: Tensor | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and normal 95% interval over the last axis; NaN bounds for a single value."""
    x = np.asarray(values, dtype=np.float64)
    n, mean = x.shape[-1], x.mean(-1)
    half = _Z * x.std(-1, ddof=1) / np.sqrt(n) if n > 1 else np.full_like(mean, np.nan)
    return mean, mean - half, mean + half


def mean_interval(values: Tensor | np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and 95% interval over the last axis: Wilson for accuracies, normal for all other metrics."""
    if metric not in _ACCURACIES:
        return normal_interval(values)
    x = np.asarray(values, dtype=np.float64)
    n, mean, z = x.shape[-1], x.mean(-1), _Z
    centre = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
    return mean, np.clip(centre - half, 0.0, mean), np.clip(centre + half, mean, 1.0)


def paired_interval(
    before: Tensor | np.ndarray, after: Tensor | np.ndarray, metric: str = "acc"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of after - before over the last axis, the same sequences in both, and its 95% interval.

    Of accuracies (bool) it is Agresti and Min's (2005): half a sequence is added to each way two answers can
    fall, so that a change that met none of n sequences does not look certain to be 0. Of all other metrics, the
    normal one.
    """
    x, y = np.asarray(before), np.asarray(after)
    if metric not in _ACCURACIES:
        return normal_interval(y.astype(np.float64) - x)
    n = np.broadcast_shapes(x.shape, y.shape)[-1]
    won, lost = (y & ~x).sum(-1), (x & ~y).sum(-1)
    value, centre = (won - lost) / n, (won - lost) / (n + 2)
    half = _Z * np.sqrt(won + lost + 1 - (won - lost) ** 2 / (n + 2)) / (n + 2)
    return value, np.minimum(value, centre - half), np.maximum(value, centre + half)


@reading()
def evaluate_params(
    params: Params, sets: dict[str, Any], config: Config, treatments: tuple[Treatment, ...] = ()
) -> list[dict]:
    """Rows `evaluator, metric, value, n, ci_low, ci_high` for one checkpoint (plain params), its
    heads under these treatments."""
    treated = layer_treatments(treatments, config.model, task_of(config).n_tokens)
    reads = reading_head(treated)
    asked = [] if reads is None else [scores_hook(config.model)]

    def measure(batch: TaskBatch) -> dict[str, Tensor]:
        out = forward(params, batch, config.model, edits=edits(treated, config.model, batch), capture=asked)
        if reads is None:
            return score(params, out.final, batch)
        return score_copied(label_scores(out.acts, config.model, reads), batch, METRICS)

    logits = sum(map(len, sets.values())) * params["unembed.b_U"].shape[-1]
    scored = zip(sets, share_each(measure, sets.values(), logits), strict=True)
    return [row for name, values in scored for row in metric_rows(name, values)]


def metric_rows(evaluator: str, scored: dict[str, Tensor]) -> list[dict]:
    """Rows `evaluator, metric, value, n, ci_low, ci_high` of one set's metrics, each [b] (`score`)."""
    rows = []
    for metric, values in scored.items():
        value, low, high = map(float, mean_interval(values, metric))
        rows.append({"evaluator": evaluator, "metric": metric, "value": value, "n": len(values),
                     "ci_low": low, "ci_high": high})  # fmt: skip
    return rows
