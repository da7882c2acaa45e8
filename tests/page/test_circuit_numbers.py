"""Circuits on the page: what Python's tables say, in pieces, from what is kept where it is kept."""

from __future__ import annotations

import math
import shutil

import pytest

from mechicl.errors import SeriesError
from mechicl.measures.cache import kept
from mechicl.measures.circuits import circuit_of, circuit_shares
from mechicl.measures.path_ablation import path_effects
from mechicl.page import circuit_numbers
from mechicl.page.answers import Answers
from mechicl.page.circuit_numbers import circuit, drawn_circuit, has_circuits
from mechicl.page.runs import Library
from mechicl.page.view import Workbench
from mechicl.series import open_series

LONG = 600.0  # seconds: all of it in one answer


@pytest.fixture(scope="module")
def ring(seeds_folder):
    """A run whose circuit is written by hand, at step 5."""
    return open_series(seeds_folder / "ring-s0")


@pytest.fixture(scope="module")
def known(ring):
    """Answers of one page on it: what one test has had computed, the next one finds."""
    return begun(ring)


def begun(series):
    """Answers of a new page."""
    return Answers(Library(series.root.parent), Workbench(), series.name)


def at(answers, query, seconds=LONG):
    run, view = answers.view(query)
    return circuit(answers.bench, run, view, seconds)


def test_the_circuit_its_effects_and_its_shares_are_those_of_the_tables(known, ring):
    found = at(known, "step=5&threshold=0.05")
    chosen = path_effects(ring, [5], ["icl"], split=1, progress=False)
    assert found.paths == circuit_of(chosen, 5, "icl", 0.05)
    assert "L0H1->L1H2.k" in found.paths  # as it is written by hand
    effects = path_effects(ring, [5], ["icl"], progress=False).set_index("intervention")
    assert found.effects is not None
    mine = found.effects.set_index("intervention")
    assert mine.effect.equals(effects.effect)
    assert mine.effect_low.equals(effects.effect_low)
    table = circuit_shares(ring, [5], ["icl"], threshold=0.05, progress=False).set_index("intervention")
    assert found.random == found.of_random == 8
    for name, form in (("faithfulness", "{} alone"), ("completeness", "without {}")):
        share, row = found.shares[name], table.loc[form.format("circuit")]
        assert (share.value, share.low, share.high) == pytest.approx((row.share, row.share_low, row.share_high))
        assert share.random == pytest.approx([table.share[form.format(f"random {j}")] for j in range(8)], nan_ok=True)
    assert not found.left
    assert found.steps == 3


def test_it_comes_in_pieces_and_what_takes_longer_comes_last(ring):
    known, seen = begun(ring), []
    for _ in range(200):
        seen.append(at(known, "step=5", seconds=0.0))
        if not seen[-1].left:
            break
    states = [(one.effects is not None, len(one.shares), one.random, one.steps) for one in seen]
    assert states == sorted(states), "what is there stays"
    assert states[0][0] is False
    assert states[-1] == (True, 2, 8, 3)
    assert any(one.shares and one.random == 0 for one in seen)  # the circuit's own, before those of random ones
    assert not any(one.steps > 1 for one in seen if one.random < 8)  # this checkpoint before the others


def test_while_somebody_waits_for_other_numbers_it_computes_one_thing_at_most(ring):
    known = begun(ring)
    run, view = known.view("step=5")
    with known.bench.turns.hurried():
        assert circuit(known.bench, run, view, LONG).effects is None
        assert circuit(known.bench, run, view, LONG).effects is not None


def test_a_threshold_or_an_evaluator_alone_cuts_no_path_again(known, monkeypatch):
    at(known, "step=5")
    monkeypatch.setattr("mechicl.measures.path_ablation._measured", lambda *a, **k: pytest.fail("cut again"))
    many, few = at(known, "step=5&threshold=0.01"), at(known, "step=5&threshold=0.3")
    assert set(few.paths) == set(many.paths)  # written by hand: all or nothing
    assert at(known, "step=5&threshold=0.7").paths == ()
    assert few.limit == many.limit  # lines stay as wide


def test_a_circuit_of_no_path_has_no_shares(known):
    found = at(known, "step=5&threshold=900")
    assert found.paths == ()
    assert found.shares == {}
    assert not found.left


def test_where_there_is_nothing_to_share_no_random_circuit_is_measured(known):
    found = at(known, "step=10&threshold=0.001")  # the lookup model's ICL is at chance, with every path cut or none
    if found.paths:
        assert all(math.isnan(share.value) for share in found.shares.values())
    assert (found.random, found.of_random, found.left) == (0, 0, False)


def test_the_kind_is_that_by_which_the_page_cuts_a_path(known, ring):
    run, view = known.view("step=5&kind=mean")
    found = drawn_circuit(known.bench, run, view)
    table = path_effects(ring, [5], ["icl"], kind="mean", progress=False)
    assert found.kind == "mean"
    assert found.effects is not None
    assert list(found.effects.effect) == list(table.effect)
    assert at(known, "step=5&kind=resample", 0.0).kind == "zero"  # no kind for paths


def test_a_table_that_was_left_by_the_analysis_is_read(ring, tmp_path, monkeypatch):
    shutil.copytree(ring.root, tmp_path / "ring")
    copied = open_series(tmp_path / "ring")
    monkeypatch.setattr("mechicl.measures.cache._WORTH", 1)  # elsewhere tests keep nothing
    assert kept(lambda: path_effects(copied, None, ["icl"], progress=False)) is None
    for split in (0, 1):
        path_effects(copied, None, ["icl"], split=split, progress=False)
    answers = begun(copied)
    monkeypatch.setattr("mechicl.measures.path_ablation._measured", lambda *a, **k: pytest.fail("cut again"))
    run, view = answers.view("step=5")
    assert drawn_circuit(answers.bench, run, view).steps == len(copied.steps)


def test_a_model_without_paths_has_no_circuit(known, monkeypatch):
    run, view = known.view("")
    assert has_circuits(run)
    monkeypatch.setattr(circuit_numbers, "MOST", 10)
    assert not has_circuits(run)
    with pytest.raises(SeriesError, match="no paths that can be cut, or more than 10"):
        drawn_circuit(known.bench, run, view)


@pytest.mark.slow
def test_other_tasks_need_no_branch_of_their_own(token_series):
    answers = begun(token_series)
    run, view = answers.view("")
    found = drawn_circuit(answers.bench, run, view)
    assert found.effects is not None
    assert set(found.effects.evaluator) == {run.leading}
    assert found.paths
