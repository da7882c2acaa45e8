"""Claims of sweeps that change one thing of research/sweeps/figure-1b.toml: each compares some conditions with its raw
runs of the same seeds. A verdict comes when all of them are finished."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from research import plots, tables
from research.claim import Claim, table
from research.experiments.figure1b import finished, progress
from research.figure_1b_runs import RAW, SEEDS, plan_of, read, until
from research.runs import Runs
from research.statistics import spread, spread_times
from research.verdicts import Part


@dataclass(frozen=True)
class Why:
    """One claim. needs: the conditions it compares; judged: its part over the table of their runs; titles: of the
    conditions; picture: what its figure's name begins with; drawn: the evaluators in it; mark: a time in it, in million
    sequences, and what it is."""

    key: str
    title: str
    says: str
    sweep: str
    needs: tuple[str, ...]
    rule: str
    judged: Callable[[pd.DataFrame], Part]
    titles: Mapping[str, str]
    picture: str = "figure-1b"
    drawn: tuple[str, ...] = ("icl", "flip", "ciwl")
    mark: tuple[float, str] | None = None

    def claim(self) -> Claim:
        command = (
            f"mechicl sweep research/sweeps/{self.sweep}.toml --data FILE && "
            "mechicl sweep research/sweeps/figure-1b.toml --data FILE"
        )
        planned = {c.name for c in plan_of(self.sweep).conditions}
        missing = sorted(set(self.needs) - planned - {RAW})
        ran = (
            f"`coopetition` on features of real drawings (EfficientNet-Lite0; raw: norm 45, not centred), {len(SEEDS)} "
            f"seeds to {until(self.sweep) / 1e6:.0f}M: " + ", ".join(self.titles[c] for c in self.needs)
        )
        if missing:
            reason = f"`research/sweeps/{self.sweep}.toml` has no condition {', '.join(missing)} yet"
            return Claim(self.key, self.title, self.says, ran, self.rule, (), command, (), {}, "not run yet", reason)
        data = read(self.sweep, self.needs)
        whole = finished(data, len(SEEDS)) and set(data.condition) == set(self.needs)
        done = Runs(data).phases if len(data) else None
        begun = bool(set(data.condition) - {RAW})
        none = f"none of its runs of `research/sweeps/{self.sweep}.toml` is collected yet"
        reason = _progress(data, len(self.needs)) if begun else none
        return Claim(
            self.key,
            self.title,
            self.says,
            ran,
            self.rule,
            [self.judged(data)] if whole else [],
            command,
            [] if done is None or done.empty else [_summary(done, self.needs, self.titles)],
            {
                f"{self.picture}-{self.key.split('.')[1]}": plots.curves(
                    data, {c: self.titles[c] for c in self.needs}, self.drawn, linear=True, mark=self.mark
                )
            }
            if whole
            else {},
            None if whole else "running" if begun else "not run yet",
            "" if whole else reason,
        )


def _progress(data: pd.DataFrame, conditions: int) -> str:
    if data.empty:
        return progress(None, len(SEEDS) * conditions)
    return progress(data.assign(condition="all", seed=data.condition + data.seed.astype(str)), len(SEEDS) * conditions)


def _summary(found: pd.DataFrame, needs: tuple[str, ...], titles: Mapping[str, str]) -> str:
    """Highest and last values, and half-decay; where it is measured (research/geometry.py), also how often two drawings
    of a class match, and how often the nearest class mean is the right one."""
    rows, easy = [], _easy(needs)
    for name in needs:
        icl, flip = (found[(found.condition == name) & (found.evaluator == e)] for e in ("icl", "flip"))
        if len(icl):
            rows.append(
                [
                    titles[name],
                    spread(icl.highest),
                    spread(icl.final_value),
                    spread(flip.highest),
                    spread_times(flip.half_decay),
                    *([f"{easy[m][name]:.3f}" for m in ("match", "recall")] if len(easy) else []),
                ]
            )
    head = ["", "ICL, highest", "ICL, end", "Flip, highest", "Flip half-decay"]
    return table(head + ["two drawings match", "nearest mean is right"] * bool(len(easy)), rows)


def _easy(needs: tuple[str, ...]) -> pd.DataFrame:
    """Condition -> match and recall of its banks, mean over seeds; empty unless all have them."""
    found = tables.read("geometry")
    if found is None:
        return pd.DataFrame()
    means = found[found.sweep.str.startswith("figure-1b")].groupby("condition")[["match", "recall"]].mean()
    return means if set(needs) <= set(means.index) else pd.DataFrame()
