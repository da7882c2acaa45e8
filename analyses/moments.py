"""The checkpoints that every analysis needs, whichever were chosen: where a curve begins to rise, is best and ends."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from mechicl.errors import SeriesError
from mechicl.registry import EVALUATORS, looked_at, main

if TYPE_CHECKING:
    from mechicl.series import Series


def with_moments(series: Series) -> Series:
    """A series of which some checkpoints were chosen (`--steps`, `--every`), with those that analyses speak of: onset
    and peak of each curve that only the context answers, and the end. Moments whose weights were not kept are left out;
    an analysis that needs them says so itself."""
    if series.only is None or not series.evaluated:
        return series
    from mechicl.measures.phases import series_phases
    from mechicl.series.choosing import with_steps

    context = [name for name in main(series.config) if EVALUATORS[name].favours == "context"]
    circuit = series.task.circuit.evaluator
    phases, found = series_phases(series), set()
    for name in dict.fromkeys([*context, circuit, looked_at(series.config)]):
        for when in (phases[name].onset, phases[name].peak) if name in phases else ():
            if when is not None:
                with suppress(SeriesError):
                    found.add(series.step_at(when))
    with suppress(SeriesError):
        found.add(series.end)
    return with_steps(series, found)
