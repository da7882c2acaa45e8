"""The sampler against its definition (docs: config.SequenceConfig): every field, by its statistics.

Seeds are fixed, so the chi-square bounds (p > 1e-4) either always hold or never do.
"""

import collections
import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binomtest, chisquare

from mechicl.config import BankConfig, Config, SequenceConfig
from mechicl.errors import ConfigError
from mechicl.tasks.exemplar_label.sequences import Sequences, check, class_weights, sample

LABELS = np.arange(40)


def draw(config: SequenceConfig, n: int = 500, seed: int = 0, labels=LABELS, n_exemplars=20, n_labels=None):
    """`n` sequences; label = class among 40 unless told otherwise."""
    return sample(
        config,
        np.asarray(labels),
        n,
        np.random.default_rng(seed),
        n_exemplars=n_exemplars,
        n_labels=n_labels or int(np.max(labels)) + 1,
    )


def fits(observed, expected_share) -> bool:
    """Whether counts are plausible draws from a distribution."""
    observed, share = np.asarray(observed, float), np.asarray(expected_share, float)
    return chisquare(observed, share / share.sum() * observed.sum()).pvalue > 1e-4


def near(successes: int, n: int, p: float) -> bool:
    return binomtest(int(successes), n, p).pvalue > 1e-4


def query_count(s: Sequences) -> np.ndarray:
    return (s.classes[:, :-1] == s.classes[:, -1:]).sum(axis=1)


