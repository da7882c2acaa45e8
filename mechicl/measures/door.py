"""How a measure registers itself: one decorator, in a module of this package or of yours.

    from mechicl.measures import measure, tidy

    @measure("weight_norms", rows="step", value="norm of all weights together")
    def weight_norms(series, steps=None, progress=True):
        return tidy(series, rows)       # the table of mechicl/measures/tables.py

`mechicl measure RUN weight_norms` writes its table from then on.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mechicl import unimported
from mechicl.doors import Door, check_name, foreign, home_of
from mechicl.errors import ConfigError, SeriesError
from mechicl.series.given import of_series

__all__ = ["measure"]

if TYPE_CHECKING:
    import pandas as pd

    from mechicl.series import Series

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of a series.

    function: (series, ...) -> the tidy table; or (runs, ...), of several runs
    rows: what one row of the table is of
    value: what its value is
    against: what to compare it with
    """

    name: str
    function: Callable[..., pd.DataFrame]
    rows: str
    value: str
    against: str = "-"

    @cached_property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Those of the function, by name."""
        return inspect.signature(self.function).parameters

    @property
    def takes(self) -> list[str]:
        """Names of its parameters; the first is 'series' or 'runs'."""
        return list(self.parameters)

    def of(self, series: Series, **asked: Any) -> pd.DataFrame:
        """The table of a series, by those of the arguments that the measure takes."""
        return self.function(series, **{name: x for name, x in asked.items() if name in self.parameters})

    def failed(self, error: Exception) -> SeriesError:
        """What a reader is told of an error of somebody's own code."""
        home = home_of(MEASURES.what, self.name)
        return SeriesError(f"the measure {self.name!r} of {home} failed: {type(error).__name__}: {error}")


MEASURES: Door[Measure] = Door("measure")


def own_of_heads() -> dict[str, Measure]:
    """Name -> the measure, of all that are not mechicl's own and have a row per head, as `rows` says."""
    uses = [use for names in foreign().values() for use in names]
    names = [use.removeprefix("measure ") for use in uses if use.startswith("measure ")]
    found = [MEASURES[name] for name in names if name in MEASURES]
    return {one.name: one for one in found if re.search(r"\bheads?\b", one.rows) and one.takes[0] == "series"}


def measure(name: str, *, rows: str = "", value: str = "", against: str = "-") -> Callable[[F], F]:
    """Register a function of a series as a measure. The arguments are the fields of `Measure`.

    Raises:
        ConfigError: the name exists already, the description of rows or value is missing, the first argument is
            neither `series` nor `runs`, or another one has no default.
    """
    check_name(MEASURES.what, name)
    if not (rows and value):
        raise ConfigError(
            f"the measure {name!r}: describe the rows of its table and its value, as in "
            f'@measure("{name}", rows="step", value="norm of all weights").'
        )

    def register(function: F) -> F:
        entry = Measure(name=name, function=function, rows=rows, value=value, against=against)
        if entry.takes[:1] not in (["series"], ["runs"]):
            raise ConfigError(
                f"the measure {name!r} takes ({', '.join(entry.takes)}): its first argument must be `series`, "
                "or `runs` for several runs."
            )
        if needed := _needed(entry):
            raise ConfigError(
                f"the measure {name!r} takes {', '.join(needed)} without a default: no command could give it. Give it "
                f"one, as in {function.__name__}({entry.takes[0]}, {needed[0]}=...)."
            )
        unimported.refuse_taken(Path(__file__).parent, "measure", name, function.__module__)
        MEASURES.add(name, entry, function.__module__)
        return of_series(function)

    return register


def _needed(entry: Measure) -> list[str]:
    """Parameters behind the first that a caller must give."""
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    behind = list(entry.parameters.items())[1:]
    return [name for name, p in behind if p.default is inspect.Parameter.empty and p.kind not in several]
