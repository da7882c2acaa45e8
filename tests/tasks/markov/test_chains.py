"""The exact predictors, against counting by hand, and samples, against their chain."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechicl.tasks.markov.chains import bigram, divergence, matrices, retrieval, sample, unigram


@given(seed=st.integers(0, 99), n=st.integers(3, 6))
def test_samples_follow_their_chain(seed, n):
    rng = np.random.default_rng(seed)
    chain = matrices(1, n, 1.0, rng)
    states = sample(np.repeat(chain, 400, 0), 50, rng)
    counts = np.zeros((n, n))
    np.add.at(counts, (states[:, :-1].ravel(), states[:, 1:].ravel()), 1)
    error = np.sqrt(chain[0] * (1 - chain[0]) / counts.sum(1, keepdims=True))
    assert (np.abs(counts / counts.sum(1, keepdims=True) - chain[0]) <= 5 * error + 1e-12).all()


def test_a_transition_that_never_happens_is_never_drawn():
    chain = np.array([[[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]])
    states = sample(np.repeat(chain, 9, 0), 7, np.random.default_rng(0))
    assert ((states[:, :-1] + 1) % 3 == states[:, 1:]).all()


def test_predictors_of_a_short_sequence_by_hand():
    states = np.array([[0, 1, 0, 1]])
    assert unigram(states, 2)[0] == pytest.approx(np.array([[2, 1], [2, 2], [3, 2]]) / [[3], [4], [5]])
    # The row of the present state: nothing seen of 0, of 1, then 0 -> 1 once.
    assert bigram(states, 2, 1.0)[0] == pytest.approx(np.array([[0.5, 0.5], [0.5, 0.5], [1 / 3, 2 / 3]]))


def test_retrieval_is_bayes_over_the_trained_chains():
    trained = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.4, 0.6], [0.5, 0.5]]])
    belief = np.array([0.9 * 0.1, 0.4 * 0.6])  # 0 -> 0 -> 1
    want = (belief / belief.sum()) @ trained[:, 1]
    assert retrieval(np.array([[0, 0, 1, 0]]), trained)[0, 2] == pytest.approx(want)


@given(seed=st.integers(0, 99))
def test_no_predictor_beats_retrieval_on_trained_chains_and_the_bigram_on_new_ones(seed):
    rng = np.random.default_rng(seed)
    trained = matrices(4, 4, 1.0, rng)
    for chains, best in ((trained[rng.integers(4, size=600)], "retrieval"), (matrices(600, 4, 1.0, rng), "bigram")):
        states = sample(chains, 30, rng)
        true = chains[np.arange(600)[:, None], states[:, :-1]]
        found = {"unigram": unigram(states, 4), "bigram": bigram(states, 4, 1.0)}
        found["retrieval"] = retrieval(states, trained)
        kl = {name: divergence(true, q)[:, 15:].mean() for name, q in found.items()}
        assert min(kl, key=lambda name: kl[name]) == best


def test_divergence_of_a_certain_row_is_finite():
    assert divergence(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == pytest.approx(np.log(2))
