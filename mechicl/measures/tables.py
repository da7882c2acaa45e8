"""The one table shape, and how many checkpoints are measured together, within a memory budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mechicl.errors import ConfigError
from mechicl.models.params import Params
from mechicl.series import Series
from mechicl.system.disk import check_writable
from mechicl.system.files import write_atomic
from mechicl.system.paths import given, shown
from mechicl.system.work_queue import share_each

__all__ = ["tidy"]

COLUMNS = (
    "run",
    "seed",
    "step",
    "sequences",
    "layer",
    "head",
    "intervention",
    "baseline",
    "evaluator",
    "metric",
    "value",
    "n",
    "ci_low",
    "ci_high",
)
REQUIRED = ("step", "metric", "value")
BUDGET = 2 * 2**30  # bytes of activations at most, whatever the length of the series
_ROWS = 10_000
_FAST = 64 * 2**20  # bytes of activations aimed at: beyond the caches, batching steps only costs
_SHARE = 8  # of the budget, what checkpoints may take that are read together, if they are several
Measured = Callable[[list[int], Params, str, Any], Iterable[dict[str, Any]]]


def tidy(series: Series, rows: Iterable[Mapping[Any, Any]], extra: Sequence[str] = ()) -> pd.DataFrame:
    """Rows (at least step, metric, value, n) as the tidy table; what a row lacks stays empty. `extra`: names of
    number columns after those of every table.

    Rows may be a generator: they are gathered by the ten thousand, so that a long series never
    holds millions of them as dicts.

    Raises:
        ConfigError: a row lacks step, metric or value.
    """
    source = iter(rows)
    parts = [pd.DataFrame.from_records(part) for part in iter(lambda: list(islice(source, _ROWS)), [])]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    for column in REQUIRED if len(table) else ():
        if column not in table or (table[column].isna().any() and column != "value"):
            raise ConfigError(
                f"tidy: a row has no {column!r}: each needs {', '.join(REQUIRED)}, but the rows have "
                f"{', '.join(map(str, table.columns))}."
            )
    table["run"], table["seed"] = series.name, series.config.seeds.init
    if "step" in table:
        table["sequences"] = table["step"] * series.config.batch_size
    columns = [*COLUMNS, *extra]
    for column in columns:
        if column not in table:
            text = column in ("intervention", "baseline", "evaluator", "metric")
            table[column] = "" if text else np.nan
    table[["layer", "head"]] = table[["layer", "head"]].astype("Int64")
    # Ascending in step, so that the order of rows does not tell how the series was chunked.
    return table[columns].sort_values("step", kind="stable", ignore_index=True)


def chunks(series: Series, steps: Sequence[int], bytes_per_step: float) -> list[list[int]]:
    """The steps, as many at a time as are measured together. Which ones are together can decide the last bits of a
    number, so it depends on nothing but the arguments.

    Args:
        bytes_per_step: what one takes in activations, beside its weights.

    Raises:
        ConfigError: one step alone needs more than BUDGET.
    """
    if bytes_per_step > BUDGET:
        raise ConfigError(
            f"one checkpoint of {series.name} needs about {bytes_per_step / 2**30:.1f} GiB of activations, more than "
            f"the budget of {BUDGET / 2**30:.1f} GiB: pass a smaller n (sequences per evaluator), at most "
            f"1/{math.ceil(bytes_per_step / BUDGET)} of this one."
        )
    weights = max((series.entry(step).bytes for step in steps), default=0)
    size = int(max(1, min(len(steps), _FAST // max(bytes_per_step, 1), BUDGET // (_SHARE * max(weights, 1)))))
    if series.config.model.hooked:  # whose weights may be large, and which gains nothing from being stacked
        size = 1
    return [list(steps[i : i + size]) for i in range(0, len(steps), size)]


def by_evaluator(
    series: Series, steps: list[int], *, sets: Mapping[str, Any], measure: Measured, bytes_per_step: float
) -> Iterator[dict[str, Any]]:
    """The rows that `measure(steps, params, evaluator, batch)` gives of every evaluator, in order.

    A second core takes evaluators, not BLAS's threads, which lose a factor of ten on a busy machine.

    Args:
        bytes_per_step: of `at_once` evaluators.
    """
    params = series.params(steps)

    def rows(name: str) -> list[dict[str, Any]]:
        return list(measure(steps, params, name, sets[name]))

    for found in share_each(rows, sets, int(bytes_per_step * len(steps))):
        yield from found


def at_once(sets: Mapping[str, Any]) -> int:
    """How many evaluators may be at work at a time."""
    return min(2, len(sets))


def checked_file(out: str | Path) -> Path:
    """Where a table shall be kept, before it is computed.

    Raises:
        ConfigError: neither a .csv nor a .parquet.
        SeriesError: the folder cannot be written to.
    """
    out = given(out)
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--out {out}: expected a file that ends in .csv or .parquet.")
    check_writable(out.parent, "Write elsewhere with --out FILE.")
    return out


def keep(table: pd.DataFrame, out: Path) -> str:
    """Write a table to a file of `checked_file`; says so in a line."""
    write_atomic(out, table.to_csv(index=False).encode() if out.suffix == ".csv" else table.to_parquet(index=False))
    return f"{shown(out)}: {len(table):,} rows."
