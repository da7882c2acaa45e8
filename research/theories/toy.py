"""Three interacting parts, some of them clamped: the toy of Singh et al. 2024 (docs/references.md#ih17).

Vectors a, b, c of 20 numbers, each with a target x*; starts and targets ~ N(0, 1). With (x) the outer product,

    L = mean((a (x) b (x) c  -  a* (x) b* (x) c*)^2) / 2

falls by gradient descent at rate 1, 1,000 steps. The product is right only once all three parts are, as an
induction circuit works only once its three subcircuits do: L falls from its start to the value of no product,
stays there, and falls again when the parts have found one another. That plateau is an interaction. Clamp a part at its
target, at every step, and it is shorter; clamp two and the loss falls at once.

Only the inner products q = x.x, p = x.x* and Q = x*.x* enter L and its gradients:

    L       = (q_a q_b q_c - 2 p_a p_b p_c + Q_a Q_b Q_c) / (2 n),   n = 20^3
    dL/da   = (q_b q_c a - p_b p_c a*) / n                           and so for b and c

The published figure has seed 1 of JAX's generator. Ours is numpy's, whose numbers differ, so what holds here is
the order of the three conditions, over seeds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import prod

import numpy as np

from mechicl.errors import ConfigError

KEYS = ("a", "b", "c")
DIM, STEPS, RATE, SEED = 20, 1000, 1.0, 1  # as published
Vectors = Mapping[str, np.ndarray]


def vectors(seed: int = SEED, dim: int = DIM) -> tuple[Vectors, Vectors]:
    """Starts and targets of a, b and c, each [dim]."""
    rng = np.random.default_rng(seed)
    start, target = rng.standard_normal((2, len(KEYS), dim))
    return dict(zip(KEYS, start, strict=True)), dict(zip(KEYS, target, strict=True))


def train(
    start: Vectors,
    target: Vectors,
    clamped: Collection[str] = (),
    steps: int = STEPS,
    rate: float = RATE,
) -> np.ndarray:
    """The loss before each of `steps` updates and after the last, [steps + 1].

    Args:
        clamped: which of a, b, c are held at their targets.

    Raises:
        ConfigError: a name is not one of the three.
    """
    unknown = sorted(set(clamped) - set(KEYS))
    if unknown:
        raise ConfigError(f"clamped={unknown}: the toy's parts are {', '.join(KEYS)}.")
    goal = {k: np.asarray(target[k], dtype=float) for k in KEYS}
    x = {k: goal[k] if k in clamped else np.asarray(start[k], dtype=float) for k in KEYS}
    n, norms = prod(map(len, goal.values())), prod(float(v @ v) for v in goal.values())
    out = []
    for _ in range(steps + 1):
        q, p = ({k: float(x[k] @ other[k]) for k in KEYS} for other in (x, goal))
        out.append((prod(q.values()) - 2 * prod(p.values()) + norms) / (2 * n))
        pulls = {}
        for k in KEYS:
            others = [o for o in KEYS if o != k]
            pulls[k] = (prod(q[o] for o in others) * x[k] - prod(p[o] for o in others) * goal[k]) / n
        x |= {k: x[k] - rate * pulls[k] for k in KEYS if k not in clamped}
    return np.array(out)


def plateau(losses: np.ndarray, target: Vectors) -> int | None:
    """How many steps the loss stays near that of no product at all: within 10% of Q_a Q_b Q_c / (2 n), on either
    side. None where it is not learned (below 1% of that) by the end."""
    nothing = prod(float(v @ v) for v in target.values()) / (2 * prod(map(len, target.values())))
    if losses[-1] > 0.01 * nothing:
        return None
    return int((np.abs(losses / nothing - 1) < 0.1).sum())
