"""What differs between two conditions, over seeds: paired differences, their intervals, and p-values corrected for the
number of comparisons."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from mechicl.statistics import holm
from research.claim import table
from research.statistics import paired

Key = tuple[str, str, str]  # condition, evaluator, quantity of `phases`
Effects = dict[Key, dict]  # -> `paired`, and p_holm
TIMES = ("onset", "half_decay", "peak")  # compared as log2 of their ratio
LEVELS = {
    ("icl", "highest"): "ICL, highest",
    ("icl", "final_value"): "ICL, end",
    ("flip", "highest"): "Flip, highest",
    ("flip", "final_value"): "Flip, end",
}


def effects(found: pd.DataFrame, base: str, asked: Iterable[Key]) -> Effects:
    """Each of `asked` minus the same of the condition `base`, paired by seed. Those for which one side was not run are
    left out. found: phases of the runs. p-values are Holm's, over all that is asked."""
    found = found.set_index(["condition", "evaluator", "seed"]).sort_index()
    pairs = {}
    for condition, evaluator, quantity in asked:
        if (condition, evaluator) not in found.index or (base, evaluator) not in found.index:
            continue
        pair = [found.loc[(c, evaluator)][quantity] for c in (condition, base)]
        pairs[condition, evaluator, quantity] = [np.log2(x) for x in pair] if quantity in TIMES else pair
    return compare(pairs)


def compare(pairs: dict[Key, list[pd.Series]]) -> Effects:
    """The first of each pair minus the second, both indexed by seed, corrected for the number of pairs."""
    out = {key: paired(*pair) for key, pair in pairs.items()}
    corrected = holm([e["p"] for e in out.values()])
    return {key: e | {"p_holm": float(p)} for (key, e), p in zip(out.items(), corrected, strict=True)}


def against(phases: pd.DataFrame, base: str, names: dict[str, str]) -> list[str]:
    """A table of what every condition changes in ICL's and Flip's highest value and end, and how to read it.
    phases: of the runs. names: condition -> title. It is empty if `base`, or all other conditions, were not run."""
    others = [name for name in names if name != base]
    found = effects(phases, base, [(name, *level) for name in others for level in LEVELS])
    rows = []
    for name in others:
        mine = [found.get((name, *level)) for level in LEVELS]
        if any(mine):
            rows.append([names[name], *("-" if e is None else _cell(e) for e in mine)])
    if not rows:
        return []
    note = (
        f"Difference to {names[base]}: the mean, paired by seed, with its 95% t-interval. Paired runs draw the same "
        "weights and data where these have the same shapes. Bold: p below .05 after correction for all "
        f"{len(found)} comparisons of this table (Holm)."
    )
    return [note, table(["", *LEVELS.values()], rows)]


def _cell(e: dict) -> str:
    text = f"{e['difference']:+.2f}"
    text = f"**{text}**" if e["p_holm"] < 0.05 else text
    return f"{text} [{e['low']:+.2f}, {e['high']:+.2f}]" if e["n"] > 1 else f"{text} (n = {e['n']})"
