"""Who reads whom: what every path between two components does, at every checkpoint.

A path runs from what one component writes to what another reads (`interventions.components`). Its effect is what an
evaluator changes by where it is cut (`CutPaths`). In models of up to two layers every path is cut. Deeper models have
too many: there the effect of each on the loss is estimated from gradients first (`path_attribution`), and the strongest
are cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.errors import ConfigError
from mechicl.evaluators import EVALUATORS
from mechicl.interventions import CutPaths, every_path
from mechicl.interventions.cut_paths import PathKind
from mechicl.loading import whole
from mechicl.measures.ablation import EFFECT
from mechicl.measures.asked import Names, Steps, chosen_sets
from mechicl.measures.door import measure
from mechicl.measures.parts import over_evaluators
from mechicl.measures.path_attribution import attributed
from mechicl.measures.path_scores import DEEP, ROOM, Cutting
from mechicl.models.params import Params
from mechicl.protocol.batch import TaskBatch
from mechicl.registry import applying
from mechicl.series import Series
from mechicl.statistics import mean_interval, paired_interval
from mechicl.system.surroundings import reading

__all__ = ["path_effects"]

EXACT = 100  # paths that are cut in a deeper model, of each evaluator and step
_COLUMNS = ("effect", *EFFECT, "attributed")


@reading()
@measure(
    "path_effects",
    rows="step, evaluator, path",
    value="column `effect`: with the path cut minus intact, with a paired interval `effect_low`, `effect_high`",
    against="0; random paths of the same kind",
)
def path_effects(
    series: Series,
    steps: Steps = None,
    evaluators: Names = None,
    kind: PathKind = "zero",
    counterfactual: str = "",
    paths: Sequence[str] | None = None,
    exact: int | None = None,
    n: int | None = None,
    split: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """The effect of cutting each path between two components alone.

    Args:
        series: the run.
        steps: which checkpoints (default: all).
        evaluators: which evaluators (default: all).
        kind: what the receiver reads instead of the sender's output: 'zero', 'mean' or 'counterfactual'.
        counterfactual: which counterfactual sequence, for that kind (default: the task's first).
        paths: the paths, such as 'L0H5->L1H3.k' (default: all, `interventions.every_path`).
        exact: for each evaluator and step, cut only this many paths, those with the largest estimated effect on the
            loss (default: all in models of up to two layers, 100 in deeper ones).
        n: sequences per evaluator.
        split: which evaluation set; 0 is the one that is reported, others are independent of it.
        progress: show a bar over long series.

    Returns:
        One row per step, evaluator and path: intervention (the path), sender, receiver, value (the primary metric with
        the path cut), effect (that minus intact) and its paired 95% interval effect_low, effect_high, of n sequences.
        If `exact` leaves some out, there are also rows of the metric 'loss', one for each path: `attributed` is the
        estimate in nats, and `attribution_error` is attributed - effect, if the path was cut.

    Raises:
        ConfigError: there is no such path, evaluator or kind.
        SeriesError: a step was not saved.

    Examples:
        >>> table = mechicl.measures.path_effects(series, [3000], ["icl"], n=100, progress=False)
        >>> table[["sender", "receiver", "effect"]].shape  # a row per path
        (257, 3)
    """
    model = series.config.model
    like = CutPaths(paths=(), kind=kind, counterfactual=counterfactual)
    listed = list(every_path(model) if paths is None else dict.fromkeys(CutPaths(paths=tuple(paths)).paths))
    CutPaths(paths=tuple(listed)).check(model)
    if exact is None and paths is None and model.n_layers >= DEEP:
        exact = EXACT
    if exact is not None and whole("exact", exact, "a number of paths") < 1:
        raise ConfigError(f"exact={exact}: expected at least one path to cut.")
    exact = None if exact is not None and exact >= len(listed) else exact
    sets = chosen_sets(series, evaluators, applying(series.config), n, split)
    for batch in sets.values():
        like.check_on(batch)
    widest = max(map(len, sets.values()))
    table = over_evaluators(
        series,
        "paths",
        steps,
        sets,
        partial(_measured, model=model, like=like, paths=listed, exact=exact),
        ROOM + series.task.embedding_bytes(series.config.model, widest) + 8.0 * widest * len(listed),
        {"kind": [kind, counterfactual], "paths": listed, "exact": exact, "split": split},
        singly=True,
        extra=_COLUMNS,
        progress=progress,
    )
    ends = table.intervention.str.split("->", n=1, expand=True).reindex(columns=[0, 1])
    table = table.assign(sender=ends[0], receiver=ends[1])
    return table.assign(attribution_error=table.attributed - table.effect)


def _measured(
    steps: list[int],
    params: Params,
    name: str,
    batch: TaskBatch,
    *,
    model: ModelConfig,
    like: CutPaths,
    paths: list[str],
    exact: int | None,
) -> Iterator[dict[str, Any]]:
    primary = EVALUATORS[name].primary_metric
    for i, step in enumerate(steps):
        one = {key: p[i] for key, p in params.items()}
        chosen, estimates = paths, None
        if exact is not None:
            estimates = attributed(one, batch, model, like, paths).cpu().numpy()
            first = np.argsort(-np.abs(estimates), kind="stable")[:exact]
            chosen = [paths[j] for j in sorted(first)]
        metrics = (primary,) if estimates is None else tuple(dict.fromkeys((primary, "loss")))
        before, after = Cutting(one, batch, model, like, metrics).scores(chosen)
        about = {"step": step, "evaluator": name, "baseline": like.baseline, "n": len(batch)}
        for metric in metrics:
            found = dict(zip(chosen, _effects(before[metric], after[metric], metric), strict=True))
            if metric == "loss" and estimates is not None:
                every = dict(zip(paths, estimates.tolist(), strict=True))
                found = {path: {"attributed": x, "value": np.nan} | found.get(path, {}) for path, x in every.items()}
            for path, row in found.items():
                yield about | {"metric": metric, "intervention": path} | row


def _effects(before: Tensor, after: Tensor, metric: str) -> Iterator[dict[str, Any]]:
    """Of each path, from [b] and [p, b]."""
    effect, low, high = paired_interval(before, after, metric)
    value, ci_low, ci_high = mean_interval(after, metric)
    columns = {
        "value": value,
        "ci_low": ci_low,
        "ci_high": ci_high,
        "effect": effect,
        "effect_low": low,
        "effect_high": high,
    }
    for j in range(len(after)):
        yield {key: float(x[j]) for key, x in columns.items()}
