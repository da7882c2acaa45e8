"""Analyses: one module per research question, each a function of a series that registers itself (door.py).

    findings = analyses.get("transience")(series)
    findings.table      the tidy parquet table
    findings.figures    name -> plotly figure
    findings.text       what was found, in sentences with numbers

An analysis says which evaluators it needs; it is skipped for a run that lacks one of them.
`mechicl analyze RUN` runs them all and writes the results under `RUN/analysis/`.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyses.door import ANALYSES, LAST, Analysis
from analyses.door import analysis as analysis
from mechicl import unimported
from mechicl.doors import known
from mechicl.errors import ConfigError
from mechicl.own_code import whose
from mechicl.registry import EVALUATORS, applying

if TYPE_CHECKING:
    from analyses.findings import Findings as Findings
    from mechicl.series import Series

    NAMES: tuple[str, ...]
    REPORTED: tuple[str, ...]


def __getattr__(name: str) -> Any:
    if name in ("NAMES", "REPORTED"):
        return tuple(names() if name == "NAMES" else reported())
    if name == "Findings":
        return importlib.import_module("analyses.findings").Findings
    raise AttributeError(f"module 'analyses' has no attribute {name!r}")


def names() -> list[str]:
    """Every analysis there is, in order, those of plugins last. Imports none of them."""
    return [name for name, _ in _listed()]


def reported() -> list[str]:
    """Those that a report shows."""
    return [name for name, shown in _listed() if shown]


def _listed() -> list[tuple[str, bool]]:
    """(name, whether it is reported), from the decorators' literals; of plugins, from what they registered."""
    found = {said["0"]: (said.get("place", LAST), said.get("reported", True)) for _, _, said in _built_in()}
    found |= {name: (entry.place, entry.reported) for name, entry in ANALYSES.items()}
    return [(name, shown) for name, (_, shown) in sorted(found.items(), key=lambda item: item[1][0])]


def _built_in() -> list[tuple[str, str, dict[str, Any]]]:
    return list(unimported.decorated(Path(__file__).parent, "analysis"))


def get(name: str) -> Callable[..., Findings]:
    """The function of an analysis; its figures also state the run's setting. Of a series of which some checkpoints were
    chosen it also sees those that it speaks of (moments.py).

    Raises:
        ConfigError: no such analysis; the message lists them.
    """
    for module, _, said in _built_in():
        if said["0"] == name:
            importlib.import_module(f"analyses.{module}")
    if name not in ANALYSES:
        raise ConfigError(f"no analysis named {name!r}; {known(name, names())}")
    entry = ANALYSES[name]

    @functools.wraps(entry.run)
    def stated(series: Series, **options: Any) -> Findings:
        from analyses import findings
        from analyses.moments import with_moments
        from mechicl.figures.caption import caption
        from mechicl.series.recorded import check_whole

        needs = {*entry.needs, *([series.task.circuit.evaluator] if entry.of_circuit else [])}
        missing = sorted(needs - set(applying(series.config)))
        if missing:
            return _skipped(entry, missing, series)
        check_whole(series)
        found = entry.run(with_moments(series), **options)
        if not isinstance(found, findings.Findings):
            raise ConfigError(
                f"{whose(ANALYSES.what, name)} returned {'None' if found is None else type(found).__name__}: expected "
                "analyses.Findings(name, question, text, table, figures). Does it end without `return`?"
            )
        return found.stating(caption(series))

    return stated


def _skipped(entry: Analysis, missing: list[str], series: Series) -> Findings:
    """No findings, and the reason: the run lacks evaluators that the analysis needs."""
    import pandas as pd

    from analyses.findings import Findings

    needs = {
        x: f"needs {EVALUATORS[x].lacking(series.config)}" if x in EVALUATORS else "is not registered" for x in missing
    }
    said = [f"Skipped: it looks at the evaluator {x!r}, which {what}." for x, what in needs.items()]
    return Findings(entry.name, entry.question, said, pd.DataFrame())
