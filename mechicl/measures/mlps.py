"""What is lost without a layer's MLP: where recall is kept, and whether ICL needs it.

Singh et al. 2023 (section 6) found that a penalty on the MLPs alone keeps ICL, as if in-weights
learning lived there. The test is to take the MLP's output away and see which answers go with it:

    zero   nothing is added to the residual stream
    mean   its mean over the evaluation set, per position: what it adds to every sequence alike stays
"""

from __future__ import annotations

from itertools import product
from typing import Literal

import pandas as pd

from mechicl.errors import ConfigError
from mechicl.interventions import AblateMLPs
from mechicl.measures.ablation import EFFECT, evaluate
from mechicl.measures.asked import Names, Steps, chosen_names
from mechicl.measures.door import measure
from mechicl.registry import main
from mechicl.series import Series

__all__ = ["ablate_mlps"]

KINDS: tuple[Literal["zero", "mean"], ...] = ("zero", "mean")


@measure(
    "ablate_mlps",
    rows="step, evaluator, layer, kind",
    value="the primary metric without a layer's MLP",
    against="the row 'intact'; the other layers' MLPs",
)
def ablate_mlps(
    series: Series, steps: Steps = None, evaluators: Names = None, n: int | None = None, progress: bool = True
) -> pd.DataFrame:
    """The tidy table of primary metrics, intact and without the MLP of each layer that has one.

    `intervention` is 'zero L1 MLP' or 'mean L1 MLP', `layer` the MLP's layer, `baseline` its replacement. For other
    sets of MLPs and paired intervals of the effect, use `series.evaluate(ablate=AblateMLPs(layers=(0, 1)))`.

    Args:
        series: the run.
        steps: which checkpoints (default: all).
        evaluators: which evaluators (default: those that are shown everywhere).
        n: sequences per evaluator (default: the run's `n_eval`).
        progress: show a bar over long series.

    Returns:
        One row per step, evaluator, layer and kind, and the row 'intact': value (the primary metric), n and its 95%
        interval.

    Raises:
        ConfigError: the model has no MLP.
    """
    model = series.config.model
    layers = [la for la in range(model.n_layers) if model.has_mlp(la)]
    if not layers:
        raise ConfigError(f"{series.root}: the model has no MLP (mlp_ratio = 0), so there is none to ablate.")
    names = chosen_names(evaluators, main(series.config))
    conditions = [AblateMLPs(layers=(layer,), kind=kind) for layer, kind in product(layers, KINDS)]
    table = evaluate(series, steps, names, conditions, n, metrics=None, progress=progress)
    return table.drop(columns=[*EFFECT])
