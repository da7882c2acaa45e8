"""A measure over training: what its table says, against chance, over seeds, in pieces."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mechicl import measures
from mechicl.errors import SeriesError
from mechicl.measures.attention import attention_scores
from mechicl.page.answers import Answers, told
from mechicl.page.measured import cells, of_parts
from mechicl.page.runs import Library
from mechicl.page.state import View, ViewError
from mechicl.page.tables import track_table
from mechicl.page.track_figure import seed_band, track_figure
from mechicl.page.track_panel import track_answer, track_picture
from mechicl.page.tracked import LARGEST, Track, track
from mechicl.page.view import Workbench

LONG = 600.0


@pytest.fixture(scope="module")
def answers(seeds_folder):
    return Answers(Library(seeds_folder), Workbench(), "ring-s0")


def at(answers, query, seconds=LONG, others=()):
    run, view = answers.view(query)
    return track(answers.bench, run, [answers.library.run(name) for name in others], view, seconds)


def test_scores_of_heads_are_those_of_the_table_with_what_uniform_attention_has(answers):
    found = at(answers, "score=induction_strength&items=L1H2,L0H1")
    series = answers.library.run("ring-s0").series
    table = attention_scores(series, evaluators=["icl"], progress=False)
    table = table[table.metric == "induction_strength"]
    assert found.shown == ["L1H2", "L0H1"]
    for item, (layer, head) in {"L1H2": (1, 2), "L0H1": (0, 1)}.items():
        rows = table[(table.layer == layer) & (table["head"] == head)].set_index("step")
        for mine, theirs in ((found.value, "value"), (found.low, "ci_low"), (found.chance, "uniform")):
            assert list(mine.index) == [0, 5, 10]
            assert np.allclose(mine[item].to_numpy(), rows[theirs].to_numpy(), equal_nan=True)
    assert (found.done, found.total) == (3, 3)
    largest = found.value[[name for name in found.value if name != LARGEST]]
    away = (largest - found.chance[largest.columns]).abs()
    furthest = [largest[name].loc[step] for step, name in zip(away.index, away.idxmax(axis=1), strict=True)]
    assert furthest == list(found.value[LARGEST])


def test_figure_and_table_to_take_along_are_whole_or_say_what_is_missing(seeds_folder):
    answers = Answers(Library(seeds_folder), Workbench(), "ring-s0")
    query = "score=induction_strength&items=L1H2"
    run, view = answers.view(query)
    fig, says = track_picture(answers, run, view, 0.0)
    assert says.endswith("; 1 of 3 checkpoints")
    assert fig.data[0].mode == "markers"  # no line over checkpoints that are missing
    with pytest.raises(SeriesError, match=r"2 of 3 checkpoints .*`mechicl measure .*ring-s0 attention_"):
        track_table(answers.bench, run, view, 0.0)
    found = at(answers, query)
    table = track_table(answers.bench, run, view)
    assert len(table) == 3 * 8
    mine = table[table["item"] == "L1H2"].set_index("step")
    for column, values in (("value", found.value), ("ci_low", found.low), ("chance", found.chance)):
        assert np.array_equal(mine[column], values["L1H2"], equal_nan=True)
    assert (set(table.metric), set(table.n)) == ({"induction_strength"}, {100})
    fig, says = track_picture(answers, run, view)
    assert "lines+markers" in [trace.mode for trace in fig.data if trace.meta == "L1H2"]
    assert [trace.meta for trace in fig.data if trace.meta] == ["L1H2", "chance"]
    assert says == "share of attention; intact; n = 100 ICL sequences"


def test_what_was_read_from_tables_is_not_read_again(answers, monkeypatch):
    """A panel asks for all checkpoints with every piece."""
    first = at(answers, "track=attention_scores")
    monkeypatch.setattr("mechicl.page.measured.cells", lambda *_: pytest.fail("read again"))
    again = at(answers, "track=attention_scores")
    assert again.value.equals(first.value)


@pytest.mark.slow
def test_every_measure_of_parts_that_applies_has_curves_and_says_what_chance_is(answers):
    assert {"attention_scores", "head_effects", "path_effects", "path_composition"} <= set(of_parts())
    assert "phase_table" not in of_parts()
    effects = at(answers, "track=head_effects")
    assert effects.items[0] in effects.shown
    assert (effects.chance.to_numpy() == 0).all()
    assert effects.change
    paths = at(answers, "track=path_composition&items=L0H1->L1H2.k")
    table = measures.path_composition(answers.library.run("ring-s0").series, progress=False)
    rows = table[table.intervention == "L0H1->L1H2.k"]
    assert np.array_equal(paths.value["L0H1->L1H2.k"], rows.value, equal_nan=True)
    assert np.array_equal(paths.chance["L0H1->L1H2.k"], rows.random, equal_nan=True)
    parts = at(answers, "track=logit_attribution&items=embed,L0H1")
    assert len(parts.value) == 3


def test_it_comes_in_pieces_this_checkpoint_first(seeds_folder):
    answers = Answers(Library(seeds_folder), Workbench(), "ring-s0")
    first = at(answers, "step=5", 0.0)
    assert list(first.value.index) == [5]
    assert (first.done, first.total) == (1, 3)
    assert track_answer(answers, "step=5", 0.0)["left"]
    assert not track_answer(answers, "step=5", LONG)["left"]


def test_other_seeds_are_a_band_from_the_lowest_to_the_highest(answers):
    query = "score=induction_strength&items=L1H2"
    found = at(answers, query, others=["ring-s1", "ring-s2"])
    assert (found.done, found.total) == (9, 9)
    run = answers.library.run("ring-s0")
    band = seed_band(found, run, "L1H2")
    assert band is not None
    each = [at(answers, f"run=ring-s{seed}&{query}").value["L1H2"].to_numpy() for seed in range(3)]
    assert np.allclose(band.low, np.min(each, axis=0))
    assert np.allclose(band["median"], np.median(each, axis=0))
    assert np.allclose(band.high, np.max(each, axis=0))
    filled = [trace for trace in track_figure(found, run).to_plotly_json()["data"] if trace.get("fill") == "tonexty"]
    assert len(filled) == 1
    together = track_answer(answers, "run=ring-s0&seeds=ring-s0,ring-s1,ring-s2", LONG)
    assert [one["item"] for one in together["items"] if one["shown"]] == [LARGEST]
    assert "3 seeds" in together["note"]


def test_the_panel_says_of_what_model_how_many_sequences_and_in_what_unit(answers):
    said = track_answer(answers, "step=5&heads=L0H1&evaluator=flip&score=induction_strength", LONG)
    assert said["note"].startswith(
        "Attention scores: share of attention. In the intact model, n = 100 Flip sequences. "
        "Compare with: uniform attention. "
    )
    axis = said["figure"]["layout"]["yaxis"]["title"]["text"]
    assert axis == "induction strength (share of attention)"


@pytest.mark.parametrize(
    ("name", "value", "against"),
    [
        ("head_effects", "ablated minus intact, with a paired interval", "0; random sets of heads"),
        ("path_composition", "composition score of the weights", "random matrices of the same singular values"),
    ],
)
def test_what_is_said_of_a_measure_names_no_columns(name, value, against):
    nothing = pd.DataFrame()
    found = Track(of_parts()[name], "acc", ["acc"], [], [], *[nothing] * 4)
    assert (found.value_is, found.beside) == (value, against)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("track=nothing", "expected a measure of heads, components or paths: attention_scores"),
        ("score=nothing", "attention_scores has previous_token"),
        ("items=L7H7", "items=L7H7: attention_scores has largest"),
    ],
)
def test_what_is_not_there_is_said(answers, query, why):
    with pytest.raises(ViewError, match=why):
        at(answers, query)


def test_a_measure_that_is_of_other_tasks_says_so(answers):
    said = told("track", "", lambda: track_answer(answers, "track=copying_scores", LONG))
    assert "copying scores need a task of tokens" in said["error"]


def test_a_link_holds_measure_score_and_items():
    query = "run=x&track=path_effects&score=in_context_acc&items=L0H1-%3EL1H2.k,embed-%3Eout"
    assert View.from_query(query).items == ("L0H1->L1H2.k", "embed->out")
    assert View.from_query(View.from_query(query).query()) == View.from_query(query)
    for wrong in ("items=<b>", "score=a%20b", "items=" + ",".join(f"L0H{i}" for i in range(9))):
        with pytest.raises(ViewError, match="expected"):
            View.from_query(f"run=x&{wrong}")


def test_rows_without_an_item_are_left_out(answers):
    series = answers.library.run("ring-s0").series
    table = measures.head_effects(series, [5], ["icl"], progress=False)
    found = cells(table, of_parts()["head_effects"])["in_context_acc"]
    assert sorted(found.index) == sorted(f"L{la}H{h}" for la in range(2) for h in range(4))
