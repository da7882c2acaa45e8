"""One rule for all claims: when ICL formed, faded or stayed in a run. Also the other bounds that are compared with it.

    formed       ICL's highest accuracy is `icl` or more, and Flip's highest is `flip` or more
    half-decay   the first time after its highest value at which a curve falls half-way back to chance
                 (mechicl/measures/phases.py)
    faded        it formed, and both ICL and Flip have a half-decay
    partial      it formed, and Flip has a half-decay while ICL has none by the end
    stayed       it formed, and Flip has no half-decay
    never        it did not form

`icl` is half-way between chance (.5) and 1. `flip` is .1 above chance: an answer from the weights pushes Flip below .5,
so only the context can lift it, and the published curve, whose Flip peaks at .71, has to count as formed.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

REGIMES = ("never", "fades", "partial", "stays")


@dataclass(frozen=True)
class Formed:
    """The bounds of `formed`: the highest ICL and the highest Flip of a run."""

    icl: float = 0.75
    flip: float = 0.6


FORMED = Formed()
OTHERS = (
    Formed(0.7, 0.6),
    Formed(0.8, 0.6),
    Formed(0.9, 0.6),
    Formed(0.75, 0.55),
    Formed(0.75, 0.7),
    Formed(0.75, 0.75),
    Formed(0.8, 0.8),
)


def regime(highest: pd.Series, half_decay: pd.Series, rule: Formed = FORMED) -> str:
    """What happened to ICL in one run. Both are indexed by evaluator, with 'icl' and 'flip'; a half-decay that does not
    exist is NaN."""
    if not (highest["icl"] >= rule.icl and highest["flip"] >= rule.flip):
        return "never"
    if pd.isna(half_decay["flip"]):
        return "stays"
    return "partial" if pd.isna(half_decay["icl"]) else "fades"


def regimes(phases: pd.DataFrame, rule: Formed = FORMED) -> pd.Series:
    """The regime of every run; index (condition, seed). phases: of research/statistics.py."""
    wide = phases.pivot(index=["condition", "seed"], columns="evaluator", values=["highest", "half_decay"])
    found = {run: regime(row["highest"], row["half_decay"], rule) for run, row in wide.iterrows()}
    return pd.Series(found, dtype=object).rename_axis(["condition", "seed"])
