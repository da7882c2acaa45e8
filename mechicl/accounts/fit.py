"""An account's parameters from measured accuracy curves.

The loss is the mean squared error of the accuracies of icl, flip, ciwl and train on GRID, points evenly spaced in
log-sequences, where the measured curves are interpolated linearly. Starts are drawn log-uniformly from the
account's ranges; the best few are refined by least squares (scipy's trust region, within the ranges).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from mechicl.accounts.flow import Account, predict
from mechicl.accounts.links import ACCURACIES
from mechicl.accounts.training import CONDITIONS

GRID = np.geomspace(0.03, 3.07, 48)  # million sequences

Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]  # evaluator -> (million sequences, accuracy), ascending


@dataclass(frozen=True)
class Fit:
    """Fitted parameters, their RMSE on the fitted curves, and how many of the refined
    starts came within 5% of that RMSE."""

    account: Account
    parameters: dict[str, float]
    rmse: float
    agree: int
    refined: int


def on_grid(curves: Curves, grid: np.ndarray = GRID) -> dict[str, np.ndarray]:
    """The accuracies that were measured, at the grid's times."""
    return {name: np.interp(grid, *curves[name]) for name in ACCURACIES if name in curves}


def fit(
    account: Account, curves: Curves, draws: int = 300, refined: int = 4, seed: int = 0,
    condition: str = "mixed", starts: tuple[Mapping[str, float], ...] = (), max_nfev: int = 60,
) -> Fit:  # fmt: skip
    """Fit to the curves of one run.

    Args:
        draws: random starts that are scored; the best `refined`, and all of `starts`, are refined.
        condition: the run's condition.
    """
    names = list(account.all_ranges)
    low, high = np.log(np.array([account.all_ranges[n] for n in names])).T
    last = max(float(t[-1]) for t, _ in curves.values())
    grid = GRID[last >= GRID]
    wanted = on_grid(curves, grid)

    def parameters(x: np.ndarray) -> dict[str, float]:
        return dict(zip(names, np.exp(x).tolist(), strict=True))

    def errors(x: np.ndarray) -> np.ndarray:
        got = predict(account, parameters(x), CONDITIONS[condition], grid)
        found = np.concatenate([got[name] - wanted[name] for name in wanted])
        return np.nan_to_num(found, nan=1.0)  # a start so far off that its flow overflows

    rng = np.random.default_rng(seed)
    drawn = rng.uniform(low, high, size=(draws, len(names)))
    drawn = sorted(drawn, key=lambda x: float(np.mean(errors(x) ** 2)))[:refined]
    given = [np.clip(np.log([s[n] for n in names]), low + 1e-9, high - 1e-9) for s in starts]
    found = [
        least_squares(errors, x, bounds=(low, high), x_scale=1.0, diff_step=1e-4, max_nfev=max_nfev)
        for x in (*given, *drawn)
    ]
    scores = [float(np.sqrt(np.mean(f.fun**2))) for f in found]
    best = int(np.argmin(scores))
    near = sum(s <= 1.05 * scores[best] for s in scores)
    return Fit(account, parameters(found[best].x), scores[best], near, len(scores))
