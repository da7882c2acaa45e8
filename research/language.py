"""docs/findings/in-language.md: what brings induction heads in a small language model, by the rule of
`research/sweeps/text.toml`. Its table and verdicts are made here, the rest is `text/in-language.md`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from research import tables
from research.claim import table

PAGE = "in-language.md"
REMARKS = Path(__file__).parent / "text" / PAGE
SWEEP, BASE, SEEDS = "text", "base", 3
REPEATS = 0.2  # accuracy on random tokens repeated, at which induction heads count as formed (chance .001)
MEANS = {
    "base": "base: two heads of 32, half of the sequences repeated, rotary positions",
    "no-repeats": "no repeated passages",
    "few-repeats": "a tenth of the sequences repeated",
    "narrow-heads": "four heads of 16",
    "learned-positions": "learned positions",
    "slow": "a quarter of the learning rate (1e-3)",
    "wide": "width 128, four heads of 32",
    "long": "sequences of 256 tokens, four in a batch",
}


def read() -> pd.DataFrame | None:
    """The complete runs of the sweep; None if there is none."""
    found = tables.read(SWEEP)
    return None if found is None or not found.complete.any() else found[found.complete]


def formed(run: pd.DataFrame) -> float:
    """Training tokens at the first of two successive checkpoints at which `repeat` is at least REPEATS; inf if never.

    Args:
        run: the rows of one run.
    """
    rows = run[run.evaluator == "repeat"].sort_values("step")
    above = rows.value.to_numpy() >= REPEATS
    both = np.flatnonzero(above[:-1] & above[1:])
    return float(rows.sequences.iloc[both[0]]) * float(rows["task.length"].iloc[0]) if len(both) else np.inf


def times(runs: pd.DataFrame) -> dict[str, dict[int, float]]:
    """Condition -> seed -> `formed`, the base first."""
    found: dict[str, dict[int, float]] = {name: {} for name in MEANS}
    for (condition, seed), run in runs.groupby(["condition", "seed"]):
        found[str(condition)][int(seed)] = formed(run)
    return {name: by_seed for name, by_seed in found.items() if by_seed}


def verdict(condition: dict[int, float], base: dict[int, float]) -> str:
    """What the rule says of a condition: from `formed` by seed, its own and the base's."""
    if len(condition) < SEEDS or len(base) < SEEDS:
        return f"not judged: {min(len(condition), len(base))} of {SEEDS} seeds"
    if all(np.isinf(x) for x in condition.values()) and all(np.isfinite(x) for x in base.values()):
        return "prevents"
    return "delays" if min(condition.values()) > max(base.values()) else "nothing is said"


def page(runs: pd.DataFrame) -> str:
    """The whole page."""
    head, rest = REMARKS.read_text(encoding="utf-8").split("<!-- conditions -->\n")
    return head + conditions(runs) + "\n" + rest


def conditions(runs: pd.DataFrame) -> str:
    """The conditions as a Markdown table, seed by seed."""
    found, rows = times(runs), []
    for name, by_seed in found.items():
        said = "-" if name == BASE else verdict(by_seed, found.get(BASE, {}))
        ends = [_end(runs, name, evaluator) for evaluator in ("repeat", "conflict", "text", "loss")]
        rows.append([MEANS[name], ", ".join(_millions(by_seed[s]) for s in sorted(by_seed)), *ends, said])
    head = ["condition", "formed after, million tokens, by seed", "`repeat` at the end", "`conflict`: the context wins"]
    return table([*head, "accuracy on held-out text", "in-context gain, nats", "by the rule"], rows)


def _end(runs: pd.DataFrame, condition: str, evaluator: str) -> str:
    """The last value of each seed, lowest to highest."""
    rows = runs[(runs.condition == condition) & (runs.evaluator == evaluator)].sort_values("step")
    values = rows.groupby("seed").value.last()
    low, high = (_number(float(x)) for x in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _number(x: float) -> str:
    return ("-" if x < 0 else "") + f"{abs(x):.2f}".removeprefix("0")


def _millions(tokens: float) -> str:
    return "not formed" if np.isinf(tokens) else f"{tokens / 1e6:.1f}"
