"""Evaluators: fixed sets of sequences, each with an exact metric, drawn once from `seeds.eval`.

`registry.py` says what an evaluator is; each task has its own, which it asks of the runs that they make sense for
(`tasks/*/evaluators.py`). The task says what a metric is (`TaskBatch.score`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor

from mechicl.config import Config
from mechicl.doors import known
from mechicl.engine.forward import forward
from mechicl.engine.held import edits, held_layers, query_scores, reading_head, scores_hook
from mechicl.errors import ConfigError
from mechicl.loading import whole
from mechicl.models.params import Params
from mechicl.protocol.batch import TaskBatch
from mechicl.protocol.known import task_of
from mechicl.protocol.scored import check_scored
from mechicl.registry import EVALUATORS as EVALUATORS
from mechicl.registry import Evaluator as Evaluator
from mechicl.registry import applying as applying
from mechicl.statistics import mean_interval
from mechicl.system.surroundings import reading
from mechicl.system.work_queue import share_each
from mechicl.training_interventions import TrainingIntervention

Metrics = Iterable[str] | str  # several, one, or 'recorded': those of training


def evaluation_set(name: str, config: Config, source: Any, n: int | None = None, split: int = 0) -> Any:
    """The fixed sequences of one evaluator, a `TaskBatch`: the same for every checkpoint of a run.

    Args:
        name: one of EVALUATORS.
        source: what the run's sequences are drawn from, as its whole bank (`series.source`).
        n: how many sequences (default `config.n_eval`); each n is a set of its own.
        split: 0 is the set that is reported; others are independent of it, to select on.
    """
    if not isinstance(name, str) or name not in EVALUATORS:
        raise ConfigError(f"no evaluator named {name!r}; {known(str(name), applying(config))}")
    evaluator = EVALUATORS[name]
    if not evaluator.asked_of(config):
        raise ConfigError(
            f"evaluator {name!r} does not apply to this run: it needs {evaluator.lacking(config)}. The "
            f"run has {', '.join(applying(config))}."
        )
    size = config.n_eval if n is None else whole("n", n, "a number of sequences")
    if size < 1 or whole("split", split) < 0:
        raise ConfigError(f"n={n}, split={split}: expected at least one sequence, and splits counted from 0.")
    if size > _LARGE:
        _check_fits(evaluator, config, source, size)
    draws = evaluator.control_of or name
    rng = np.random.default_rng([config.seeds.eval, zlib.crc32(draws.encode()), split])
    return evaluator.drawn(config, source, size, rng)


_LARGE = 100_000  # sequences: of more, a few are drawn first, to see how much memory all take
_FEW = 32
_BYTES = 2**30  # of one evaluator's sequences; drawing them takes several times as much


def _check_fits(evaluator: Evaluator, config: Config, source: Any, size: int) -> None:
    """Raise ConfigError if so many sequences take too much memory, before they are drawn."""
    few = evaluator.drawn(config, source, _FEW, np.random.default_rng(0))
    each = sum(x.nbytes for x in vars(few).values() if isinstance(x, Tensor)) / max(1, len(few))
    if each * size > _BYTES:
        raise ConfigError(
            f"n={size}: so many sequences of {evaluator.name!r} take about {each * size / 2**30:.1f} GiB, more than "
            f"{_BYTES / 2**30:.0f} GiB: pass at most n={int(_BYTES / each)}."
        )


def evaluation_sets(config: Config, source: Any, n: int | None = None) -> dict[str, Any]:
    """The set of every evaluator that applies to the run."""
    return {name: evaluation_set(name, config, source, n) for name in applying(config)}


def chance(name: str, batch: TaskBatch, n_outputs: int) -> dict[str, float]:
    """What guessing scores, computed from the set itself (`TaskBatch.chance`); `name` says whose set it is."""
    return batch.chance(n_outputs)


def wanted_of(name: str, batch: TaskBatch, metrics: Metrics | None) -> tuple[str, ...]:
    """The metrics to compute for an evaluator: these, those recorded in training, or (None) its primary one."""
    if metrics is None:
        return (EVALUATORS[name].primary_metric,)
    return _listed(metrics, batch)


def _listed(metrics: Metrics, batch: TaskBatch) -> tuple[str, ...]:
    """One metric, several, or (recorded) those of training."""
    if metrics == "recorded":
        return batch.recorded
    return (metrics,) if isinstance(metrics, str) else tuple(metrics)


def score(params: Params, final: Tensor, batch: TaskBatch, metrics: Metrics = "recorded") -> dict[str, Tensor]:
    """Metrics of every sequence, from the final residual stream where answers are read.

    Args:
        final: [*lead, b, d], or [*lead, b, t, d] of a task whose answers are read everywhere (`engine.forward`).
        metrics: which (default: those recorded in training, `batch.recorded`).

    Returns:
        metric -> [*lead, b].

    Raises:
        ConfigError: there is no such metric, or a plugin's batch returned something else.
    """
    wanted = _listed(metrics, batch)
    return check_scored(batch.score(params, final, wanted), batch, final, wanted)


@reading()
def evaluate_params(
    params: Params, sets: dict[str, Any], config: Config, interventions: tuple[TrainingIntervention, ...] = ()
) -> list[dict[str, Any]]:
    """Rows `evaluator, metric, value, n, ci_low, ci_high` for one checkpoint (plain params), its
    heads under these training interventions."""
    held = held_layers(interventions, config.model, task_of(config).n_tokens, str(params["unembed.b_U"].device))
    reads = reading_head(held)
    asked = [] if reads is None else [scores_hook(config.model)]

    def measure(batch: TaskBatch) -> dict[str, Tensor]:
        out = forward(params, batch, config.model, edits=edits(held, config.model, batch), capture=asked)
        if reads is None:
            return score(params, out.final, batch)
        return batch.score_copied(query_scores(out.acts, config.model, reads), batch.recorded)

    logits = sum(map(len, sets.values())) * params["unembed.b_U"].shape[-1]
    scored = zip(sets, share_each(measure, sets.values(), logits), strict=True)
    return [row for name, values in scored for row in metric_rows(name, values)]


def metric_rows(evaluator: str, scored: dict[str, Tensor]) -> list[dict[str, Any]]:
    """Rows `evaluator, metric, value, n, ci_low, ci_high` of one set's metrics, each [b] (`score`)."""
    rows = []
    for metric, values in scored.items():
        value, low, high = map(float, mean_interval(values, metric))
        rows.append(
            {"evaluator": evaluator, "metric": metric, "value": value, "n": len(values), "ci_low": low, "ci_high": high}
        )
    return rows
