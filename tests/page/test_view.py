"""The page's numbers are `mechicl.evaluate`'s, whatever is ablated and in whatever order they are asked for."""

import threading

import pytest

from mechicl.evaluators import EVALUATORS
from mechicl.interventions import AblateHeads
from mechicl.measures.ablation import evaluate
from mechicl.page import view as module
from mechicl.page.state import View
from mechicl.page.view import Workbench, shown, table

KINDS = ("zero", "mean", "resample", "pattern_preserving", "value_preserving")


def expected(series, step, ablation):
    """(evaluator, intact or ablated) -> (value, low, high, n), from mechicl.evaluate."""
    rows = evaluate(series, [step], ablate=ablation, progress=False)
    rows = rows[[EVALUATORS[e].primary_metric == m for e, m in zip(rows.evaluator, rows.metric, strict=True)]]
    return {
        (row.evaluator, "intact" if row.intervention == "intact" else "ablated"): (
            row.value,
            row.ci_low,
            row.ci_high,
            row.n,
        )
        for row in rows.itertuples()
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("heads", [((0, 1),), ((0, 0), (1, 1)), ((1, 0), (1, 1))])
def test_numbers_are_those_of_evaluate(run, bench, kind, heads):
    ablation = AblateHeads(heads=heads, kind=kind)
    want = expected(run.series, 60, ablation)
    effects = bench.effects(run, 60, ablation)
    assert [e.evaluator for e in effects] == ["icl", "flip", "ciwl", "iwl", "train"]
    for e in effects:
        for side in ("intact", "ablated"):
            number = getattr(e, side)
            assert (number.value, number.low, number.high, number.n) == pytest.approx(want[e.evaluator, side])
        assert e.change.value == pytest.approx(e.ablated.value - e.intact.value)


def test_nothing_ablated_leaves_nothing_to_compare(run, bench):
    assert all(e.ablated is None and e.change is None for e in bench.effects(run, 60, None))


def test_nothing_is_computed_twice(run, bench, monkeypatch):
    ablation = AblateHeads(heads=((0, 1),))
    first = bench.effects(run, 60, ablation)
    monkeypatch.setattr(module, "intact", None)
    monkeypatch.setattr(module, "scores_under", None)
    assert bench.effects(run, 60, ablation) == first
    assert bench.effects(run, 60, AblateHeads(heads=((0, 1),), kind="zero")) == first


def test_a_curve_comes_in_pieces_and_is_the_whole_curve(run, bench):
    ablation = AblateHeads(heads=((0, 1), (1, 1)), kind="mean")
    points, at, pieces = [], 0, 0
    while True:
        chunk = bench.curve(run, ablation, at, seconds=0)
        assert chunk.next > at
        points += chunk.points
        at, pieces = chunk.next, pieces + 1
        if at == chunk.total:
            break
    assert pieces == chunk.total == 9
    assert sorted(p[0] for p in points) == run.steps
    for step, sequences, values in points:
        assert sequences == step * 16
        want = expected(run.series, step, ablation)
        assert values == pytest.approx({name: want[name, "ablated"][0] for name in shown(run)})
    known = bench.known_curve(run, ablation)
    assert (known.next, known.points) == (9, sorted(points))
    assert bench.known_curve(run, AblateHeads(heads=((0, 0),))).points == []


def test_a_curve_makes_way_for_a_reader_who_waits(run, bench):
    ablation = AblateHeads(heads=((0, 1),))
    assert bench.curve(run, ablation, 0, seconds=0).next == 1
    with bench.turns.hurried():
        assert bench.curve(run, ablation, 1, seconds=60).next == 1
    assert bench.curve(run, ablation, 1, seconds=60).next == 9


def test_what_is_prepared_is_computed_once_and_never_while_a_reader_waits(run, bench, monkeypatch):
    ablation = AblateHeads(heads=((0, 1),))
    with bench.turns.hurried():
        assert bench.prepare(run, 60, ablation) == 0
    want = Workbench().effects(run, 60, ablation)
    assert bench.prepare(run, 60, ablation) == 5
    monkeypatch.setattr(bench, "_answer", None)  # nothing more is computed
    assert bench.effects(run, 60, ablation) == want


@pytest.mark.parametrize("kind", ["zero", "mean", "resample", "pattern_preserving", "value_preserving"])
def test_starting_from_kept_activations_gives_what_a_whole_pass_gives(run, kind):
    ablation = AblateHeads(heads=((0, 1), (1, 0)), kind=kind)
    kept, forgetful = Workbench(), Workbench(intact=0)
    for bench in (kept, forgetful):
        bench.effects(run, 60, None)
    assert len(kept._intact) == 5
    assert len(forgetful._intact) == 0
    assert kept.effects(run, 60, ablation) == forgetful.effects(run, 60, ablation)


def test_two_users_at_once_get_their_own_numbers(run):
    bench = Workbench()
    choices = [AblateHeads(heads=((la, h),), kind=kind) for la in (0, 1) for h in (0, 1) for kind in ("zero", "mean")]
    want = [Workbench().effects(run, 60, c) for c in choices]
    got: dict[int, list] = {}

    def ask(i: int) -> None:
        got[i] = bench.effects(run, 60, choices[i % len(choices)])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(2 * len(choices))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(got[i] == want[i % len(choices)] for i in got)
    assert len(got) == 16
    assert not bench.awaited


def test_memory_is_bounded(run):
    bench = Workbench(results=3000, weights=1)
    for step in run.steps:
        bench.effects(run, step, AblateHeads(heads=((0, 0),)))
    assert len(bench.results) <= 5
    assert len(bench._weights) == 0


def test_the_table_to_take_along_has_the_rows_of_evaluate(run, bench):
    ablation = AblateHeads(heads=((0, 1),))
    found = table(bench, run, [20, 60], ablation)
    assert len(found) == 2 * 5 * 2
    assert set(found.run) == {"tiny"}
    want = {step: expected(run.series, step, ablation) for step in (20, 60)}
    for row in found.itertuples():
        side = "intact" if row.intervention == "intact" else "ablated"
        assert (row.value, row.ci_low, row.ci_high, row.n) == pytest.approx(want[row.step][row.evaluator, side])
        assert row.baseline == ("" if side == "intact" else "0")
    assert len(table(bench, run, [60], None)) == 5


def test_the_state_of_one_view_is_not_in_another(run, bench, settle):
    a, b = settle("?step=20&heads=0.0"), settle("?step=60")
    bench.effects(run, a.step, a.intervention)
    assert bench.effects(run, b.step, b.intervention)[0].ablated is None
    assert isinstance(b, View)
