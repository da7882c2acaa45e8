"""Checkpoints evaluated again and compared with what training recorded: are these the weights of that step?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from mechicl.series import Series

# What may differ between machines and versions of torch: sums in another order, near ties decided otherwise. On the
# machine that trained, float32 weights give the recorded numbers to the last bit. Half precision was evaluated before
# it was rounded.
_LOSS = {"float32": 1e-3, "float16": 5e-3}  # of a loss, of itself where that is above 1
_ACCURACY = {"float32": 0.005, "float16": 0.01}  # of an accuracy; three sequences where that is more


def sample(steps: Iterable[int], count: int | None) -> list[int]:
    """`count` of the steps, evenly spaced, both ends among them; None: all."""
    listed = sorted(steps)
    if count is None or count >= len(listed):
        return listed
    return [listed[i] for i in np.unique(np.linspace(0, len(listed) - 1, count).round().astype(int))]


def differences(series: Series, steps: Iterable[int]) -> dict[int, list[tuple[dict[str, Any], dict[str, Any]]]]:
    """Evaluate checkpoints as they were in training; the pairs (recorded row, row now) of each.

    Raises:
        ConfigError: the data cannot be built again here (a folder or file is not given).
        SeriesError: the data differ from the run's, or a checkpoint is broken.
    """
    from mechicl.evaluators import evaluate_params, evaluation_sets
    from mechicl.models.params import pack
    from mechicl.protocol.known import task_of
    from mechicl.system.work_queue import threads
    from mechicl.training_interventions import in_force

    config, recorded = series.config, {line["step"]: line for line in series.recorded()}
    task = task_of(config)
    fixed = None if task.changes(config) else evaluation_sets(config, series.source)
    out = {}
    with threads(config.threads):
        for step in steps:
            sets = fixed or evaluation_sets(config, task.source_at(config, series.source, step))
            rows = evaluate_params(
                pack(series.weights(step)), sets, config, in_force(config.training_interventions, step)
            )
            now = {(row["evaluator"], row["metric"]): row for row in rows}
            then = {(row["evaluator"], row["metric"]): row for row in recorded[step]["evaluators"]}
            out[step] = [(then[key], now[key]) for key in then.keys() & now.keys()]
    return out


def disagreements(series: Series, steps: Iterable[int]) -> list[str]:
    """One sentence for each step whose weights do not score what was recorded; errors as in `differences`."""
    problems = []
    for step, pairs in differences(series, steps).items():
        excess = [(abs(then["value"] - now["value"]) / _allowed(series, then), then, now) for then, now in pairs]
        worst, then, now = max(excess, key=lambda each: each[0], default=(0.0, {}, {}))
        if not worst <= 1:
            problems.append(
                f"step {step}: evaluated again, {then['metric']} of {then['evaluator']} is {now['value']:.4f}, but "
                f"metrics.jsonl has {then['value']:.4f}: these are not the weights that were evaluated there (or an "
                "earlier version defined the evaluator otherwise)."
            )
    return problems


def _allowed(series: Series, row: dict[str, Any]) -> float:
    dtype = series.config.weights_dtype
    if row["metric"] == "loss":
        return _LOSS[dtype] * max(1.0, abs(row["value"]))
    return max(_ACCURACY[dtype], 3 / row["n"])
