"""An account's parameters from measured accuracy curves, of one seed or of several together.

The loss is the mean squared error of the accuracies of icl, flip, ciwl and train on the setting's grid, where the
measured curves are interpolated linearly. In a fit of several seeds each has its own
start of the flow (`Account.initial`), because a seed draws the initial weights. Everything else has one value for all
seeds.

Starts of the search are drawn log-uniformly from the account's ranges, or given; each is refined by least squares
(scipy's trust region, within the ranges, in logarithms).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from research.theories.flow import Account, predict
from research.theories.links import ACCURACIES
from research.theories.training import COMPETITION, Setting

Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]  # evaluator -> (million sequences, accuracy), ascending
Parameters = dict[int, dict[str, float]]  # seed -> parameter -> value


@dataclass(frozen=True)
class Fit:
    """Fitted parameters of every seed, the RMSE on the fitted curves, and how many of the refined starts came within
    5% of that RMSE."""

    account: Account
    parameters: Parameters
    rmse: float
    agree: int
    refined: int


def on_grid(curves: Curves, grid: np.ndarray) -> dict[str, np.ndarray]:
    """The accuracies that were measured, at the grid's times."""
    return {name: np.interp(grid, *curves[name]) for name in ACCURACIES if name in curves}


def fit(
    account: Account,
    runs: Mapping[int, Curves],
    starts: Sequence[Parameters] = (),
    draws: int = 300,
    refined: int = 4,
    seed: int = 0,
    max_nfev: int = 60,
    setting: Setting = COMPETITION,
) -> Fit:
    """Fit to untreated runs.

    Args:
        runs: seed -> its curves.
        starts: parameters of every seed to refine; of those that seeds share, the first seed's value counts.
        draws: random starts that are scored, of which the best `refined` are refined too.
        seed: of the random starts.
        setting: whose fitted condition the runs are of.
    """
    space = _Space(account, tuple(runs))

    def errors(x: np.ndarray) -> np.ndarray:
        return _errors(account, space.parameters(x), runs, setting)

    rng = np.random.default_rng(seed)
    drawn = list(rng.uniform(space.low, space.high, size=(draws, len(space.low))))
    drawn = sorted(drawn, key=lambda x: float(np.mean(errors(x) ** 2)))[:refined]
    found = [
        least_squares(errors, x, bounds=(space.low, space.high), diff_step=1e-4, max_nfev=max_nfev)
        for x in [*(space.point(p) for p in starts), *drawn]
    ]
    scores = [float(np.sqrt(np.mean(f.fun**2))) for f in found]
    best = int(np.argmin(scores))
    near = sum(s <= 1.05 * scores[best] for s in scores)
    return Fit(account, space.parameters(found[best].x), scores[best], near, len(scores))


def untreated_error(
    account: Account, parameters: Parameters, runs: Mapping[int, Curves], setting: Setting = COMPETITION
) -> float:
    """RMSE of the fitted accuracies of untreated runs."""
    return float(np.sqrt(np.mean(_errors(account, parameters, runs, setting) ** 2)))


def _errors(account: Account, parameters: Parameters, runs: Mapping[int, Curves], setting: Setting) -> np.ndarray:
    parts = []
    for seed, curves in runs.items():
        with np.errstate(all="ignore"):  # a start so far off that its flow overflows
            got = predict(account, parameters[seed], setting.fitted, setting.grid)
        parts += [got[name] - curve for name, curve in on_grid(curves, setting.grid).items()]
    return np.nan_to_num(np.concatenate(parts), nan=1.0)


class _Space:
    """Parameters as a point: logarithms of the shared ones, then of each seed's start."""

    def __init__(self, account: Account, seeds: tuple[int, ...]):
        self.seeds, ranges = seeds, account.all_ranges
        self.own = list(account.initial)
        self.shared = [n for n in ranges if n not in account.initial]
        bounds = [ranges[n] for n in (*self.shared, *(self.own * len(seeds)))]
        self.low, self.high = np.log(np.array(bounds)).T

    def parameters(self, x: np.ndarray) -> Parameters:
        values = np.exp(x).tolist()
        shared = dict(zip(self.shared, values, strict=False))
        k, width = len(self.shared), len(self.own)
        return {
            seed: {**shared, **dict(zip(self.own, values[k + i * width :], strict=False))}
            for i, seed in enumerate(self.seeds)
        }

    def point(self, parameters: Parameters) -> np.ndarray:
        first = parameters[self.seeds[0]]
        values = [first[n] for n in self.shared] + [parameters[s][n] for s in self.seeds for n in self.own]
        return np.clip(np.log(values), self.low + 1e-9, self.high - 1e-9)
