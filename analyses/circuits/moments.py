"""The steps that the analysis compares, by a stated rule."""

from __future__ import annotations

from dataclasses import dataclass

from mechicl.evaluators import chance
from mechicl.measures.phases import MIN_RISE, series_phases
from mechicl.series import Series
from mechicl.series.reevaluate import sample


@dataclass(frozen=True)
class Moments:
    """Saved steps. before: the last one before the peak with ICL less than MIN_RISE above chance;
    peak: Flip's, or ICL's where Flip never formed; end: the last. formed: which of the two gave the
    peak, None where neither formed (then the peak is the middle step)."""

    before: int
    peak: int
    end: int
    formed: str | None


def moments(series: Series) -> Moments:
    """The moments of a series, from its recorded curves."""
    phases, steps = series_phases(series), series.steps
    formed = next((name for name in ("flip", "icl") if phases[name].peak is not None), None)
    top = phases[formed].peak if formed else None
    peak = series.step_at(top) if top is not None else steps[len(steps) // 2]
    level = chance("icl", series.evaluation_set("icl", step=0), series.config.bank.labels)["in_context_acc"]
    times, values = series.curve("icl")
    below = times[(times <= series.sequences_seen(peak)) & (values < level + MIN_RISE)]
    return Moments(series.step_at(below[-1]) if len(below) else steps[0], peak, series.end, formed)


def thinned(steps: list[int], at_most: int, keep: set[int]) -> list[int]:
    """At most so many of the steps and those to keep, evenly spread over their order."""
    return sorted({*sample(steps, at_most), *keep})
