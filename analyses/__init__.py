"""Analyses: one module per research question, each a function of a series.

    findings = analyses.transience.run(series)
    findings.table      the tidy parquet table
    findings.figures    name -> plotly figure
    findings.text       what was found, in sentences with numbers

An analysis says in NEEDS which evaluators it looks at; of a run that has not all of them it is skipped.
`mechicl analyze RUN` runs them all and writes the results under `RUN/analysis/`.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from analyses.findings import Findings
from mechicl.registry import applying

if TYPE_CHECKING:
    from mechicl.series import Series

NAMES = ("transience", "induction_heads", "attention_over_time", "head_ablations", "circuits")
REPORTED = NAMES[:4]  # what a report shows: circuits takes longer than all the others together


def get(name: str) -> Callable[..., Findings]:
    """The `run` function of an analysis; its figures also state the run's setting.

    Raises:
        ConfigError: no such analysis; the message lists them.
    """
    if name not in NAMES:
        from mechicl.config import ConfigError

        raise ConfigError(f"no analysis named {name!r}; there are {', '.join(NAMES)}.")
    module = importlib.import_module(f"analyses.{name}")
    run = module.run

    @functools.wraps(run)
    def stated(series: Series, **options: Any) -> Findings:
        from mechicl.caption import caption

        missing = sorted(set(module.NEEDS) - set(applying(series.config)))
        if missing:
            return _skipped(name, module.QUESTION, missing, series)
        return run(series, **options).stating(caption(series))

    return stated


def _skipped(name: str, question: str, missing: list[str], series: Series) -> Findings:
    """Nothing, and why: the run has not the evaluators that an analysis looks at."""
    import pandas as pd

    from mechicl.registry import EVALUATORS

    needs = {x: EVALUATORS[x].lacking(series.config) for x in missing}
    said = [f"Skipped: it looks at the evaluator {x!r}, which needs {needs[x]}." for x in missing]
    return Findings(name, question, said, pd.DataFrame())
