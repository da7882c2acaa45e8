"""Does in-context learning appear, and does it fade while the training loss still falls?"""

from __future__ import annotations

import pandas as pd

from analyses import who_wins
from analyses.door import analysis
from analyses.findings import Findings
from mechicl.figures.curves import evaluator_curves
from mechicl.figures.style import short
from mechicl.measures.phases import Phases, chance_levels, leading_phases, series_phases
from mechicl.measures.tables import tidy
from mechicl.registry import EVALUATORS, main
from mechicl.series import Series

QUESTION = (__doc__ or "").strip()
# How a curve comes, is best and goes, and what one that never came has not done: where more is better, and of an error.
_UP = ("rises", "peaks", "fall", "rose .1 above")
_DOWN = ("falls", "is lowest", "rise", "fell a tenth below")


@analysis("transience", question=QUESTION, needs=(), place=1)
def run(series: Series, progress: bool = True) -> Findings:
    """Phase times of every evaluator, from the metrics recorded during training."""
    phases, chance = series_phases(series), chance_levels(series)
    return Findings(
        "transience",
        QUESTION,
        _text(series, phases, chance),
        _table(series, phases),
        {"curves": evaluator_curves(series, phases, chance=chance)},
    )


def _table(series: Series, phases: dict[str, Phases]) -> pd.DataFrame:
    """The recorded evaluators, then phase times as rows of their own (metric onset, ...)."""
    rows = series.metrics.assign(intervention="intact").to_dict("records")
    for evaluator, found in phases.items():
        for metric, value in vars(found).items():
            rows.append(
                {
                    "evaluator": evaluator,
                    "metric": metric,
                    "value": value,
                    "n": 1,
                    "intervention": "intact",
                    "step": series.evaluated[-1],
                }
            )
    return tidy(series, rows)


def _text(series: Series, phases: dict[str, Phases], chance: dict[str, float]) -> list[str]:
    n = int(series.metrics.n.iloc[0])
    lines = []
    for name, label in _shown(phases, "context"):
        p = phases[name]
        up, top, down, rose = _UP if EVALUATORS[name].sign == 1 else _DOWN
        if p.peak is None:
            lines.append(f"{label} never {rose} chance ({chance[name]:.3f}); it ends at {p.final_value:.3f}.")
            continue
        decay = f"is half-way back to chance at {short(p.half_decay)}" if p.half_decay else f"does not {down} half-way"
        lines.append(
            f"{label} {up} through half-way at {short(p.onset or 0)} sequences, {top} at {p.peak_value:.3f} "
            f"({short(p.peak)}), {decay}, and ends at {p.final_value:.3f} (n = {n:,} sequences; chance "
            f"{chance[name]:.3f})."
        )
    for name, label in _shown(phases, "weights"):
        p = phases[name]
        up = (_UP if EVALUATORS[name].sign == 1 else _DOWN)[0]
        rise = "never formed; it" if p.onset is None else f"{up} through half-way at {short(p.onset)} sequences and"
        lines.append(f"{label} {rise} ends at {p.final_value:.3f} (chance {chance[name]:.3f}).")
    lines += who_wins.sentences(series)
    led, loss = leading_phases(phases), series.training_loss
    if led is not None and led[1].peak is not None and len(loss):
        at_peak = float(loss.loss[(loss.sequences - led[1].peak).abs().idxmin()])
        end = float(loss.loss.iloc[-1])
        lines.append(
            f"The training loss is {at_peak:.3f} at {led.short}'s {led.best} and {end:.3f} at the end: it "
            + (f"falls while {led.short} fades." if end < at_peak else f"does not fall after the {led.best}.")
        )
    return lines


def _shown(phases: dict[str, Phases], strategy: str) -> list[tuple[str, str]]:
    """Evaluators that favour a strategy, of those recorded, with their names in a sentence."""
    names = [name for name in main() if name in phases and EVALUATORS[name].favours == strategy]
    return [(name, "Pure IWL" if name == "iwl" else EVALUATORS[name].short) for name in names]
