"""Measures of one's own on the head grid: those that a plugin registered and whose rows are of heads.

`measures.door.own_of_heads` finds them: a module that registers one is named with --plugin, or imported in a notebook.
"""

from __future__ import annotations

import pandas as pd

from mechicl.interventions import Intervention
from mechicl.measures.door import Measure
from mechicl.page.numbers import Number
from mechicl.page.runs import Run


def per_head(
    entry: Measure, run: Run, step: int, evaluator: str, ablation: Intervention | None
) -> dict[tuple[int, int], Number]:
    """(layer, head) -> the measure at a checkpoint: of an evaluator, where it takes `evaluators`, and of the model as
    it is edited, where it takes `ablate`. Of several metrics the first.

    Raises:
        SeriesError: it fails, or its table has no column that is needed.
    """
    try:
        table = entry.of(run.series, steps=[step], evaluators=[evaluator], ablate=ablation, progress=False)
        rows = table[table["head"].notna() & table["layer"].notna()]
        for column, wanted in (("step", step), ("evaluator", evaluator if "evaluators" in entry.takes else None)):
            if column in rows and wanted is not None:
                rows = rows[rows[column] == wanted]
        if "metric" in rows and len(rows):
            rows = rows[rows["metric"].eq(rows["metric"].iloc[0]) | rows["metric"].isna()]
        return {(int(row["layer"]), int(row["head"])): _number(row) for _, row in rows.iterrows()}
    except Exception as error:
        raise entry.failed(error) from error


def _number(row: pd.Series) -> Number:
    low, high = (float(row[name]) if pd.notna(row.get(name)) else float("nan") for name in ("ci_low", "ci_high"))
    return Number(float(row["value"]), low, high, int(row["n"]) if pd.notna(row.get("n")) else 0)
