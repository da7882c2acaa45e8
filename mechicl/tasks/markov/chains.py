"""Markov chains, samples of them, and what the best predictors of each kind would say.

Legend: K chains, n states, b sequences, t positions. A sequence has t + 1 states: position i predicts state i + 1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mechicl.tasks.markov import Markov

_CHAINS = 0  # stream of the data seed


@dataclass(frozen=True)
class Chains:
    """The chains of a run. trained [K, n, n] float64: rows sum to 1; concentration: of the prior they are from."""

    trained: np.ndarray
    concentration: float

    @classmethod
    def drawn(cls, task: Markov, seed: int) -> Chains:
        rng = np.random.default_rng([seed, _CHAINS])
        return cls(matrices(task.n_chains, task.n_states, task.concentration, rng), task.concentration)

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.trained.tobytes()).hexdigest()

    @property
    def n_states(self) -> int:
        return self.trained.shape[-1]

    def new(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Other chains from the same prior, [count, n, n]."""
        return matrices(count, self.n_states, self.concentration, rng)

    def __repr__(self) -> str:
        return f"Chains({len(self.trained)} over {self.n_states} states)"


def matrices(count: int, n: int, concentration: float, rng: np.random.Generator) -> np.ndarray:
    """Transition matrices [count, n, n] whose rows are independent draws of a symmetric Dirichlet distribution."""
    return rng.dirichlet(np.full(n, concentration), size=(count, n))


def sample(chains: np.ndarray, t: int, rng: np.random.Generator) -> np.ndarray:
    """One sequence of each chain: states [b, t + 1] int64, the first uniform. chains [b, n, n]."""
    b, n = chains.shape[:2]
    edges, each = chains.cumsum(-1), np.arange(b)
    states = np.empty((b, t + 1), np.int64)
    states[:, 0] = rng.integers(n, size=b)
    for i in range(t):
        row = edges[each, states[:, i]]
        states[:, i + 1] = np.minimum((row < rng.random(b)[:, None]).sum(1), n - 1)
    return states


def unigram(states: np.ndarray, n: int) -> np.ndarray:
    """The next state by how often each was shown so far, [b, t, n]: counts plus 1, normalised."""
    shown = np.eye(n)[states[:, :-1]].cumsum(1) + 1
    return shown / shown.sum(-1, keepdims=True)


def bigram(states: np.ndarray, n: int, concentration: float) -> np.ndarray:
    """The next state by what followed the present one so far, [b, t, n]: the posterior mean of its row, which no
    predictor beats on chains that it does not know."""
    b, t = states.shape[0], states.shape[1] - 1
    followed, each = np.zeros((b, n, n)), np.arange(b)
    rows = np.empty((b, t, n))
    for i in range(t):
        if i:
            followed[each, states[:, i - 1], states[:, i]] += 1
        rows[:, i] = followed[each, states[:, i]]
    rows += concentration
    return rows / rows.sum(-1, keepdims=True)


def retrieval(states: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """The next state by which of the trained chains [K, n, n] this may be, [b, t, n]: their rows, weighted by the
    posterior of each, which no predictor beats on them."""
    b, t = states.shape[0], states.shape[1] - 1
    with np.errstate(divide="ignore"):
        log = np.log(trained)
    belief, out = np.zeros((b, len(trained))), np.empty((b, t, trained.shape[-1]))
    for i in range(t):
        if i:
            belief += log[:, states[:, i - 1], states[:, i]].T
        top = belief.max(1, keepdims=True)
        weight = np.exp(belief - np.where(np.isfinite(top), top, 0.0))
        weight /= np.maximum(weight.sum(1, keepdims=True), 1e-300)
        out[:, i] = np.einsum("bk,kbn->bn", weight, trained[:, states[:, i]])
    return out


def divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """KL(p || q) in nats over the last axis."""
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(p > 0, p * (np.log(p) - np.log(q)), 0.0)
    return each.sum(-1)
