"""Directions that carry an answer, found at each step and taken off there."""

import pytest

from mechicl.errors import ConfigError
from mechicl.interventions import AblateHeads, Together
from mechicl.measures import AblateCarried
from mechicl.measures.subspace_ablation import without_directions
from mechicl.measures.subspaces import carried
from mechicl.models.params import pack
from mechicl.tasks.markov.batch import MarkovBatch


def by_hand(series, step, n=None):
    basis = carried(series, pack(series.weights(step)), "flip", n, split=1)
    return without_directions(basis, series.config.model, "flip")


def test_each_step_has_its_own_directions(known_series):
    own = AblateCarried(variation="flip", n=100)
    table = known_series.evaluate([5, 10], ["icl", "flip"], own, n=100, metrics=None)
    for step in (5, 10):
        want = known_series.evaluate([step], ["icl", "flip"], by_hand(known_series, step, 100), n=100, metrics=None)
        got = table[table.step == step]
        assert got.value.tolist() == want.value.tolist()
        assert got.intervention.tolist() == want.intervention.tolist()
    assert by_hand(known_series, 5, 100) != by_hand(known_series, 10, 100)
    icl = table[(table.step == 5) & (table.evaluator == "icl")].set_index("intervention").value
    assert icl["intact"] == 1
    assert icl.drop("intact").item() < 0.7  # without what carries the answer


def test_it_works_sequence_by_sequence_and_with_others(known_series):
    own, head = AblateCarried(variation="flip"), AblateHeads(heads=((0, 1),))
    want = known_series.answers(5, "icl", by_hand(known_series, 5))
    assert (known_series.answers(5, "icl", own) == want).all()
    both = Together(parts=(head, own))
    assert both.of_step
    assert both.at_step(known_series, 5) == Together(parts=(head, by_hand(known_series, 5)))
    assert not head.of_step
    assert head.at_step(known_series, 5) is head


def test_what_it_cannot_be_is_said(known_series):
    with pytest.raises(ConfigError, match="expected one of flip, ciwl, iwl"):
        AblateCarried(variation="icl").check_on(known_series.evaluation_set("icl", 4))
    with pytest.raises(ConfigError, match=r"no evaluator named 'filp'.* Did you mean 'flip'"):
        AblateCarried(variation="filp")
    with pytest.raises(ConfigError, match=r"\.at_step\(series, step\)"):
        known_series.model(5).hooks_for(AblateCarried(variation="flip"), known_series.evaluation_set("icl", 4))
    other = object.__new__(MarkovBatch)
    with pytest.raises(ConfigError, match=r"no variation 'flip' .*: it has none"):
        AblateCarried(variation="flip").check_on(other)
