"""What is too long for a page, as CSV: all parts of claims and the phases of all runs. Also what other bounds of
'formed' change."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from research import published, tables
from research.claim import Claim, table
from research.declared import DECLARED
from research.definitions import FORMED, OTHERS, REGIMES, Formed, regimes
from research.experiments import doses, transience
from research.runs import Runs
from research.statistics import losses, phases
from research.verdicts import Status, together

KEPT = ("onset", "highest", "peak", "half_decay", "final_value")
WENT_ON = ("faithful-longer", "figure-1b-long")  # runs of other tables that went on: they are counted there
EVALUATORS = ("icl", "flip", "ciwl", "iwl", "icl_holdout")


def claims(found: Iterable[Claim]) -> str:
    """A row for every part of every claim."""
    rows = [
        {
            "claim": c.key,
            "title": c.title,
            "status": c.status,
            "status_at_95": c.at_95 or "",
            "rule_before_runs": DECLARED[c.key].before,
            "measured": p.says if p else "",
            "claim_says": p.claim if p else "",
            "effect": p.effect if p else "",
            "part_status": p.status if p else "",
            "earlier_verdict": DECLARED[c.key].earlier,
        }
        for c in found
        for p in (c.parts or [None])
    ]
    return pd.DataFrame(rows).to_csv(index=False)


def every_table() -> list[pd.DataFrame]:
    return list(_tables().values())


def _tables() -> dict[str, pd.DataFrame]:
    """The tables of runs that ICL and Flip are asked of, by name: not those of text (language.py), and none of another
    metric, whose runs are in a table already."""
    names = sorted(path.stem for path in Path(tables.TABLES).glob("*.parquet"))
    found = {name: data for name in names if (data := tables.read(name)) is not None and "complete" in data}
    found = {name: data for name, data in found.items() if "metric" not in data}
    return {name: data for name, data in found.items() if {"icl", "flip"} <= set(data.evaluator)}


def _every() -> dict[str, pd.DataFrame]:
    """Phases of all complete runs, by the name of their table."""
    return {name: found for name, data in _tables().items() if len(found := phases(data))}


def runs() -> str:
    """A row for every complete run: what happened to ICL, and each evaluator's phases; times in sequences."""
    parts = []
    for name, found in _every().items():
        found = found[found.evaluator.isin(EVALUATORS)]
        wide = found.pivot(index=["condition", "seed"], columns="evaluator", values=list(KEPT))
        wide.columns = [f"{evaluator}_{quantity}" for quantity, evaluator in wide.columns]
        order = [f"{e}_{q}" for e in EVALUATORS for q in KEPT if f"{e}_{q}" in wide]
        parts.append(wide[order].assign(regime=regimes(found)).reset_index().assign(sweep=name))
    if not parts:
        return ""
    whole = pd.concat(parts, ignore_index=True)
    front = ["sweep", "condition", "seed", "regime"]
    return whole[[*front, *(c for c in whole if c not in front)]].to_csv(index=False, float_format="%.5g")


def _statuses(counted: dict[str, Runs], rule: Formed) -> dict[str, Status]:
    """The statuses of the claims that depend on when ICL counts as formed. counted: the runs of each, by its table."""
    by = {name: runs.under(rule) for name, runs in counted.items()}
    mine = [dose for dose in doses.DOSES if dose.sweep in by]
    found: dict[str, Status] = {dose.key: together(dose.parts(by[dose.sweep])) for dose in mine}
    both = {name: by[name] for name in transience.RECIPES if name in by}
    if len(both) == len(transience.RECIPES):
        lost = {name: losses(data) for name in both if (data := tables.read(name)) is not None}
        found |= {"1.1": together(transience.parts(both, lost)), "1.2": together(transience.how_often(both))}
    return found


def sensitivity() -> str:
    """Markdown: how many runs formed, faded or stayed, and which claims change, with other bounds of 'formed'."""
    counted = {dose.sweep: found[1] for dose in doses.DOSES if (found := dose.runs()) is not None}
    counted |= {name: Runs(data) for name in transience.RECIPES if (data := tables.read(name)) is not None}
    ours = _statuses(counted, FORMED)
    kinds = {name: found for name, found in _every().items() if name not in WENT_ON}
    rows = []
    for rule in (FORMED, *OTHERS):
        counts = dict.fromkeys(REGIMES, 0)
        for found in kinds.values():
            for kind in regimes(found, rule):
                counts[kind] += 1
        theirs = "formed" if all(published.PEAKS[e][0] >= getattr(rule, e) for e in ("icl", "flip")) else "not formed"
        changed = [f"{key}: {status}" for key, status in _statuses(counted, rule).items() if status != ours[key]]
        name = f"{rule.icl:g}, {rule.flip:g}"
        rows.append(
            [
                f"**{name}**" if rule == FORMED else name,
                *(str(counts[kind]) for kind in REGIMES),
                theirs,
                "-" if rule == FORMED else ", ".join(changed) or "none",
            ]
        )
    return table(
        [
            "ICL at least, Flip at least",
            "never formed",
            "faded",
            "partial",
            "stayed",
            "the published curve",
            "claims whose status changes",
        ],
        rows,
    )
