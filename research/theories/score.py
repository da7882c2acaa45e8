"""Predictions beside what was measured.

rmse      over the points of the setting's grid that were measured; icl, flip and ciwl apart, and 'all' three together.
octaves   log2(predicted time / measured time) of a curve's onset, peak and half-decay (measures/phases.py, both
          curves on the grid): +1 is twice too late.
present   1 where both curves have that time or neither has, 0 where one alone has it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mechicl.measures.phases import phase_times

SCORED = ("icl", "flip", "ciwl")
PHASES = {"icl": ("onset", "peak", "half_decay"), "flip": ("onset", "peak", "half_decay"), "ciwl": ("onset",)}
_CHANCE = 0.5  # of two labels

OnGrid = Mapping[str, np.ndarray]  # evaluator -> accuracy at the grid's times


def rmse(predicted: OnGrid, measured: OnGrid) -> dict[str, float]:
    """Root mean squared error per evaluator, and of all that were measured."""
    names = [n for n in SCORED if n in measured]
    squares = {n: (np.asarray(predicted[n]) - measured[n]) ** 2 for n in names}
    out = {n: float(np.sqrt(np.mean(x))) for n, x in squares.items()}
    return out | {"all": float(np.sqrt(np.mean(np.concatenate(list(squares.values())))))}


def phase_errors(predicted: OnGrid, measured: OnGrid, grid: np.ndarray) -> list[dict]:
    """Rows evaluator, name, octaves (NaN where a curve lacks that time), present."""
    rows = []
    for evaluator, names in PHASES.items():
        if evaluator not in measured:
            continue
        guess = phase_times(grid, np.asarray(predicted[evaluator]), _CHANCE)
        truth = phase_times(grid, np.asarray(measured[evaluator]), _CHANCE)
        for name in names:
            g, t = getattr(guess, name), getattr(truth, name)
            rows.append(
                {
                    "evaluator": evaluator,
                    "name": name,
                    "octaves": _octaves(g, t),
                    "present": float((g is None) == (t is None)),
                }
            )
    return rows


def _octaves(guess: float | None, truth: float | None) -> float:
    return float("nan") if guess is None or truth is None else float(np.log2(guess / truth))
