"""Analyses: one module per research question, each a function of a series.

    findings = analyses.transience.run(series)
    findings.table      the tidy parquet table
    findings.figures    name -> plotly figure
    findings.text       what was found, in sentences with numbers

`mechicl analyze RUN` runs them all and writes the results under `RUN/analysis/`.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from analyses.findings import Findings

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
    run = importlib.import_module(f"analyses.{name}").run

    @functools.wraps(run)
    def stated(series: Series, **options: Any) -> Findings:
        from mechicl.setting import setting

        return run(series, **options).stating(setting(series))

    return stated
