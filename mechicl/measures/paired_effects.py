"""What interventions change: ablated minus intact, on the same sequences."""

from __future__ import annotations

import pandas as pd

from mechicl.errors import ConfigError
from mechicl.interventions import Kind, every_head
from mechicl.measures.ablation import evaluate
from mechicl.measures.asked import Names, Steps
from mechicl.measures.door import measure
from mechicl.registry import EVALUATORS, is_error
from mechicl.series import Series

__all__ = ["effects", "gains", "head_effects"]


def effects(table: pd.DataFrame) -> pd.DataFrame:
    """Ablated minus intact, row by row: a column `effect` is added, and intact rows are dropped.

    Both are measured on the same sequences, so most of their sampling noise cancels. `effect_low` and `effect_high` are
    the effect's 95% interval. If it contains 0, the table shows no effect of this head. To select some of many heads,
    use `measures.joint_intervals(rows, "effect", "effect_low", "effect_high")`.

    Args:
        table: the result of `Series.evaluate(ablate=...)`, or several of them, also of several runs, one after another.

    Returns:
        A copy of its ablated rows with `effect`, in the metric's own unit (accuracies are shares of 1).

    Raises:
        ConfigError: it has several intact values of one run, step, evaluator and metric.

    Examples:
        >>> table = series.evaluate([3000], ["icl"], mechicl.AblateHeads(heads=((0, 5),)), n=100, metrics=None)
        >>> mechicl.effects(table)[["effect", "effect_low", "effect_high"]].shape
        (1, 3)
    """
    key = [name for name in ("run", "seed", "step", "evaluator", "metric") if name in table]
    intact = table.loc[table.intervention == "intact", [*key, "value"]].drop_duplicates()
    if (twice := intact.duplicated(key)).any():
        where = ", ".join(f"{name} {x}" for name, x in intact.loc[twice, key].iloc[0].items())
        raise ConfigError(
            f"effects: the table has several intact values of {where}, so the effect of an intervention there is "
            "unclear: expected one. Give tables of other sequences, or of another run of that name, one by one."
        )
    ablated = table[table.intervention != "intact"].copy()
    ablated["effect"] = ablated.value.to_numpy() - ablated[key].merge(intact, "left", on=key).value.to_numpy()
    return ablated


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """Effects as gains: above 0 if the intervention made the model better, below 0 if it made the model worse.

    Args:
        table: of `effects`.

    Returns:
        A copy in which `effect` and its interval have the opposite sign if lower is better for the metric, such as a
        loss (`Task.errors`).

    Examples:
        >>> table = series.evaluate([3000], ["icl"], mechicl.AblateHeads(heads=((0, 5),)), n=100, metrics=["loss"])
        >>> changed = mechicl.effects(table)
        >>> bool((mechicl.measures.gains(changed).effect == -changed.effect).all())
        True
    """
    out = table.copy()
    kinds = table[["evaluator", "metric"]].drop_duplicates().itertuples(index=False)
    for evaluator, metric in kinds:
        if is_error(metric, EVALUATORS[evaluator].task):
            rows = (table.evaluator == evaluator) & (table.metric == metric)
            out.loc[rows, "effect"] = -table.effect[rows]
            out.loc[rows, "effect_low"], out.loc[rows, "effect_high"] = (
                -table.effect_high[rows],
                -table.effect_low[rows],
            )
    return out


@measure(
    "head_effects",
    rows="step, evaluator, head",
    value="column `effect`: ablated minus intact, with a paired interval `effect_low`, `effect_high`",
    against="0; random sets of heads",
)
def head_effects(
    series: Series,
    steps: Steps = None,
    evaluators: Names = None,
    kind: Kind = "zero",
    n: int | None = None,
    split: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """The effect of ablating each head alone: `effects` of `evaluate` with `every_head`.

    Args:
        series: the run.
        steps: which checkpoints (default: all).
        evaluators: which evaluators (default: all).
        kind: the replacement of the head's output (`interventions.BASELINES`).
        n: sequences per evaluator.
        split: which evaluation set; 0 is the one that is reported, others are independent of it.
        progress: show a bar over long series.

    Returns:
        One row per step, evaluator and head: layer, head, value (the ablated primary metric), effect (ablated minus
        intact, in shares of 1) and its paired 95% interval effect_low, effect_high, of n sequences.

    Raises:
        ConfigError, SeriesError: as `evaluate`.

    Examples:
        >>> table = mechicl.head_effects(series, [3000], ["icl"], n=100, progress=False)
        >>> table[["layer", "head"]].shape  # a row per head
        (16, 2)
    """
    singles = every_head(series.config.model, kind)
    return effects(evaluate(series, steps, evaluators, singles, n, metrics=None, split=split, progress=progress))
