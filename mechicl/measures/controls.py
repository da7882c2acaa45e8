"""An intervention beside its random controls: the same done to as many others (`Intervention.controls`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from mechicl.interventions import Intervention, Together
from mechicl.interventions.base import controls_of
from mechicl.interventions.joint import components
from mechicl.interventions.others import USUAL
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
    others = controls_of(own, series.config.model, count)  # drawn from a fixed seed: the same at every step
    rows = evaluate(series, steps, evaluators, [ablate, *others], n, metrics=None, progress=progress)
    number = {str(condition): i for i, condition in reversed([*enumerate((own, *others))])}
    changed = effects(rows)
    table = pd.concat([rows[rows.intervention == "intact"], changed], ignore_index=True)
    return table.assign(control=table.intervention.map(number).astype("Int64"))


def said(condition: Intervention, others: Sequence[Intervention]) -> str:
    """What the controls of an intervention are, in words. others: those that were drawn."""
    if not others:
        return "none, since there is no other of its kind"
    words = _alike(condition, others)
    if len(others) == 1:
        unusual = [text for text in words if text in _OTHERWISE]
        note = f" ({', '.join(unusual)})" if unusual else ""
        return f"the change of the only other of its kind, {others[0]}{note}"
    return f"the changes of {len(others)} random sets of {', '.join(words) or condition.alike}"


# What is said where the same layers have not enough others, and where the model has not.
_ELSEWHERE = {
    "heads": "as many other heads, of other layers where the same ones have not enough",
    "parts": "as many other parts of the same kinds, of other layers, from the same step",
}
_FEWER = {
    "heads": "fewer other heads, since the model has no more",
    "MLPs": "fewer other MLPs, since the model has no more",
    "paths": "fewer other paths between the same kinds of components in the same layers, since there are no more",
}
_OTHERWISE = {*_ELSEWHERE.values(), *_FEWER.values()}


def _alike(condition: Intervention, others: Sequence[Intervention]) -> list[str]:
    """What the drawn ones have in common with the intervention, by kind of component; what stayed is not named."""
    own, theirs = _leaves(condition), [_leaves(other) for other in others]
    found = [components(leaves) for leaves in theirs]
    words = []
    for kind, named in components(own).items():
        drawn = [each.get(kind, ()) for each in found]
        if any(each != named for each in drawn):
            words.append(_of_kind(kind, named, drawn))
    words += [leaf.alike for leaf in own if not leaf.drawn and any(leaf not in leaves for leaves in theirs)]
    return list(dict.fromkeys(words))


def _of_kind(kind: str, own: Sequence[Any], drawn: Sequence[Sequence[Any]]) -> str:
    if kind in _FEWER and any(len(each) < len(own) for each in drawn):
        return _FEWER[kind]
    if kind in _ELSEWHERE and any(_layers(each) != _layers(own) for each in drawn):
        return _ELSEWHERE[kind]
    return USUAL[kind]


def _layers(named: Sequence[Any]) -> list[str]:
    """The layer of each head or part of the weights, '' of a part of all layers."""
    return sorted(x.partition(".")[2] if isinstance(x, str) else str(x[0]) for x in named)


def _leaves(condition: Intervention) -> tuple[Intervention, ...]:
    return condition.leaves if isinstance(condition, Together) else (condition,)
