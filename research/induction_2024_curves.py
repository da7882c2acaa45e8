"""Curves of training of the 2024 runs, and what is read off them: half-drops and plateaus, by condition and seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from research.tables import TABLES

HALF = float(np.log(2) / 2)
Drops = dict[str, dict[int, float]]  # condition -> seed -> half-drop
MAIN = 1_000_000  # sequences that a run of `main` sees
CONDITIONS = {  # beside `main`: how many sequences a run sees, and about where the paper's half-drop is, in thousands
    "match": (50_000, "20 to 40"),
    "copy": (50_000, "20 to 40"),
    "layer-copy": (50_000, "20 to 40"),
    "layer": (100_000, "50"),
    "none": (300_000, "270"),
    "previous": (300_000, "170"),
    "norm-25": (300_000, "-"),
    "held-6": (300_000, "170"),
    "held-125": (300_000, "170"),
    "held-all": (300_000, "500"),
    "own": (300_000, "at once"),
    "from-s0": (300_000, "-"),
    "from-s1": (300_000, "-"),
    "classes-100": (600_000, "-"),
    "classes-200": (600_000, "-"),
    "labels-10": (600_000, "800"),
    "labels-15": (1_000_000, "1,350"),
    **{f"alone-{h}": (1_000_000, "270 to 570") for h in range(8) if h != 3},
}


@dataclass(frozen=True)
class Judged:
    """One rule: its letter ('-': of no rule), what it is about, the numbers that it rests on, and what follows.
    declared: what followed from the rule as it was written before the runs, where it was changed after them."""

    letter: str
    about: str
    numbers: str
    verdict: str
    declared: str = ""


def training() -> pd.DataFrame:
    return pd.read_parquet(TABLES / "induction-2024-training.parquet")


def curve(every: pd.DataFrame, condition: str, seed: int, evaluator: str = "train", metric: str = "loss") -> np.ndarray:
    """[points, 2]: sequences and value."""
    found = every[
        (every.condition == condition)
        & (every.seed == seed)
        & (every.evaluator == evaluator)
        & (every.metric == metric)
    ]
    return found[["sequences", "value"]].to_numpy(float)


def half_drop(points: np.ndarray) -> float:
    """Sequences at which the loss first falls below ln 2 / 2, between two points on a line; infinite if never."""
    below = np.flatnonzero(points[:, 1] < HALF)
    if not len(below):
        return np.inf
    k = int(below[0])
    if k == 0:
        return float(points[0, 0])
    (x0, y0), (x1, y1) = points[k - 1], points[k]
    return float(x0 + (y0 - HALF) / (y0 - y1) * (x1 - x0))


def plateau(points: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Where the loss lies in low..high before its half-drop: first and last point; nan where it never does."""
    before = points[points[:, 0] <= half_drop(points)]
    inside = before[(before[:, 1] >= low) & (before[:, 1] <= high), 0]
    return (float(inside[0]), float(inside[-1])) if len(inside) else (np.nan, np.nan)


def share_of_plateau(points: np.ndarray) -> float:
    """Rule K: the sequences over which the loss stays in .60 to .85, as a share of the half-drop.

    Of a run that never reaches it, as a share of all that it saw.
    """
    (first, last), half = plateau(points, 0.60, 0.85), min(half_drop(points), float(points[-1, 0]))
    return (last - first) / half if np.isfinite(first) else 0.0


def declared_share(points: np.ndarray) -> float:
    """The same as K was written: a run that never reaches its half-drop counts as 0."""
    return share_of_plateau(points) if np.isfinite(half_drop(points)) else 0.0


def half_drops(every: pd.DataFrame) -> Drops:
    """Of `main` and CONDITIONS, of the runs that have ended."""
    ends = {"main": MAIN} | {name: until for name, (until, _) in CONDITIONS.items()}
    return {c: {s: half_drop(curve(every, c, s)) for s in seeds_of(every, c, 0.99 * end)} for c, end in ends.items()}


def seeds_of(every: pd.DataFrame, condition: str, until: float) -> list[int]:
    """Seeds whose run of a condition has come as far."""
    last = every[every.condition == condition].groupby("seed").sequences.max()
    return sorted(int(s) for s in last[last >= until].index)


def thousands(values: list[float]) -> str:
    """As '151 (120 to 170; n = 5)'."""
    shown = [f"{v / 1000:.0f}" if np.isfinite(v) else "never" for v in (np.median(values), min(values), max(values))]
    return f"{shown[0]}k ({shown[1]}k to {shown[2]}k; n = {len(values)})".replace("neverk", "never")


def factors_said(factors: list[float]) -> str:
    """As '1.20 (0.90 to never; n = 5)': 'never' where a run never reached it."""
    shown = [f"{x:.2f}" if np.isfinite(x) else "never" for x in (np.median(factors), min(factors), max(factors))]
    return f"{shown[0]} ({shown[1]} to {shown[2]}; n = {len(factors)})"


def said(holds: int, n: int, against: int = 0) -> str:
    """Four of five: supported; four of five the other way: contradicted. The rules ask for four seeds at the least."""
    if n < 4:
        return f"not finished: {n} of 5 seeds"
    need = int(np.ceil(0.8 * n))
    return "supported" if holds >= need else "contradicted" if against >= need else "inconclusive"
