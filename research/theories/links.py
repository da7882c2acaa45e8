"""From the two strategies' logits to the evaluators' accuracies.

A sequence's logit for the context's answer over the other label is a sum (additive logits): +u from ICL where
the context has evidence, +v from the weights where they have. Over sequences each has a normal spread: a base
spread sigma, one in proportion to the strategy's own logit (eta_icl, eta_iwl: drawings are noisy), and, where a
strategy has no evidence, its logit is still there with a random sign (kappa). So

    evaluator   mean     variance                                (evaluators.py)
    icl         u        sigma^2 + eta_icl^2 u^2 + kappa^2 v^2   labels 0 and 1: no in-weights competitor, but
                                                                 what recall says about them is noise
    flip        u - v    sigma^2 + eta_icl^2 u^2 + eta_iwl^2 v^2   right only if ICL beats the weights
    ciwl        v        sigma^2 + eta_iwl^2 v^2 + kappa^2 u^2     no evidence in context
    train       u + v    as flip                                   both agree

and accuracy = Phi(mean / sqrt(variance)), .5 where there is no logit. All accounts use this one link. Where
drawings are harder or easier to match, eta_icl is what was fitted times `Offer.noise`; with exact copies it is 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import ndtr

ACCURACIES = ("icl", "flip", "ciwl", "train")
LINK_RANGES = {"sigma": (0.005, 3.0), "eta_icl": (0.1, 1.0), "eta_iwl": (0.1, 1.0), "kappa": (0.02, 3.0)}


def accuracies(u: np.ndarray, v: np.ndarray, p: Mapping[str, float], noise: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracies over time. u, v: logits [t]; noise [t]: the factor on eta_icl."""
    base, cross = p["sigma"] ** 2, p["kappa"] ** 2
    of_u = (noise * p["eta_icl"] * u) ** 2
    of_v = p["eta_iwl"] ** 2 * v * v
    means = {"icl": u, "flip": u - v, "ciwl": v, "train": u + v}
    variances = {
        "icl": base + of_u + cross * v * v,
        "flip": base + of_u + of_v,
        "ciwl": base + of_v + cross * u * u,
        "train": base + of_u + of_v,
    }
    return {name: ndtr(means[name] / np.sqrt(variances[name])) for name in ACCURACIES}
