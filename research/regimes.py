"""What happened to ICL, counted over the seeds of a condition (research/definitions.py has the rule)."""

from __future__ import annotations

import pandas as pd

from research import definitions
from research.claim import table
from research.definitions import FORMED, REGIMES, Formed
from research.statistics import phases, spread, spread_times


def regimes(data: pd.DataFrame, rule: Formed = FORMED) -> pd.Series:
    """The regime of every complete run; index (condition, seed)."""
    return definitions.regimes(phases(data), rule)


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


def condition_table(found: pd.DataFrame, kinds: pd.Series, names: dict[str, str]) -> str:
    """Markdown: per condition its regimes over seeds, highest values and ends. All seeds count, also those in which ICL
    never formed; only the half-decay is of those in which it did. found: phases; kinds: regimes of the same runs."""
    rows = []
    for name, title in names.items():
        mine = found[found.condition == name]
        formed = [seed for (condition, seed), kind in kinds.items() if condition == name and kind != "never"]

        def cell(evaluator: str, quantity: str, mine: pd.DataFrame = mine) -> str:
            return spread(mine.loc[mine.evaluator == evaluator, quantity]) if len(mine) else "-"

        decay = mine.loc[(mine.evaluator == "icl") & mine.seed.isin(formed), "half_decay"]
        rows.append(
            [
                title,
                counts(kinds, name),
                cell("icl", "highest"),
                cell("icl", "final_value"),
                cell("flip", "highest"),
                cell("flip", "final_value"),
                spread_times(decay),
                cell("ciwl", "final_value"),
                cell("iwl", "final_value"),
            ]
        )
    return table(
        [
            "",
            "seeds",
            "ICL, highest",
            "ICL, end",
            "Flip, highest",
            "Flip, end",
            "ICL half-decay, where it formed",
            "CIWL, end",
            "IWL, end",
        ],
        rows,
    )
