"""Coopetition (Singh et al. 2025) as a flow of three scalars.

The published toy (published.py) on the line through its targets, all of size 1, with the two shared vectors
equal: a is ICL's own part, d the in-weights part, s the shared one, twice in each strategy.

    L1 = (a s^2 - 1)^2 / 2,   L2 = (d s^2 - 1)^2 / 2,   cost = a^2 d^2 / 2
    T  = (L1 + mu1) L2 + alpha cost
    da/dt = -k dT/da,   dd/dt = -k r dT/dd,   ds/dt = -k dT/db  (one of the two shared vectors)

Cooperation: s grows for either strategy and serves both. Competition: the cost of having a and d. ICL's
handicap mu1 keeps up the pull towards d once L1 is 0. The published toy has mu1 = alpha = .1 and r = 20/160.

What a condition changes: data without in-weights (in-context) evidence hold L2 (L1) at 1/2, the value of a
strategy that does nothing; without the previous-token circuit a is 0; mu1 is what was fitted times the offer's
handicap, so 0 with exact copies; memory made worthless puts d back to its start. Nothing else changes. The logits
are u = a s^2 and v = d s^2.
"""

from __future__ import annotations

import numpy as np

from research.theories.flow import Account, Params, State
from research.theories.training import Offer

RANGES = {
    "rate": (0.1, 1e4),  # k, per million sequences
    "slower": (1e-3, 1.0),  # r: the in-weights part's rate over ICL's
    "mu1": (1e-4, 0.5),  # ICL's handicap, where L1 of no ICL is 1/2
    "alpha": (1e-4, 10.0),  # competition
    "a0": (1e-5, 0.9),
    "d0": (1e-3, 0.9),
    "s0": (1e-3, 0.9),
}


def _start(p: Params) -> State:
    return p["a0"], p["d0"], p["s0"]


def _rates(state: State, p: Params, offer: Offer) -> State:
    a, d, s = state
    if not offer.previous_token:
        a = 0.0
    mu1 = offer.handicap * p["mu1"]
    in_context = offer.in_context and offer.previous_token
    e1 = a * s * s - 1 if in_context else 0.0
    e2 = d * s * s - 1 if offer.in_weights else 0.0
    l1 = e1 * e1 / 2 if in_context else 0.5
    l2 = e2 * e2 / 2 if offer.in_weights else 0.5
    k, alpha = p["rate"], p["alpha"]
    da = -k * (l2 * e1 * s * s + alpha * a * d * d) if offer.previous_token else 0.0
    dd = -k * p["slower"] * ((l1 + mu1) * e2 * s * s + alpha * d * a * a)
    ds = -k * (l2 * e1 * a * s + (l1 + mu1) * e2 * d * s)
    return da, dd, ds


def _logits(states: np.ndarray, p: Params) -> tuple[np.ndarray, np.ndarray]:
    a, d, s = states.T
    return a * s * s, d * s * s


def _forgotten(state: State, p: Params) -> State:
    return state[0], p["d0"], state[2]


COOPETITION = Account("coopetition", RANGES, ("a0", "d0", "s0"), _start, _rates, _logits, _forgotten)
