"""`mechicl measure`: compute one measure's table, print its first and last rows, and save it to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mechicl import measures
from mechicl.errors import ConfigError
from mechicl.measures.door import Measure
from mechicl.measures.tables import checked_file, keep
from mechicl.series import Series

_SHOWN = 20  # rows printed; --out keeps them all


def listing() -> str:
    """Every measure, with a description of its rows and its value."""
    lines = [f"{m.name}\n    a row per {m.rows}; value: {m.value}" for m in measures.registered().values()]
    return "\n".join([*lines, "", "Compute one with `mechicl measure RUN NAME`."])


def run(
    runs: Sequence[Series],
    name: str,
    steps: list[int] | None,
    evaluators: str | None,
    n: int | None,
    out: Path | None,
    progress: bool = True,
) -> str:
    """Compute a measure, save the table if `out` is given, and return the text to print.

    Args:
        runs: the run, or all runs for a measure over several runs.
        steps: the checkpoints; None: the measure's own choice.
        evaluators: as on the command line, 'icl,flip'.

    Raises:
        ConfigError: there is no such measure, it does not take an argument that was given, or it takes only one run.
    """
    measure = measures.registered().find(name)
    if out is not None:
        out = checked_file(out)
    asked = {"steps": steps, "evaluators": evaluators and evaluators.split(","), "n": n}
    table = _measured(measure, runs, asked, progress)
    lines = [
        f"{measure.name}: a row per {measure.rows}; value: {measure.value}; compare with: {measure.against}",
        "",
        _short(table),
    ]
    if out is not None:
        lines.append(keep(table, out))
    elif len(table) > _SHOWN:
        lines.append("Add --out FILE.csv or FILE.parquet to save all rows.")
    return "\n".join(lines)


def _measured(measure: Measure, runs: Sequence[Series], asked: dict[str, Any], progress: bool) -> pd.DataFrame:
    options = {key: value for key, value in asked.items() if value is not None}
    lacking = [f"--{key}" for key in options if key not in measure.takes]
    if lacking:
        raise ConfigError(
            f"{', '.join(lacking)}: the measure {measure.name!r} does not take this argument. It takes "
            f"({', '.join(measure.takes)})."
        )
    if measure.takes[0] == "series" and len(runs) > 1:
        raise ConfigError(f"the measure {measure.name!r} takes one run, but {len(runs)} were given: leave --with out.")
    if "progress" in measure.takes:
        options["progress"] = progress
    table = measure.function(list(runs) if measure.takes[0] == "runs" else runs[0], **options)
    if not isinstance(table, pd.DataFrame):
        raise ConfigError(
            f"the measure {measure.name!r} returned {type(table).__name__}: expected a pandas DataFrame, "
            "such as mechicl.measures.tidy returns."
        )
    return table


def _short(table: pd.DataFrame) -> str:
    """The first and the last rows, without columns that have the same value in every row."""
    same = [c for c in table.columns if c != "value" and len(table) > 1 and table[c].astype(str).nunique() == 1]
    return table.drop(columns=same).to_string(index=False, max_rows=_SHOWN, float_format=lambda x: f"{x:.4g}") + "\n"
