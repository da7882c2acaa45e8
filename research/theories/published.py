"""The published coopetition toy (Singh et al. 2025, section 6), and its exact reduction to overlaps.

Vectors a, b, c of 20 numbers and d of 160, each with a target x*; init and targets ~ N(0, 1).

    L1    = mean((a b c - a* b* c*)^2) / 2     outer products; ICL
    L2    = mean((d b c - d* b* c*)^2) / 2     in-weights: slower, since d is longer and losses are means
    cost  = mean((a d)^2) / 2
    total = (L1 + mu1) L2 + alpha cost

Sharing b and c is cooperation, the cost competition. Nothing but the inner products q = x.x, p = x.x* and
Q = x*.x* enters these losses, and every gradient is a combination of x and x*; so gradient flow on the vectors
is exactly a flow of the 8 numbers p, q (`overlap_flow`), whatever the vectors' length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.integrate import odeint

KEYS = ("a", "b", "c", "d")
Vectors = Mapping[str, np.ndarray]
Numbers = dict[str, float]


@dataclass(frozen=True)
class Toy:
    """The toy's two strengths; the published values are the defaults."""

    mu1: float = 0.1
    alpha: float = 0.1


@dataclass(frozen=True)
class Path:
    """Losses of both mechanisms and the total over time [t]."""

    icl: np.ndarray
    iwl: np.ndarray
    total: np.ndarray


def losses(p: Numbers, q: Numbers, target: Numbers, size: Mapping[str, int], toy: Toy) -> tuple[float, float, float]:
    """L1, L2 and the total, from overlaps. p: x.x*, q: x.x, target: x*.x*, size: the vectors' lengths."""
    l1, l2 = (
        (q[x] * q["b"] * q["c"] - 2 * p[x] * p["b"] * p["c"] + target[x] * target["b"] * target["c"])
        / (2 * size[x] * size["b"] * size["c"])
        for x in ("a", "d")
    )
    cost = q["a"] * q["d"] / (2 * size["a"] * size["d"])
    return l1, l2, (l1 + toy.mu1) * l2 + toy.alpha * cost


def gradients(p: Numbers, q: Numbers, target: Numbers, size: Mapping[str, int], toy: Toy) -> dict[str, tuple]:
    """x -> (f, g): the gradient of the total with respect to x is f x - g x*."""
    l1, l2, _ = losses(p, q, target, size, toy)
    of = {"a": l2, "d": l1 + toy.mu1}  # what a mechanism's own loss is multiplied with
    out = {}
    for x, other in (("a", "d"), ("d", "a")):
        n = size[x] * size["b"] * size["c"]
        cost = toy.alpha * q[other] / (size[x] * size[other])
        out[x] = (of[x] * q["b"] * q["c"] / n + cost, of[x] * p["b"] * p["c"] / n)
    for x, other in (("b", "c"), ("c", "b")):
        n = {own: size[own] * size["b"] * size["c"] for own in of}
        out[x] = (
            sum(of[own] * q[own] * q[other] / n[own] for own in of),
            sum(of[own] * p[own] * p[other] / n[own] for own in of),
        )
    return out


def train(start: Vectors, target: Vectors, toy: Toy | None = None, steps: int = 16_000, stop: float = 1e-6) -> Path:
    """Gradient descent at rate 1 on the vectors, as published: until the total is below `stop`. The
    path has one entry per step, that of the last included."""
    toy = toy or Toy()
    x = {k: np.asarray(start[k], dtype=float) for k in KEYS}
    goal = {k: np.asarray(target[k], dtype=float) for k in KEYS}
    size = {k: len(goal[k]) for k in KEYS}
    norm = {k: float(goal[k] @ goal[k]) for k in KEYS}
    rows = []
    for _ in range(steps):
        p = {k: float(x[k] @ goal[k]) for k in KEYS}
        q = {k: float(x[k] @ x[k]) for k in KEYS}
        rows.append(losses(p, q, norm, size, toy))
        if rows[-1][2] < stop:
            break
        for k, (f, g) in gradients(p, q, norm, size, toy).items():
            x[k] = x[k] - (f * x[k] - g * goal[k])
    return Path(*np.array(rows).T)


def overlap_flow(start: Vectors, target: Vectors, times: np.ndarray, toy: Toy | None = None) -> Path:
    """The same as a flow of the 8 overlaps, at ascending times (steps at rate 1)."""
    toy = toy or Toy()
    size = {k: len(target[k]) for k in KEYS}
    norm = {k: float(target[k] @ target[k]) for k in KEYS}

    def split(state: np.ndarray) -> tuple[Numbers, Numbers]:
        values = state.tolist()
        return dict(zip(KEYS, values[:4], strict=True)), dict(zip(KEYS, values[4:], strict=True))

    def rates(state: np.ndarray, _: float) -> list[float]:
        p, q = split(state)
        pull = gradients(p, q, norm, size, toy)
        return [
            *(-(pull[k][0] * p[k] - pull[k][1] * norm[k]) for k in KEYS),
            *(-2 * (pull[k][0] * q[k] - pull[k][1] * p[k]) for k in KEYS),
        ]

    first = [*(float(start[k] @ target[k]) for k in KEYS), *(float(start[k] @ start[k]) for k in KEYS)]
    states = odeint(rates, first, times, rtol=1e-8, atol=1e-10, mxstep=20_000)
    return Path(*np.array([losses(*split(s), norm, size, toy) for s in states]).T)
