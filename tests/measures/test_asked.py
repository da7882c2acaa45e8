"""One or several of what there is: steps as numbers or arrays, names as one or as a list."""

import numpy as np
import pytest

import mechicl
from mechicl.errors import ConfigError, SeriesError
from mechicl.measures import logit_attribution, seed_bands
from mechicl.measures.asked import chosen_names, chosen_sets, chosen_steps


@pytest.mark.parametrize("steps", [20, np.int64(20), np.array(20), [20], (20, 20), {20}, np.array([20]), iter([20])])
def test_one_step_is_as_a_list_of_one(tiny_series, steps):
    assert chosen_steps(tiny_series, steps) == [20]


def test_steps_are_all_or_those_in_order(tiny_series):
    assert chosen_steps(tiny_series, None) == tiny_series.steps
    assert chosen_steps(tiny_series, [60, 0]) == [0, 60]


@pytest.mark.parametrize(("steps", "said"), [(7, "no step 7|no checkpoint"), ([0, 7], "7"), ([], "no checkpoints")])
def test_steps_that_are_not_there_are_refused(tiny_series, steps, said):
    with pytest.raises(SeriesError, match=said):
        chosen_steps(tiny_series, steps)


def test_a_step_in_words_is_refused_with_the_number_it_means(tiny_series):
    with pytest.raises(ConfigError, match="Write step=20"):
        chosen_steps(tiny_series, "20")


@pytest.mark.parametrize("names", ["icl", ["icl"], ("icl",), iter(["icl"])])
def test_one_name_is_as_a_list_of_one(tiny_series, names):
    assert chosen_names(names, ["flip"]) == ["icl"]


def test_names_are_the_default_ones_or_those_that_are_given(tiny_series):
    assert chosen_names(None, ("flip", "icl")) == ["flip", "icl"]
    assert [*chosen_sets(tiny_series, None, ["flip"], 8)] == ["flip"]
    assert {name: len(batch) for name, batch in chosen_sets(tiny_series, ["icl", "iwl"], [], 8).items()} == {
        "icl": 8,
        "iwl": 8,
    }


@pytest.mark.parametrize("names", ["nobody", ["icl", "nobody"], 3])
def test_names_that_are_not_there_are_refused(tiny_series, names):
    with pytest.raises(ConfigError, match="3" if names == 3 else "nobody"):
        chosen_sets(tiny_series, names, [], 8)


def test_every_measure_takes_one_evaluator_by_its_name(tiny_series):
    for measured in (mechicl.attention_scores, logit_attribution, mechicl.head_effects):
        assert measured(tiny_series, 60, "flip", n=8, progress=False).equals(
            measured(tiny_series, [60], ["flip"], n=8, progress=False)
        )
    assert seed_bands([tiny_series], "flip").equals(seed_bands([tiny_series], ["flip"]))
