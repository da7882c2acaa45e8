"""Independent rates (Nguyen & Reddy 2024): two circuits that share only the loss.

ICL has two scalars, the strength beta with which the query matches a context exemplar and the gain w of what
is copied; of two context labels it puts attention 1/(1 + exp(-beta)) on the matching one. The weights' logit v
is memorised by a two-layer circuit, v = y^2. Logits add, and both circuits go down the gradient of the logistic
loss l(u, v), which is all that couples them:

    u = w tanh(beta/2),   v = y^2,   g = -dl/du,   h = -dl/dv
    dw/dt    = k (g tanh(beta/2)            - lam w)
    dbeta/dt = k (g w / (2 cosh(beta/2)^2)  - lam beta)
    dy/dt    = k (r h y                     - lam y)

Three variants:

    OUTVOTED     lam = 0, as in the runs; l = log(1 + exp(-(u + v))), so g = h = logistic(-(u + v)).
                 ICL's circuit stays; as v grows it is outvoted.
    REGULARIZED  lam fitted, although the runs have no L2: the paper's own account of the loss. Once v has made
                 g small, w and beta decay.
    NOISY        lam = 0, and l is the mean of that loss over the spread that the link gives the logits
                 (links.py): x ~ N(u + v, V), V = sigma^2 + eta_icl^2 u^2 + eta_iwl^2 v^2, so
                 g = E[logistic(-x)] - eta_icl^2 u E[logistic(x) logistic(-x)], h alike with v. Once the
                 less noisy strategy knows the answer, the other's noise only costs, and it is unlearned: two
                 cues weighted by their precision. Ours, not published.

What a condition changes: without in-weights (in-context) evidence v (u) is not in the loss and has no gradient;
without the previous-token circuit u = 0; eta_icl is the noise of the offer times what was fitted, so 0 with
exact copies; memory made worthless puts y back to its start. Nothing else changes.
"""

from __future__ import annotations

from functools import partial
from math import cosh, exp, pi, sqrt, tanh

import numpy as np

from research.theories.flow import Account, Params, State
from research.theories.training import Offer

RANGES = {
    "rate": (0.1, 1e4),  # k, per million sequences
    "memorise": (1e-3, 30.0),  # r: the in-weights rate over ICL's
    "beta0": (1e-5, 3.0),
    "w0": (1e-5, 3.0),
    "y0": (1e-3, 1.5),
}
DECAY = {"decay": (1e-5, 1e-1)}  # lam
_NODES, _WEIGHTS = (x.tolist() for x in np.polynomial.hermite_e.hermegauss(9))  # of the normal distribution


def _logistic(x: float) -> float:
    return 1 / (1 + exp(-x)) if x > -500 else 0.0


def noisy_pull(u: float, v: float, own_u: float, own_v: float, base: float) -> tuple[float, float]:
    """-d/du and -d/dv of E[log(1 + exp(-x))], x ~ N(u + v, base + own_u u^2 + own_v v^2)."""
    mean, spread = u + v, sqrt(base + own_u * u * u + own_v * v * v)
    wrong = slope = 0.0
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        q = _logistic(-(mean + spread * node))
        wrong += weight * q
        slope += weight * q * (1 - q)
    total = sqrt(2 * pi)
    wrong, slope = wrong / total, slope / total
    return wrong - own_u * u * slope, wrong - own_v * v * slope


def _start(p: Params) -> State:
    return p["w0"], p["beta0"], p["y0"]


def _rates(state: State, p: Params, offer: Offer, decays: bool, noisy: bool) -> State:
    w, beta, y = state
    match = tanh(beta / 2)
    icl = offer.in_context and offer.previous_token
    u = w * match if icl else 0.0
    v = y * y if offer.in_weights else 0.0
    if noisy:
        own_u = (offer.noise * p["eta_icl"]) ** 2
        g, h = noisy_pull(u, v, own_u, p["eta_iwl"] ** 2, p["sigma"] ** 2)
    else:
        g = h = _logistic(-(u + v))
    lam = p["decay"] if decays else 0.0
    dw, dbeta, dy = -lam * w, -lam * beta, -lam * y
    if icl:
        dw += g * match
        dbeta += g * w / (2 * cosh(min(abs(beta) / 2, 300.0)) ** 2)
    if offer.in_weights:
        dy += p["memorise"] * h * y
    k = p["rate"]
    return k * dw, k * dbeta, k * dy


def _logits(states: np.ndarray, p: Params) -> tuple[np.ndarray, np.ndarray]:
    w, beta, y = states.T
    return w * np.tanh(beta / 2), y * y


def _forgotten(state: State, p: Params) -> State:
    return state[0], state[1], p["y0"]


def _variant(name: str, ranges: dict, decays: bool, noisy: bool) -> Account:
    return Account(
        name, ranges, ("w0", "beta0", "y0"), _start, partial(_rates, decays=decays, noisy=noisy), _logits, _forgotten
    )


OUTVOTED = _variant("rates-outvoted", RANGES, decays=False, noisy=False)
REGULARIZED = _variant("rates-regularized", {**RANGES, **DECAY}, decays=True, noisy=False)
NOISY = _variant("rates-noisy", RANGES, decays=False, noisy=True)
