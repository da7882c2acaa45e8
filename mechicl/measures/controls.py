"""An intervention beside its random controls: the same done to as many others (`Intervention.controls`)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mechicl.interventions import Intervention
from mechicl.measures.ablation import evaluate
from mechicl.measures.asked import Names, Steps, chosen_steps
from mechicl.measures.paired_effects import effects
from mechicl.series import Series

__all__ = ["control_effects"]

CONTROLS = 8  # random sets of others


def control_effects(
    series: Series,
    ablate: Intervention,
    step: Steps,
    evaluators: Names = None,
    n: int | None = None,
    count: int = CONTROLS,
    progress: bool = False,
) -> pd.DataFrame:
    """The effect of an intervention at one or several checkpoints, and the effects of its random controls.

    Args:
        ablate: one intervention; it defines its random controls (`Intervention.controls`).
        step: one checkpoint, or several (None: all).
        evaluators: default all.
        n: sequences per evaluator.
        count: number of random controls, if there are as many.

    Returns:
        `effects` of the primary metrics, with the intact rows (their `effect` is empty) in front and a column
        `control`: 0 for the intervention itself, 1, 2, ... for its controls; empty in intact rows.

    Raises:
        ConfigError: the model or its sequences do not have the part that is to be changed.
        SeriesError: no such checkpoint.
    """
    steps = chosen_steps(series, step)
    ablate.check(series.config.model)
    own = ablate.at_step(series, steps[0])
    others = own.controls(series.config.model, count)  # drawn from a fixed seed: the same at every step
    rows = evaluate(series, steps, evaluators, [ablate, *others], n, metrics=None, progress=progress)
    number = {str(condition): i for i, condition in reversed([*enumerate((own, *others))])}
    changed = effects(rows)
    table = pd.concat([rows[rows.intervention == "intact"], changed], ignore_index=True)
    return table.assign(control=table.intervention.map(number).astype("Int64"))


def said(condition: Intervention, others: Sequence[Intervention | str]) -> str:
    """What the controls of an intervention are, in words. others: those that were drawn, or their names."""
    if not others:
        return "none, since there is no other of its kind"
    if len(others) == 1:
        return f"the change of the only other of its kind, {others[0]}"
    return f"the changes of {len(others)} random sets of {condition.alike}"
