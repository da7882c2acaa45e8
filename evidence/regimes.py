"""What became of ICL in a run: never formed, formed and faded, or stayed. A stated rule, per run.

    never     ICL's peak is not above FORMED, or Flip's is not above FORMED
    fades     it formed, and Flip later fell half-way back to chance or below it (its half-decay exists) and so did ICL
    partial   it formed, Flip fell half-way, ICL did not (yet)
    stays     it formed, and Flip did not fall half-way
"""

from __future__ import annotations

import pandas as pd

from evidence.claim import table
from evidence.statistics import phases, spread

FORMED = 0.75
REGIMES = ("never", "fades", "partial", "stays")


def regimes(data: pd.DataFrame) -> pd.Series:
    """The regime of every complete run; index (condition, seed)."""
    wide = phases(data).pivot(index=["condition", "seed"], columns="evaluator", values=["peak_value", "half_decay"])
    out = {}
    for run, row in wide.iterrows():
        peaks, decays = row["peak_value"], row["half_decay"]
        if not (peaks["icl"] > FORMED and peaks["flip"] > FORMED):  # NaN: never rose
            out[run] = "never"
        elif pd.isna(decays["flip"]):
            out[run] = "stays"
        else:
            out[run] = "partial" if pd.isna(decays["icl"]) else "fades"
    return pd.Series(out, dtype=object).rename_axis(["condition", "seed"])


def counts(found: pd.Series, condition: str) -> str:
    """'4 fades, 1 never', of a condition's runs."""
    mine = found[found.index.get_level_values(0) == condition]
    return ", ".join(f"{(mine == r).sum()} {r}" for r in REGIMES if (mine == r).any()) or "not run"


def most_common(found: pd.Series, condition: str) -> str:
    """The regime of most of a condition's seeds; '' where none ran. First whether ICL formed in more than half of them,
    then, of the seeds in which it did, which regime is the commonest (of equals, the first in the list above)."""
    mine = found[found.index.get_level_values(0) == condition]
    if mine.empty:
        return ""
    formed = mine[mine != "never"]
    if 2 * len(formed) <= len(mine):
        return "never"
    return max(REGIMES[1:], key=lambda regime: (formed == regime).sum())


def condition_table(data: pd.DataFrame, names: dict[str, str]) -> str:
    """Markdown: per condition its regimes over seeds, peaks and ends of ICL and Flip, CIWL and IWL at the end."""
    kinds, found = regimes(data), phases(data)
    rows = []
    for name, title in names.items():
        mine = found[found.condition == name]

        def cell(evaluator: str, quantity: str, mine: pd.DataFrame = mine) -> str:
            return spread(mine.loc[mine.evaluator == evaluator, quantity]) if len(mine) else "-"

        rows.append([title, counts(kinds, name), cell("icl", "peak_value"), cell("icl", "final_value"),
                     cell("flip", "peak_value"), cell("flip", "final_value"), cell("icl", "half_decay"),
                     cell("ciwl", "final_value"), cell("iwl", "final_value")])  # fmt: skip
    return table(["", "seeds", "ICL peak", "ICL end", "Flip peak", "Flip end", "ICL half-decay", "CIWL end", "IWL end"],
                 rows)  # fmt: skip
