"""Runs of one table as claims ask for them: values by seed, what became of ICL, differences."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from research.definitions import FORMED, Formed, regimes
from research.statistics import phases


class Runs:
    """The complete runs of a table.

    Args:
        table: of research/tables.py.
        rule: when ICL counts as formed.
        without: conditions that do not count, as they lack seeds.
    """

    def __init__(self, table: pd.DataFrame, rule: Formed = FORMED, without: Collection[str] = ()):
        self.phases = phases(table[~table.condition.isin(without)])
        self._values = self.phases.set_index(["condition", "evaluator", "seed"]).sort_index()
        self.kinds = regimes(self.phases, rule)

    def under(self, rule: Formed) -> Runs:
        """The same runs by another rule."""
        other = object.__new__(Runs)
        other.phases, other._values, other.kinds = self.phases, self._values, regimes(self.phases, rule)
        return other

    def has(self, condition: str) -> bool:
        return condition in set(self.phases.condition)

    def of(self, condition: str, evaluator: str, quantity: str) -> pd.Series:
        """By seed; empty where the condition was not run. quantity: of `phases`, or 'fall' (highest minus end)."""
        if (condition, evaluator) not in self._values.index:
            return pd.Series(dtype=float)
        rows = self._values.loc[(condition, evaluator)]
        found = rows.highest - rows.final_value if quantity == "fall" else rows[quantity]
        return found.astype(float)

    def times(self, condition: str, evaluator: str, quantity: str) -> pd.Series:
        """As `of`, with times that never come as infinite."""
        return self.of(condition, evaluator, quantity).fillna(np.inf)

    def minus(self, condition: str, base: str, evaluator: str, quantity: str) -> pd.Series:
        """By seed, of those that both conditions have: the first minus the second; of times, log2 of their ratio."""
        if quantity in ("onset", "peak", "half_decay"):
            a, b = (np.log2(self.times(c, evaluator, quantity)) for c in (condition, base))
        else:
            a, b = (self.of(c, evaluator, quantity) for c in (condition, base))
        return (a - b).dropna()

    def regimes(self, condition: str) -> pd.Series:
        """What happened to ICL, by seed."""
        return self.kinds[self.kinds.index.get_level_values(0) == condition].droplevel(0)

    def formed(self, *conditions: str) -> list[bool] | None:
        """Of every run, whether ICL formed; None where one of the conditions was not run."""
        kinds = self._kinds(conditions)
        return None if kinds is None else [kind != "never" for kind in kinds]

    def ended(self, kinds: Collection[str], *conditions: str) -> list[bool] | None:
        """Of every run, whether it did one of `kinds`; None where one of the conditions was not run."""
        found = self._kinds(conditions)
        return None if found is None else [kind in kinds for kind in found]

    def among_formed(self, kinds: Collection[str], *conditions: str) -> list[bool] | None:
        """Of the runs in which ICL formed, whether it then did one of `kinds`; None as above."""
        found = self._kinds(conditions)
        return None if found is None else [kind in kinds for kind in found if kind != "never"]

    def _kinds(self, conditions: Collection[str]) -> list[str] | None:
        if not all(self.has(c) for c in conditions):
            return None
        return [str(kind) for c in conditions for kind in self.regimes(c)]
