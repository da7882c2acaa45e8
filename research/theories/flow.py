"""An account integrated through a training condition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.integrate import odeint

from research.theories.links import LINK_RANGES, accuracies
from research.theories.training import Condition, Offer

Params = Mapping[str, float]
State = Sequence[float]


@dataclass(frozen=True)
class Account:
    """A theory as pure functions of its parameters, which are all positive.

    ranges: parameter -> (lowest, highest) that a fit may take; those of the link are added. initial: those of
    them that are the flow's start, and so may differ between seeds of one setting.
    start: the state at sequence 0. rates: its derivative per million sequences at the highest
    learning rate, given what training offers. logits: states [t, k] -> ICL's and the weights' [t].
    forgotten: the state once what the weights hold is worthless.
    """

    name: str
    ranges: Mapping[str, tuple[float, float]]
    initial: tuple[str, ...]
    start: Callable[[Params], State]
    rates: Callable[[State, Params, Offer], State]
    logits: Callable[[np.ndarray, Params], tuple[np.ndarray, np.ndarray]]
    forgotten: Callable[[State, Params], State]

    @property
    def all_ranges(self) -> dict[str, tuple[float, float]]:
        return {**self.ranges, **LINK_RANGES}


def trajectory(account: Account, p: Params, condition: Condition, times: np.ndarray) -> np.ndarray:
    """States [t, k] at ascending times (million sequences).

    At a time of change the new offer holds already. The exception is memory that is lost there: a checkpoint is scored
    before the memory is lost.
    """
    end = float(times[-1])
    lost = set(condition.forgets(end))
    edges = sorted({0.0, end, *lost, *(start for start, _ in condition.offers if start < end)})
    out, state = [], account.start(p)
    first = times[times <= 0.0]
    out.append(np.tile(state, (len(first), 1)))
    for left, right in pairwise(edges):
        if left in lost:
            state = account.forgotten(state, p)
        inside = times[(times > left) & (times <= right)]
        ends = inside if len(inside) and inside[-1] == right else np.append(inside, right)
        clock = [condition.learning_time(float(t)) for t in (left, *ends)]
        offer = condition.offer_at(left)
        path = odeint(
            lambda y, _, offer=offer: account.rates(y.tolist(), p, offer),
            state,
            clock,
            rtol=1e-6,
            atol=1e-9,
            mxstep=5000,
        )
        out.append(path[1 : 1 + len(inside)])
        state = path[-1].tolist()
    return np.concatenate(out)


def predict(account: Account, p: Params, condition: Condition, times: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracies of every evaluator at `times` (million sequences, ascending)."""
    u, v = account.logits(trajectory(account, p, condition, times), p)
    noise = np.array([condition.offer_at(float(t)).noise for t in times])
    blocked = np.array([not condition.offer_at(float(t)).previous_token for t in times])
    return accuracies(np.where(blocked, 0.0, u), v, p, noise)