@st.composite
def settings(draw_, **fixed) -> SequenceConfig:
    """Any valid SequenceConfig with canonical labels."""
    c = draw_(st.integers(1, 8))
    values = {
        "n_pairs": c,
        "burstiness": draw_(st.integers(0, c // 2)),
        "p_bursty": draw_(st.sampled_from([0.0, 0.3, 1.0])),
        "zipf": draw_(st.sampled_from([0.0, 1.0])),
        "rest": draw_(st.sampled_from(["iid", "unique"])),
        "exemplars": draw_(st.sampled_from(["replacement", "no_replacement", "matched"])),
        "distinct_labels": draw_(st.booleans()),
    }
    return SequenceConfig(**(values | fixed))


@given(settings(), st.integers(0, 2**32 - 1))
def test_shapes_ranges_and_the_target(config, seed):
    s = draw(config, 64, seed)
    c = config.n_pairs
    assert len(s) == 64
    assert s.classes.shape == s.exemplar_ids.shape == (64, c + 1)
    assert s.labels.shape == (64, c)
    assert s.target.shape == (64,)
    assert s.classes.min() >= 0
    assert s.classes.max() < 40
    assert s.exemplar_ids.min() >= 0
    assert s.exemplar_ids.max() < 20
    np.testing.assert_array_equal(s.labels, s.classes[:, :-1])
    np.testing.assert_array_equal(s.target, s.classes[:, -1])


@given(settings(p_bursty=1.0), st.integers(0, 2**32 - 1))
def test_bursty_contexts_hold_b_of_the_query_b_of_one_other_and_the_rest(config, seed):
    b, c = config.burstiness, config.n_pairs
    for row in draw(config, 64, seed).classes.tolist():
        context, query = row[:-1], row[-1]
        counts = collections.Counter(context)
        others = sorted((n for k, n in counts.items() if k != query), reverse=True)
        if config.rest == "unique":
            assert counts[query] == b
            assert others == ([b] if b else []) + [1] * (c - 2 * b)
        else:
            assert counts[query] >= b
            assert not b or others[0] >= b


@given(settings(rest="unique", p_bursty=0.0), st.integers(0, 2**32 - 1))
def test_unique_rest_of_plain_sequences(config, seed):
    assert all(len(set(row)) == config.n_pairs + 1 for row in draw(config, 64, seed).classes.tolist())


@pytest.mark.parametrize(("c", "b"), [(2, 1), (4, 2), (4, 1), (8, 3)])
def test_context_order_is_uniform(c, b):
    s = draw(SequenceConfig(n_pairs=c, burstiness=b, rest="unique"), 12_000)
    is_query = s.classes[:, :-1] == s.classes[:, -1:]
    assert fits(is_query.sum(axis=0), np.ones(c))
    places = collections.Counter(tuple(np.flatnonzero(row)) for row in is_query)
    every = list(itertools.combinations(range(c), b))
    assert set(places) == set(every)
    assert fits([places[k] for k in every], np.ones(len(every)))


def test_the_distractors_places_are_uniform_too():
    s = draw(SequenceConfig(n_pairs=6, burstiness=2, rest="unique"), 10_000)
    twice = (s.classes[:, :-1, None] == s.classes[:, None, :-1]).sum(axis=2) == 2
    distractor = twice & (s.classes[:, :-1] != s.classes[:, -1:])
    assert (distractor.sum(axis=1) == 2).all()
    assert fits(distractor.sum(axis=0), np.ones(6))


@pytest.mark.parametrize("p", [0.0, 0.25, 0.9, 1.0])
def test_p_bursty(p):
    s = draw(SequenceConfig(n_pairs=8, burstiness=4, p_bursty=p), 4000, labels=np.arange(10_000))
    # Ten thousand classes: a plain sequence holds its query four times about never.
    bursty = query_count(s) == 4
    assert near(bursty.sum(), 4000, p) if 0 < p < 1 else bursty.mean() == p
    assert (query_count(s)[~bursty] <= 1).all()


def test_plain_sequences_are_iid():
    s = draw(SequenceConfig(n_pairs=4, p_bursty=0.0), 20_000, labels=np.arange(5))
    for slot in range(5):
        assert fits(np.bincount(s.classes[:, slot]), np.ones(5))
    pairs = np.bincount(5 * s.classes[:, 1] + s.classes[:, -1], minlength=25)
    assert fits(pairs, np.ones(25))  # context and query independent


def test_iid_rest_comes_from_the_class_distribution_whatever_was_drawn():
    config = SequenceConfig(n_pairs=3, burstiness=1, zipf=1.0)
    s = draw(config, 30_000, labels=np.arange(5))
    # Each context holds the query's class, the distractor's and one iid class z. Which is z is not
    # known, but the number of items of the query's class is 1 + [z = query], z independent of it.
    p = class_weights(5, 1.0)
    for query in range(5):
        rows = s.classes[:, -1] == query
        assert near((query_count(s)[rows] == 2).sum(), int(rows.sum()), p[query])


def test_class_weights():
    np.testing.assert_allclose(class_weights(4, 0.0), 0.25)
    np.testing.assert_allclose(class_weights(3, 1.0), np.array([6, 3, 2]) / 11)
    np.testing.assert_allclose(class_weights(3, 2.0), np.array([36, 9, 4]) / 49)


@pytest.mark.parametrize("zipf", [0.0, 0.5, 1.0, 2.0])
def test_zipf_frequencies_of_the_query(zipf):
    s = draw(SequenceConfig(zipf=zipf), 30_000, labels=np.arange(12))
    assert fits(np.bincount(s.target, minlength=12), class_weights(12, zipf))


@pytest.mark.parametrize("zipf", [0.0, 1.0])
def test_distractor_follows_the_class_distribution_with_the_query_masked_out(zipf):
    s = draw(SequenceConfig(zipf=zipf), 40_000, labels=np.arange(6))
    distractor = np.where(s.classes[:, 0] == s.target, s.classes[:, 1], s.classes[:, 0])
    for query in range(6):
        masked = class_weights(6, zipf)
        masked[query] = 0
        got = np.bincount(distractor[s.target == query], minlength=6)
        assert got[query] == 0
        assert fits(np.delete(got, query), np.delete(masked, query))


@given(settings(exemplars="no_replacement", p_bursty=1.0), st.integers(0, 2**32 - 1))
def test_no_replacement_never_repeats_a_drawing_of_a_class(config, seed):
    n = max(2, config.n_pairs + 1)
    s = draw(config, 64, seed, labels=np.arange(40), n_exemplars=n)
    for classes, drawings in zip(s.classes.tolist(), s.exemplar_ids.tolist(), strict=True):
        shown = list(zip(classes, drawings, strict=True))
        assert len(set(shown)) == len(shown)


def test_no_replacement_uses_every_exemplar_when_there_are_just_enough():
    s = draw(SequenceConfig(n_pairs=4, burstiness=2, exemplars="no_replacement"), 300, n_exemplars=3)
    for classes, drawings in zip(s.classes, s.exemplar_ids, strict=True):
        assert sorted(drawings[classes == classes[-1]]) == [0, 1, 2]


@given(settings(exemplars="matched"), st.integers(0, 2**32 - 1))
def test_matched_items_of_a_class_show_the_identical_exemplar(config, seed):
    s = draw(config, 64, seed)
    for classes, drawings in zip(s.classes.tolist(), s.exemplar_ids.tolist(), strict=True):
        shown = set(zip(classes, drawings, strict=True))
        assert len(shown) == len(set(classes))


@pytest.mark.parametrize("rule", ["replacement", "no_replacement", "matched"])
def test_each_drawing_is_uniform_over_the_exemplars(rule):
    s = draw(SequenceConfig(n_pairs=4, burstiness=2, exemplars=rule), 8000, n_exemplars=5)
    for slot in range(5):
        assert fits(np.bincount(s.exemplar_ids[:, slot], minlength=5), np.ones(5))


@pytest.mark.parametrize("k", [1, 5, 20])
def test_replacement_repeats_the_querys_drawing_at_1_over_n_exemplars(k):
    s = draw(SequenceConfig(), 20_000, n_exemplars=k)
    same_class = s.classes[:, :-1] == s.classes[:, -1:]
    repeats = (same_class & (s.exemplar_ids[:, :-1] == s.exemplar_ids[:, -1:])).any(axis=1)
    assert near(repeats.sum(), 20_000, 1 / k) if k > 1 else repeats.all()


def test_canonical_labels_follow_the_map():
    table = np.random.default_rng(3).permutation(40)
    s = draw(SequenceConfig(n_pairs=4), labels=table)
    np.testing.assert_array_equal(s.labels, table[s.classes[:, :-1]])
    np.testing.assert_array_equal(s.target, table[s.classes[:, -1]])


@pytest.mark.parametrize(("c", "b"), [(2, 1), (8, 4)])
def test_swapped_labels_exchange_the_two_canonical_ones(c, b):
    table = np.random.default_rng(3).permutation(40)
    s = draw(SequenceConfig(n_pairs=c, burstiness=b, labels="swapped"), 500, labels=table)
    for classes, labels, target in zip(s.classes, s.labels, s.target, strict=True):
        query = classes[-1]
        (other,) = set(classes[:-1]) - {query}
        assert target == table[other] != table[query]
        np.testing.assert_array_equal(labels, np.where(classes[:-1] == query, table[other], table[query]))


@pytest.mark.parametrize(("c", "b"), [(2, 1), (8, 4)])
def test_binary_labels_are_0_and_1_in_random_order(c, b):
    s = draw(SequenceConfig(n_pairs=c, burstiness=b, labels="binary"), 4000)
    assert set(np.unique(s.labels)) == {0, 1}
    of_query = s.classes[:, :-1] == s.classes[:, -1:]
    np.testing.assert_array_equal(s.labels == s.target[:, None], of_query)
    assert near(s.target.sum(), 4000, 0.5)
    for query in range(40):  # and the order does not depend on the class
        rows = s.classes[:, -1] == query
        assert near(s.target[rows].sum(), int(rows.sum()), 0.5)


def test_random_labels_are_fresh_distinct_and_uniform():
    s = draw(SequenceConfig(n_pairs=2, labels="random"), 20_000, n_labels=5)
    of_query = s.classes[:, :-1] == s.classes[:, -1:]
    np.testing.assert_array_equal(s.labels == s.target[:, None], of_query)
    other = np.where(of_query[:, 0], s.labels[:, 1], s.labels[:, 0])
    ordered = np.bincount(5 * s.target + other, minlength=25).reshape(5, 5)
    assert (np.diag(ordered) == 0).all()
    assert fits(ordered[~np.eye(5, dtype=bool)], np.ones(20))
    for query in (0, 17):  # whatever the class
        assert fits(np.bincount(s.target[s.classes[:, -1] == query], minlength=5), np.ones(5))


@given(settings(p_bursty=1.0), st.integers(0, 2**32 - 1))
def test_random_labels_map_classes_to_labels_one_to_one_within_a_sequence(config, seed):
    assume(config.burstiness > 0)
    config = dataclasses.replace(config, labels="random")
    enough = 2 + config.n_pairs - 2 * config.burstiness  # labels: the fewest that `check` allows
    s = draw(config, 64, seed, n_labels=enough)
    assert s.labels.max() < enough
    for classes, labels, target in zip(s.classes.tolist(), s.labels.tolist(), s.target.tolist(), strict=True):
        pairs = set(zip(classes, [*labels, target], strict=True))
        assert len(pairs) == len({c for c, _ in pairs}) == len({y for _, y in pairs})


@pytest.mark.parametrize("c", [2, 4, 8])
def test_copy_query_label_overwrites_one_uniform_context_label(c):
    config = SequenceConfig(n_pairs=c, burstiness=0, rest="unique", copy_query_label=True)
    s = draw(config, 8000)
    canonical = s.classes[:, :-1]
    copied = s.labels == s.target[:, None]
    np.testing.assert_array_equal(s.target, s.classes[:, -1])
    assert (copied.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(s.labels[~copied], canonical[~copied])
    assert not (canonical == s.target[:, None]).any()
    assert fits(copied.sum(axis=0), np.ones(c))


SHARED = np.arange(40) % 10  # four classes to a label


@given(settings(distinct_labels=True), st.integers(0, 2**32 - 1))
def test_distinct_labels_one_class_per_label_within_a_sequence(config, seed):
    s = draw(config, 64, seed, labels=SHARED)
    for row in s.classes.tolist():
        assert len({SHARED[c] for c in row}) == len(set(row))


def test_without_distinct_labels_classes_of_a_sequence_do_share_them():
    s = draw(SequenceConfig(n_pairs=8, burstiness=3), labels=SHARED)
    shared = [len({SHARED[c] for c in row}) < len(set(row)) for row in s.classes.tolist()]
    assert 0.2 < np.mean(shared) < 0.9


def test_distinct_labels_leave_the_rest_iid_otherwise():
    config = SequenceConfig(n_pairs=3, burstiness=1, distinct_labels=True)
    s = draw(config, 20_000, labels=np.arange(5))  # label = class: nothing to exclude
    assert fits(np.bincount(query_count(s) - 1, minlength=2), [4, 1])


@given(settings(), st.integers(0, 2**32 - 1))
def test_same_seed_same_draws_other_seed_other_draws(config, seed):
    one, two, other = draw(config, 64, seed), draw(config, 64, seed), draw(config, 64, seed + 1)
    for f in dataclasses.fields(Sequences):
        np.testing.assert_array_equal(getattr(one, f.name), getattr(two, f.name))
    assert (one.classes != other.classes).any()
    assert (one.exemplar_ids != other.exemplar_ids).any()


def test_global_random_state_is_neither_read_nor_written():
    config = SequenceConfig(n_pairs=4, burstiness=1, p_bursty=0.5, zipf=1.0, exemplars="no_replacement")
    np.random.seed(1)
    torch.manual_seed(1)
    before = np.random.get_state()[1].copy(), np.random.get_state()[2], torch.get_rng_state()
    first = draw(config)
    assert (np.random.get_state()[1] == before[0]).all()
    assert np.random.get_state()[2] == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    np.random.seed(2)
    torch.manual_seed(2)
    np.testing.assert_array_equal(first.classes, draw(config).classes)


def refuse(message: str, sequences: SequenceConfig, **bank):
    """The sampler's own check and the whole Config refuse the setting, for this reason."""
    sizes = BankConfig(**bank)
    with pytest.raises(ConfigError) as error:
        check(
            sequences,
            n_classes=sizes.n_classes,
            n_exemplars=sizes.n_exemplars,
            n_labels=sizes.labels,
        )
    assert message in str(error.value)
    with pytest.raises(ConfigError) as error:
        Config(name="x", steps=1, bank=sizes, sequences=sequences)
    assert message in str(error.value)


def allow(sequences: SequenceConfig, **bank):
    """The Config is accepted, and sequences can really be drawn from it."""
    config = Config(name="x", steps=1, bank=BankConfig(**bank), sequences=sequences)
    classes = config.bank.n_classes
    labels = np.arange(classes) % config.bank.labels
    s = draw(sequences, 200, labels=labels, n_exemplars=config.bank.n_exemplars, n_labels=config.bank.labels)
    assert len(s) == 200
    return s


@pytest.mark.parametrize(
    ("setting", "repeats"),
    [
        ({"n_pairs": 4, "burstiness": 2}, 3),  # the query's class: b and the query
        ({"n_pairs": 8, "burstiness": 3}, 6),  # and both rest slots
        ({"n_pairs": 8, "burstiness": 3, "rest": "unique"}, 4),
        ({"n_pairs": 4, "burstiness": 2, "p_bursty": 0.5}, 5),  # plain: every slot
        ({"n_pairs": 3, "burstiness": 0}, 4),
        ({"n_pairs": 3, "burstiness": 0, "rest": "unique"}, 1),
    ],
)
def test_no_replacement_needs_as_many_exemplars_as_one_class_may_show(setting, repeats):
    config = SequenceConfig(exemplars="no_replacement", **setting)
    s = allow(config, n_classes=10, n_exemplars=repeats)
    most = max(max(collections.Counter(row).values()) for row in s.classes.tolist())
    assert most <= repeats
    if repeats > 1:
        message = f"may show {repeats} exemplars of one class in a sequence, but bank.n_exemplars="
        refuse(f"{message}{repeats - 1}", config, n_classes=10, n_exemplars=repeats - 1)


@pytest.mark.parametrize(
    ("setting", "classes"),
    [
        ({"n_pairs": 4, "burstiness": 1, "rest": "unique"}, 4),  # query, distractor, two more
        ({"n_pairs": 4, "burstiness": 0, "rest": "unique"}, 5),
        ({"n_pairs": 4, "burstiness": 2, "rest": "unique", "p_bursty": 0.5}, 5),
    ],
)
def test_unique_rest_needs_enough_classes(setting, classes):
    config = SequenceConfig(**setting)
    allow(config, n_classes=classes)
    refuse(
        f"a sequence needs {classes} distinct classes, but bank.n_classes={classes - 1}",
        config,
        n_classes=classes - 1,
    )


def test_distinct_labels_need_enough_labels():
    config = SequenceConfig(n_pairs=3, burstiness=1, rest="unique", distinct_labels=True)
    allow(config, n_classes=12, n_labels=3)
    refuse("a sequence needs 3 distinct labels, but there are 2", config, n_classes=12, n_labels=2)


def test_distinct_labels_with_iid_rest_can_repeat_a_class_and_need_only_two():
    config = SequenceConfig(n_pairs=8, burstiness=1, distinct_labels=True)
    s = allow(config, n_classes=12, n_labels=2)
    assert all(len(set(row)) == 2 for row in s.classes.tolist())


def test_random_labels_need_one_for_every_class_that_may_be_shown():
    config = SequenceConfig(n_pairs=8, burstiness=3, labels="random")
    allow(config, n_classes=12, n_labels=4)
    refuse("a sequence needs 4 distinct labels, but there are 3", config, n_classes=12, n_labels=3)
    allow(SequenceConfig(n_pairs=8, burstiness=3, labels="random"), n_classes=3)  # no more classes anyway
    allow(SequenceConfig(labels="random"), n_classes=2)
