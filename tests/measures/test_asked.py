"""One or several of what there is: steps as numbers or arrays, names as one or as a list."""

import re

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


def test_a_path_is_no_series(tiny_series):
    path = str(tiny_series.root)
    for function in (
        mechicl.attention_scores,
        mechicl.head_effects,
        mechicl.ablate_mlps,
        mechicl.logit_attribution,
        mechicl.series_phases,
        mechicl.evaluator_curves,
        mechicl.show_attention,
        mechicl.report,
    ):
        for given in (path, tiny_series.root):
            with pytest.raises(ConfigError) as error:
                function(given)
            name = function.__name__
            assert str(error.value) == f"{name}({path!r}): open it first: {name}(mechicl.open_series({path!r}))."
    for function in (mechicl.seed_bands, mechicl.seed_curves, mechicl.phase_table):
        with pytest.raises(ConfigError, match=rf"takes several series: .* {function.__name__}\(\[series\]\)"):
            function(tiny_series)
        for given in (path, [path]):
            with pytest.raises(ConfigError, match=r"open '.*' first"):
                function(given)
    with pytest.raises(ConfigError, match="takes one series, but was given several"):
        mechicl.attention_scores([tiny_series])


def test_nothing_asked_for_is_refused(tiny_series):
    with pytest.raises(ConfigError, match=r"evaluators=\[\]: expected at least one, such as 'train, icl, flip'"):
        tiny_series.evaluate([60], [])
    with pytest.raises(ConfigError, match="expected at least one head"):
        tiny_series.evaluate([60], ["icl"], mechicl.AblateHeads(heads=()), n=8)


def test_one_metric_is_as_a_list_of_one(tiny_series):
    one = tiny_series.evaluate([60], "icl", n=8, metrics="in_context_acc")
    assert one.equals(tiny_series.evaluate([60], "icl", n=8, metrics=["in_context_acc"]))
    with pytest.raises(ConfigError, match="'in_context'"):
        tiny_series.evaluate([60], "icl", n=8, metrics="in_context")


def test_what_was_not_recorded_or_measured_is_refused(tiny_series):
    with pytest.raises(SeriesError, match="recorded no evaluator 'foo'; it has train, icl"):
        tiny_series.curve("foo", "acc")
    with pytest.raises(SeriesError, match="recorded no 'foo' of 'icl'; it has in_context_acc"):
        tiny_series.curve("icl", "foo")
    scores = mechicl.attention_scores(tiny_series, 60, "flip", n=8, progress=False)
    with pytest.raises(ConfigError, match=r"metric='foo': the table has no such metric; it has .*previous_token"):
        mechicl.standing_out(scores, "foo", 60)
    with pytest.raises(ConfigError, match="step=1400: the table has no such step; it has 60"):
        mechicl.standing_out(scores, "previous_token", 1400)


def test_a_report_takes_out_as_the_command_line_does(tiny_series, tmp_path):
    with pytest.raises(ConfigError, match="both are the file: give one"):
        mechicl.report(tiny_series, tmp_path / "a.html", out=tmp_path / "b.html")
    with pytest.raises(SeriesError, match="Choose another file with --out FILE"):
        mechicl.report(tiny_series, out="/proc/nowhere/b.html")


@pytest.mark.parametrize("without", [("L0H1",), "L0H1", (0, 1)])
def test_a_branch_without_what_is_no_head(tiny_series, without):
    with pytest.raises(ConfigError, match=r"without=.*expected \(layer, head\) pairs"):
        mechicl.branch(tiny_series, 40, without=without)


@pytest.mark.parametrize("lacking", ["step", "metric", "value"])
def test_a_row_of_a_table_that_lacks_something_is_refused(tiny_series, lacking):
    row = {"step": 5, "metric": "x", "value": 1.5, "n": 3}
    with pytest.raises(ConfigError, match=f"a row has no '{lacking}'"):
        mechicl.measures.tidy(tiny_series, [{k: v for k, v in row.items() if k != lacking}])


def test_too_many_sequences_are_refused_before_they_are_drawn(tiny_series):
    said = r"n=99999999: one checkpoint of tiny needs about .* GiB of activations, .*: pass at most n=(\d+)\."
    with pytest.raises(ConfigError, match=said) as error:
        tiny_series.evaluate([60], ["icl"], n=99_999_999)
    most = int(re.search(said, str(error.value)).group(1))
    assert 10_000 < most < 99_999_999
    with pytest.raises(ConfigError, match=r"so many sequences of 'icl' take about .* GiB, more than 1 GiB"):
        mechicl.attention_scores(tiny_series, 60, "icl", n=99_999_999, progress=False)
