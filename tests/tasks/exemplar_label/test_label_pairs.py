"""Held-out pairs of labels: never trained on, all that their evaluator shows, and nothing else changed."""

import collections
import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from mechicl.config import BankConfig, Config, SequenceConfig
from mechicl.errors import ConfigError
from mechicl.tasks.exemplar_label import label_pairs
from mechicl.tasks.exemplar_label.sequences import sample

OLD = {
    "classes": [[3, 34, 34], [25, 0, 25], [20, 7, 20], [10, 32, 10], [12, 25, 12], [1, 36, 1]],
    "drawings": [[2, 0, 0], [2, 0, 1], [0, 0, 1], [1, 1, 0], [0, 0, 0], [2, 1, 1]],
    "labels": [[1, 3], [1, 2], [4, 2], [3, 4], [4, 3], [1, 4]],
    "target": [3, 1, 4, 3, 4, 1],
}
RELABELLED = SequenceConfig(labels="random", held_out_pairs=2)


def draw(config: SequenceConfig, n_labels: int, n: int = 500, seed: int = 0):
    """Sequences of 40 classes that share `n_labels` labels."""
    return sample(config, np.arange(40) % n_labels, n, np.random.default_rng(seed), n_exemplars=3, n_labels=n_labels)


def shown(config: SequenceConfig, n_labels: int, n: int = 500, seed: int = 0) -> list[tuple[int, int]]:
    """Of every sequence, the query's label and the other one."""
    s = draw(config, n_labels, n, seed)
    out = []
    for labels, target in zip(s.labels.tolist(), s.target.tolist(), strict=True):
        (other,) = set(labels) - {target}
        out.append((target, other))
    return out


@st.composite
def settings(draw_) -> tuple[SequenceConfig, int]:
    n_labels = draw_(st.integers(3, 9))
    b = draw_(st.integers(1, 3))
    held = draw_(st.integers(1, label_pairs.count(n_labels) - 1))
    return SequenceConfig(
        n_pairs=2 * b, burstiness=b, labels="random", held_out_pairs=held, pair_seed=draw_(st.integers(0, 100))
    ), n_labels


@given(settings(), st.integers(0, 2**32 - 1))
def test_training_never_shows_a_held_out_pair_and_its_evaluator_shows_no_other(setting, seed):
    config, n_labels = setting
    held = {tuple(pair) for pair in label_pairs.labels_of(label_pairs.held_out(config, n_labels)).tolist()}
    assert len(held) == config.held_out_pairs
    assert not {tuple(sorted(pair)) for pair in shown(config, n_labels, 200, seed)} & held
    to_test = dataclasses.replace(config, label_pairs="held_out")
    assert {tuple(sorted(pair)) for pair in shown(to_test, n_labels, 200, seed)} <= held


@given(settings(), st.integers(0, 2**32 - 1))
def test_the_query_gets_the_label_that_its_class_is_shown_with(setting, seed):
    s = draw(*setting, 100, seed)
    of_query = s.classes[:, :-1] == s.classes[:, -1:]
    np.testing.assert_array_equal(s.labels == s.target[:, None], of_query)
    assert all(len(set(row)) == 2 for row in s.labels.tolist())


@pytest.mark.parametrize("which", ["trained", "held_out"])
def test_pairs_are_uniform_in_both_orders(which):
    config = dataclasses.replace(RELABELLED, label_pairs=which)
    counts = collections.Counter(shown(config, 5, 20_000))
    assert len(counts) == 2 * (8 if which == "trained" else 2)  # 10 pairs, split 8 and 2 as published
    assert chisquare(list(counts.values())).pvalue > 1e-4


def test_the_label_says_nothing_of_the_class():
    s = draw(dataclasses.replace(RELABELLED, held_out_pairs=1), 3, 30_000)
    for query in (0, 17, 39):
        rows = s.classes[:, -1] == query
        share = np.bincount(s.target[rows], minlength=3) / rows.sum()
        every = np.bincount(s.target, minlength=3) / len(s)
        np.testing.assert_allclose(share, every, atol=0.08)


@given(st.integers(2, 2000))
def test_numbers_of_pairs_go_over_all_of_them_once(n_labels):
    n = min(label_pairs.count(n_labels), 5000)
    pairs = label_pairs.labels_of(np.arange(n))
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert pairs.min() >= 0
    assert pairs.max() < n_labels
    np.testing.assert_array_equal(pairs[:, 1] * (pairs[:, 1] - 1) // 2 + pairs[:, 0], np.arange(n))


def test_the_last_pairs_of_a_hundred_million_labels():
    n = 10**8
    last = label_pairs.count(n) - 1
    assert label_pairs.labels_of(np.array([last, last - (n - 2), last - (n - 1)])).tolist() == [
        [n - 2, n - 1],
        [0, n - 1],
        [n - 3, n - 2],
    ]


def test_the_split_is_the_pair_seeds_alone():
    one, other = (
        label_pairs.held_out(dataclasses.replace(RELABELLED, held_out_pairs=5, pair_seed=seed), 12) for seed in (20, 21)
    )
    assert one.tolist() == label_pairs.held_out(dataclasses.replace(RELABELLED, held_out_pairs=5), 12).tolist()
    assert one.tolist() != other.tolist()
    every = collections.Counter()
    for seed in range(300):
        every.update(label_pairs.held_out(dataclasses.replace(RELABELLED, pair_seed=seed), 5).tolist())
    assert chisquare([every[k] for k in range(10)]).pvalue > 1e-4


def test_without_held_out_pairs_draws_are_as_they_were():
    """The first sequences of seed 0 as drawn before pairs could be held out."""
    s = draw(SequenceConfig(labels="random"), 5, 6)
    assert s.classes.tolist() == OLD["classes"]
    assert s.exemplar_ids.tolist() == OLD["drawings"]
    assert s.labels.tolist() == OLD["labels"]
    assert s.target.tolist() == OLD["target"]


def test_refusals():
    def refused(message: str, n_labels: int = 5, **sequences):
        with pytest.raises(ConfigError, match=message):
            Config(
                name="x",
                steps=1,
                bank=BankConfig(n_classes=20, n_labels=n_labels),
                sequences=SequenceConfig(**sequences),
            )

    refused("hold out at most 9", labels="random", held_out_pairs=10)
    refused("2 labels have 1 pairs", n_labels=2, labels="random", held_out_pairs=1)
    refused("labels = 'random' and n_pairs = 2\\*burstiness \\(given labels='trained'", held_out_pairs=2)
    refused("given labels='random', n_pairs=4, burstiness=1", labels="random", n_pairs=4, held_out_pairs=2)
    refused("held_out_pairs=0: hold out at least 1", labels="random", label_pairs="held_out")
    refused("held_out_pairs=-1: expected at least 0", labels="random", held_out_pairs=-1)
    for held in (1, 9):  # the bounds themselves
        assert shown(dataclasses.replace(RELABELLED, held_out_pairs=held), 5, 10)
