"""What a registered measure says at one checkpoint: remembered, from a table that the run keeps, or computed.

A measure whose rows are of heads, components or paths gives a number for each of them. `cells` finds it: a change (the
column `effect`) where the table has one, else `value`; its interval; and what guessing, uniform attention or random
weights would give, where the table or the measure's entry says so.
"""

from __future__ import annotations

import atexit
import re
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mechicl import doors, measures
from mechicl.errors import ConfigError, SeriesError
from mechicl.measures.cache import kept
from mechicl.measures.door import Measure
from mechicl.page.runs import Run
from mechicl.page.seed_over import Turn
from mechicl.page.view import Workbench

if TYPE_CHECKING:
    from _thread import LockType

_COLUMNS = ["step", "sequences", "layer", "head", "evaluator", "metric", "intervention", "baseline", "n", "value"]
_COLUMNS += ["ci_low", "ci_high", "effect", "effect_low", "effect_high", "uniform", "random"]
# What measures compute: the other cores are for readers who wait for other numbers.
one_at_a_time: LockType = threading.Lock()
_ended = threading.Event()


def end() -> None:
    """Wait for what is being computed, and begin nothing more: a process that ends while torch computes in another
    thread of it is aborted."""
    if not _ended.is_set():
        _ended.set()
        one_at_a_time.acquire(timeout=30)  # for good


atexit.register(end)


def of_parts() -> dict[str, Measure]:
    """Name -> the measure, of all that have a row per head, component or path at each checkpoint."""
    every = measures.registered().values()
    return {m.name: m for m in every if {"series", "steps"} <= {*m.takes} and re.search(_PARTS, m.rows)}


_PARTS = r"\b(heads?|components?|paths?)\b"


def measured_at(
    bench: Workbench, run: Run, entry: Measure, step: int, evaluator: str, turn: Turn | None, **options: Any
) -> pd.DataFrame | None:
    """Rows of a measure's table: of a step, and of an evaluator where it has rows of evaluators.

    Args:
        turn: None or without time left: only what is known, from before or from a table that the run keeps.
        options: more of the measure's arguments.

    Raises:
        ConfigError, SeriesError: the measure cannot be taken.
    """
    key = _key(run, entry, step, evaluator, options)
    if (known := bench.results.get(key)) is not None:
        return known
    _take_kept(bench, run, entry, evaluator, options)
    if (known := bench.results.get(key)) is not None:
        return known
    if turn is None or not turn.left(bench):
        return None

    def compute() -> pd.DataFrame:
        return _own(_call(run, entry, [step], [evaluator], options), evaluator)

    return bench.results.remember(key, compute, _bytes)


def known_at(
    bench: Workbench, run: Run, entry: Measure, step: int, evaluator: str, **options: Any
) -> pd.DataFrame | None:
    """The rows if they are remembered, else None: no file is looked at."""
    return bench.results.get(_key(run, entry, step, evaluator, options))


def _call(run: Run, entry: Measure, steps: list[int] | None, names: list[str] | None, options: dict[str, Any]):
    try:
        return entry.of(run.series, steps=steps, evaluators=names, progress=False, **options)
    except (ConfigError, SeriesError):
        raise
    except Exception as error:
        if doors.is_ours(entry.function.__module__):
            raise
        raise entry.failed(error) from error


def _take_kept(bench: Workbench, run: Run, entry: Measure, evaluator: str, options: dict[str, Any]) -> None:
    """Remember what a table says that `mechicl measure` or `mechicl analyze` has left: of this evaluator, or of all."""
    if not doors.is_ours(entry.function.__module__):
        return  # it may keep none, and compute
    for names in ([evaluator], None):
        table = kept(lambda names=names: _call(run, entry, None, names, options))
        if table is None or ("evaluators" in entry.takes and evaluator not in set(table.evaluator)):
            continue
        for step, rows in _own(table, evaluator).groupby("step"):
            bench.results.put(_key(run, entry, int(step), evaluator, options), rows, _bytes(rows))  # type: ignore[arg-type]
        return


def _own(table: pd.DataFrame, evaluator: str) -> pd.DataFrame:
    rows = table[[name for name in _COLUMNS if name in table]]
    if "evaluator" in rows and rows.evaluator.eq(evaluator).any():
        rows = rows[rows.evaluator == evaluator]
    return rows.reset_index(drop=True)


def _key(run: Run, entry: Measure, step: int, evaluator: str, options: dict[str, Any]) -> tuple[Any, ...]:
    given = tuple(sorted((name, x) for name, x in options.items() if x != entry.parameters[name].default))
    sha = run.series.entry(step).sha256
    return "measured", entry.name, sha, run.sets_id, evaluator if "evaluators" in entry.parameters else "", given


def _bytes(rows: pd.DataFrame) -> int:
    return 8 * rows.size + 1000


def cells_at(
    bench: Workbench, run: Run, entry: Measure, step: int, evaluator: str, turn: Turn
) -> dict[str, pd.DataFrame] | None:
    """`cells` of `measured_at`, remembered: a panel asks for all of them again with every piece."""
    key = "cells", *_key(run, entry, step, evaluator, {})
    if (known := bench.results.get(key)) is not None:
        return known
    rows = measured_at(bench, run, entry, step, evaluator, turn)
    size = lambda found: sum(map(_bytes, found.values()))  # noqa: E731
    return None if rows is None else bench.results.remember(key, lambda: cells(rows, entry), size)


def cells(rows: pd.DataFrame, entry: Measure) -> dict[str, pd.DataFrame]:
    """Metric -> value, low, high and chance by item ('L0H5', 'embed', 'L0H5->out'), of one step."""
    table = rows.copy()
    named = table["intervention"].astype(str)
    if "head" in table:
        of_head = table["head"].notna() & ~named.str.contains("->")
        heads = "L" + table["layer"].astype(str) + "H" + table["head"].astype(str)
        named = named.where(~of_head, heads)
    table["item"] = named
    table = table[~table["item"].isin(["", "intact", "nan"])]
    change = "effect" in table and table["effect"].notna().any()
    value, low, high = ("effect", "effect_low", "effect_high") if change else ("value", "ci_low", "ci_high")
    reference = next((name for name in ("uniform", "random") if name in table and table[name].notna().any()), None)
    number = re.match(r"-?\d*\.?\d+", entry.against)
    chance = table[reference] if reference else (float(number[0]) if number else np.nan)
    found = table.assign(
        value=table[value],
        low=table.get(low, np.nan),
        high=table.get(high, np.nan),
        chance=chance,
    )
    by = found.groupby("metric", sort=False) if "metric" in found else [("", found)]
    columns = ["item", "value", "low", "high", "chance"]
    return {str(name): part[columns].drop_duplicates("item").set_index("item").astype(float) for name, part in by}
