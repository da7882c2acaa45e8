"""Evaluating checkpoints, intact and under interventions, many of both at once.

Checkpoints ride on axis s and conditions on axis c of one forward pass, and conditions are
grouped by the first layer they touch, so what an ablation leaves alone is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
import torch

from mechicl.config import ModelConfig
from mechicl.engine.held import query_scores
from mechicl.errors import ConfigError
from mechicl.evaluators import EVALUATORS, Metrics, score, wanted_of
from mechicl.interventions import Intact, Intervention, as_interventions, intact
from mechicl.interventions.apply import changing, in_parts, reweighted
from mechicl.interventions.base import Checkpoint, described
from mechicl.interventions.heads import OfHeads
from mechicl.interventions.labels import check_labels
from mechicl.measures import tables
from mechicl.measures.asked import Names, Steps, chosen_names, chosen_sets, chosen_steps
from mechicl.measures.parts import over_checkpoints
from mechicl.measures.tables import at_once, by_evaluator
from mechicl.models.params import Params
from mechicl.protocol.batch import TaskBatch
from mechicl.registry import applying
from mechicl.series import Series
from mechicl.statistics import mean_interval, paired_interval
from mechicl.system.surroundings import reading

__all__ = ["answers", "evaluate"]

EFFECT = ("effect_low", "effect_high")  # columns more than other tables have
_CONDITIONS = 16  # at most this many on axis c at once; fewer where they would not fit the budget
_SEQUENCES = 128  # this many at a time under each group of conditions: what they need stays in the caches


@reading()
def evaluate(
    series: Series,
    steps: Steps = None,
    evaluators: Names = None,
    ablate: Intervention | Sequence[Intervention] | None = None,
    n: int | None = None,
    metrics: Metrics | None = "recorded",
    split: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """The tidy table of checkpoints x evaluators x (intact + each intervention) x metrics.

    It has two additional columns, effect_low and effect_high: the 95% interval of ablated minus
    intact on the same sequences (`evaluators.paired_interval`; empty in intact rows). `effects` adds the effect.

    Args:
        series: the run.
        steps: default all.
        evaluators: default all.
        ablate: one intervention, or several that are measured separately.
        n: sequences per evaluator; split: which evaluation set (`evaluators.evaluation_set`).
        metrics: any metrics of the task, such as `in_context_prob` (docs/interventions.md) (default: those recorded in
            training); None for only the primary metric of each evaluator, which is much cheaper, because only
            `iwl` then needs the full vocabulary.
    """
    conditions = as_interventions(ablate)
    for condition in conditions:
        condition.check(series.config.model)
        if isinstance(condition, OfHeads) and not condition.heads:  # its rows would be of no intervention
            raise ConfigError("heads=(): expected at least one head, such as heads=((0, 1), (1, 3)).")
    names = chosen_names(evaluators, applying(series.config))
    _check_fits(series, len(names), n)
    donors = {str(step): series.entry(step).sha256 for c in conditions for step in c.donors}
    sets = chosen_sets(series, names, applying(series.config), n, split)
    chosen = chosen_steps(series, steps)
    wanted = {name: wanted_of(name, batch, metrics) for name, batch in sets.items()}
    try:
        settings = {
            "evaluators": wanted,
            "ablate": [described(c) for c in conditions],
            "split": split,
            "n": {name: len(batch) for name, batch in sets.items()},
            "donors": donors,
        }
    except (OSError, TypeError):  # somebody's own, whose code or fields cannot be read: another one tomorrow, maybe
        settings = None
    return over_checkpoints(
        series,
        "ablation",
        chosen,
        partial(_measured, sets=sets, wanted=wanted, conditions=conditions),
        settings,
        bytes_per_step=at_once(sets) * _together(series, sets) * _bytes_per_condition(series, _widest(sets)),
        singly=any(condition.of_step for condition in conditions),  # another one at every step
        extra=EFFECT,
        label="evaluate",
        progress=progress,
    )


def _check_fits(series: Series, evaluators: int, n: int | None) -> None:
    """Raise ConfigError if one checkpoint needs more than the budget at so many sequences, before they are drawn."""
    if not isinstance(n, int):
        return
    each = min(2, max(1, evaluators)) * _bytes_per_condition(series, 1)
    if each * n > tables.BUDGET:
        raise ConfigError(
            f"n={n}: one checkpoint of {series.name} needs about {each * n / 2**30:.1f} GiB of activations, more than "
            f"the budget of {tables.BUDGET / 2**30:.1f} GiB: pass at most n={int(tables.BUDGET / each)}."
        )


def _widest(sets: Mapping[str, TaskBatch]) -> int:
    return max(len(batch) for batch in sets.values())


def _together(series: Series, sets: Mapping[str, TaskBatch]) -> int:
    """How many conditions share a pass: two evaluators may be at work at once."""
    return int(max(1, min(_CONDITIONS, tables.BUDGET // (2 * _bytes_per_condition(series, _widest(sets))))))


def _measured(
    series: Series,
    steps: list[int],
    *,
    sets: Mapping[str, TaskBatch],
    wanted: Mapping[str, tuple[str, ...]],
    conditions: Sequence[Intervention],
) -> Iterator[dict[str, Any]]:
    """The rows of steps that are measured together; of one step where a condition is another one at every step."""
    model, together, here = series.config.model, _together(series, sets), conditions
    if any(condition.of_step for condition in conditions):
        here = [condition.at_step(series, steps[0]) for condition in conditions]
        check_labels(here)  # at its step one may have another's label
        for condition in here:
            condition.check(model)
    checkpoint = lru_cache(maxsize=_CONDITIONS)(series.weights)

    def measure(chunk: list[int], params: Params, name: str, batch: TaskBatch) -> Iterator[dict[str, Any]]:
        before: dict[str, torch.Tensor] = {}
        for group, values in _scores(params, batch, model, here, wanted[name], together, checkpoint):
            before = before or values  # the first
            for metric, per_sequence in values.items():
                yield from _rows(chunk, group, name, metric, per_sequence, before[metric])

    size = at_once(sets) * together * _bytes_per_condition(series, _widest(sets))
    return by_evaluator(series, steps, sets=sets, measure=measure, bytes_per_step=size)


def ordered_rows(
    series: Series,
    step: int,
    sets: Mapping[str, TaskBatch],
    wanted: Mapping[str, tuple[str, ...]],
    conditions: Sequence[Intervention],
) -> list[dict[str, Any]]:
    """The rows of `evaluate` for one checkpoint: the intact model's, then each condition's in the order given; of each
    the evaluators in the order of `sets`."""
    place = {"intact": -1} | {str(c): i for i, c in enumerate(conditions)}
    names, rows = list(sets), _measured(series, [step], sets=sets, wanted=wanted, conditions=conditions)
    return sorted(rows, key=lambda row: (place[row["intervention"]], names.index(row["evaluator"])))


def _bytes_per_condition(series: Series, b: int) -> float:
    m = series.config.model
    t = series.task.n_tokens
    per_position = m.d_model * (8 + 2 * m.mlp_ratio) + m.n_heads * t * 4
    return 4.0 * b * t * per_position + series.task.embedding_bytes(series.config.model, b)


def _scores(
    params: Params,
    batch: TaskBatch,
    model: ModelConfig,
    conditions: Sequence[Intervention],
    metrics: tuple[str, ...],
    together: int,
    checkpoint: Checkpoint,
) -> Iterator[tuple[list[Intervention | None], dict[str, torch.Tensor]]]:
    """Groups of conditions with their metrics [s, c, b]; the intact model first, as [None]."""
    if len(params["unembed.b_U"]) == 1:  # one step: plain parameters take the engine's quicker paths
        params = {name: p[0] for name, p in params.items()}
    on = intact(params, batch, model, conditions, checkpoint=checkpoint)
    yield [None], _with_axes(score(params, on.final, batch, metrics))
    order = sorted(conditions, key=lambda c: (c.family, c.first_layer))
    for _, same in groupby(order, key=lambda c: (c.family, c.first_layer)):
        listed = list(same)
        for i in range(0, len(listed), together):
            group = listed[i : i + together]
            yield list(group), scores_under(group, on, metrics, _SEQUENCES)


def scores_under(
    conditions: Sequence[Intervention], on: Intact, metrics: tuple[str, ...], size: int | None = None
) -> dict[str, torch.Tensor]:
    """Metrics [s, c, b] of every sequence under interventions of one family, which `on` was made for.

    Args:
        size: sequences at a time (default: all at once).
    """
    if changing(conditions, on):  # one by one, and all sequences at once: nothing is known that a pass could start from
        each = [[scores_under([c], one, metrics) for one in reweighted(c, on)] for c in conditions]
        found = [{name: torch.cat([one[name] for one in row]) for name in metrics} for row in each]  # [s, 1, b]
        return {name: torch.cat([row[name] for row in found], 1) for name in metrics}
    parts, reads = [], conditions[0].reads  # of one family: all read the same head, or none does
    for batch, out in in_parts(conditions, on, size=size):
        if reads is None:
            scored = score(on.params, out.final, batch, metrics)
        else:
            scored = batch.score_copied(query_scores(out.acts, on.model, reads[1]), metrics)
        parts.append(_with_axes(scored))
    joined = {name: torch.cat([part[name] for part in parts], -1) for name in parts[0]}
    # Edits that are the same for all conditions bring no axis c.
    return {name: x.expand(-1, len(conditions), -1) for name, x in joined.items()}


def _with_axes(scores: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """[*lead, b] as [s, c, b], with s and c of 1 where there were none."""
    return {name: x.reshape((1,) * (3 - x.dim()) + x.shape) for name, x in scores.items()}


def _rows(
    steps: list[int],
    group: list[Intervention | None],
    evaluator: str,
    metric: str,
    values: torch.Tensor,
    intact: torch.Tensor,
) -> Iterator[dict[str, Any]]:
    _, effect_low, effect_high = paired_interval(intact, values, metric)
    value, low, high = (np.asarray(x) for x in mean_interval(values, metric))  # [s, c]
    for i, step in enumerate(steps):
        for j, condition in enumerate(group):
            layer, head = condition.place if condition else (None, None)
            yield {
                "step": step,
                "evaluator": evaluator,
                "metric": metric,
                "layer": pd.NA if layer is None else layer,
                "head": pd.NA if head is None else head,
                "intervention": str(condition) if condition else "intact",
                "baseline": condition.baseline if condition else "",
                "value": float(value[i, j]),
                "n": values.shape[-1],
                "ci_low": float(low[i, j]),
                "ci_high": float(high[i, j]),
                "effect_low": float(effect_low[i, j]) if condition else np.nan,
                "effect_high": float(effect_high[i, j]) if condition else np.nan,
            }


@reading()
def answers(
    series: Series,
    step: int,
    evaluator: str,
    ablate: Intervention | None = None,
    metric: str | None = None,
    n: int | None = None,
    split: int = 0,
) -> np.ndarray:
    """One metric for each sequence of an evaluation set, intact or under an intervention. `evaluate` averages these
    values.

    Args:
        step: one checkpoint.
        metric: one that the task has (default: the evaluator's primary metric).
        n: as in `evaluate`.
        split: as in `evaluate`.

    Returns:
        [n], in the order of `series.evaluation_set(evaluator, n, split)`: bool for accuracies, else float.

    Raises:
        ConfigError: several interventions, or no such evaluator, metric or head.
        SeriesError: no such checkpoint.
    """
    conditions, model = as_interventions(ablate), series.config.model
    if len(conditions) > 1:
        raise ConfigError("answers takes one intervention: give one, or combine several with Together(parts=(...)).")
    for condition in conditions:
        condition.check(model)
    batch, (chosen,) = series.evaluation_set(evaluator, n, split), chosen_steps(series, step)
    conditions = [condition.at_step(series, chosen) for condition in conditions]
    wanted = metric or EVALUATORS[evaluator].primary_metric
    *_, (_, scored) = _scores(series.params([chosen]), batch, model, conditions, (wanted,), 1, series.weights)
    return scored[wanted].reshape(-1).cpu().numpy()
