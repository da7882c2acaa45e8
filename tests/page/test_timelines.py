"""Curves over training on the page: their axes stay put."""

import numpy as np
import pytest

from mechicl.figures.style import COLOURS
from mechicl.figures.style import NAMES as LONG
from mechicl.interventions import AblateHeads
from mechicl.page.compare import compare
from mechicl.page.payloads import comparison
from mechicl.page.runs import Library
from mechicl.page.state import View
from mechicl.page.timelines import timeline, times_range, two_timelines
from mechicl.page.view import Chunk

NAMES = ("icl", "flip", "ciwl", "iwl", "train")


@pytest.mark.parametrize("axis", ["log", "linear"])
@pytest.mark.parametrize("unit", ["sequences", "steps"])
def test_the_time_axis_holds_every_checkpoint_with_a_little_room(run, axis, unit):
    low, high = times_range([run], axis, unit)
    times = [t for s in run.steps if (t := s if unit == "steps" else run.series.sequences_seen(s)) or axis == "linear"]
    first, last = (np.log10(times[0]), np.log10(times[-1])) if axis == "log" else (times[0], times[-1])
    assert low < first < last < high
    assert high - low == pytest.approx(1.03 * (last - first))


@pytest.mark.parametrize("axis", ["log", "linear"])
@pytest.mark.parametrize("unit", ["sequences", "steps"])
def test_a_dashed_curve_that_comes_moves_no_axis(run, axis, unit):
    """Whole, in part or not at all: a range that plotly chooses itself would jump."""
    ablation = AblateHeads(heads=((0, 1),))
    points = [(s, run.series.sequences_seen(s), dict.fromkeys(NAMES, 1.0)) for s in run.steps]
    ranges = [
        (fig.layout.xaxis.range, fig.layout.yaxis.range)
        for fig in (
            timeline(run, axis, unit),
            *(timeline(run, axis, unit, 20, ablation, Chunk(n, len(points), points[:n])) for n in (1, 3, 9)),
        )
    ]
    assert len(set(ranges)) == 1
    assert ranges[0][0][1] >= times_range([run], axis, unit)[1]
    assert ranges[0][1] == (0, 1.01)


def test_a_dashed_curve_has_a_gap_where_a_checkpoint_is_missing(run):
    """A figure to take along may hold the first few of many: a line between them would be made up."""
    known = [s for s in run.steps if s not in (5, 20, 30)]
    points = [(s, run.series.sequences_seen(s), {"icl": s / 100, "flip": 0.5}) for s in known]
    fig = timeline(run, "linear", "steps", 20, AblateHeads(heads=((0, 1),)), Chunk(len(known), len(run.steps), points))
    icl, *_, train = fig.data[15:]
    assert list(icl.x) == run.steps
    assert list(icl.y) == [s / 100 if s in known else None for s in run.steps]
    assert icl.mode == "lines+markers"
    assert not icl.connectgaps
    assert not len(train.x)  # its sequences have not what is changed


def test_the_words_for_half_decay_have_room(known_series, folder):
    """On the longest axis that the phases need: the label stands behind its line, inside the plot."""
    known = Library(folder).run("known")
    low, high = timeline(known, "linear").layout.xaxis.range
    half = known.phases["icl"].half_decay
    assert half is not None
    assert half - low < 0.8 * (high - low)


def test_a_run_that_keeps_few_weights_shows_all_that_it_recorded(run):
    whole = times_range([run], "log", "steps")
    object.__setattr__(run, "steps", [0, 30])
    assert times_range([run], "log", "steps") == whole


def sides(found):
    return found.a, found.b


def letters(fig):
    """Those of the two cursors, with the side of their place that they end or begin at."""
    return [(a.text, a.xanchor) for a in fig.layout.annotations if a.text in ("A", "B")]


def test_two_runs_are_drawn_over_one_another(bench, folder):
    library = Library(folder)
    run, known = library.run("tiny"), library.run("known")
    view = library.settled(View.from_query("?run=tiny&step=60&with_run=known&with_step=5&heads=0.1"))
    fig = two_timelines(*sides(compare(bench, library, run, view)), "steps", "linear")
    assert fig.layout.xaxis.range == times_range([run, known], "linear", "steps")
    assert "xaxis2" not in fig.layout  # over one another
    lines = [t for t in fig.data if t.mode == "lines+markers"]
    for name in NAMES:
        a, b = (t for t in lines if t.legendgroup == name)
        assert (a.line.dash, b.line.dash) == ("solid", "dash")
        assert a.line.color == b.line.color == COLOURS[name]
        assert list(b.x) == known.curve(name).step.tolist()
    assert {"A: tiny", "B: known"} <= {t.name for t in fig.data}
    ablated = [t for t in fig.data if t.mode == "markers"]
    assert [t.x[0] for t in ablated] == [60, 5]
    assert all("-open" in symbol for t in ablated for symbol in t.marker.symbol)


def test_two_checkpoints_of_a_run_have_one_set_of_curves_and_two_cursors(run, bench, library, settle):
    view = settle("?step=60&with_step=20")
    fig = two_timelines(*sides(compare(bench, library, run, view)), "sequences", "log")
    assert len([t for t in fig.data if t.mode == "lines+markers"]) == len(NAMES)
    assert [s.x0 for s in fig.layout.shapes] == [run.series.sequences_seen(s) for s in (60, 20)]
    assert [t for t in fig.data if t.mode == "markers"] == []  # nothing is ablated
    assert letters(fig) == [("A", "left"), ("B", "right")]


def test_the_letters_of_one_place_stand_beside_one_another(run, bench, library, settle):
    view = settle("?step=60")  # compared with the last checkpoint, which it is
    found = compare(bench, library, run, view)
    fig = two_timelines(*sides(found), "sequences", "log")
    assert letters(fig) == [("A", "right"), ("B", "left")]
    assert found.caution == "A and B are the same checkpoint."
    assert comparison(found, view)["caution"] == found.caution
    assert compare(bench, library, run, settle("?step=20")).caution == ""


def test_heads_of_two_seeds_are_said_not_to_correspond(bench, seeds_folder):
    library = Library(seeds_folder)
    for one, other, says in (
        ("ring-s0", "ring-s1", "different seeds (0 and 1): heads with the same name do not correspond."),
        ("ring-s1", "wide-s1", ""),  # of one initial seed
    ):
        view = library.settled(View.from_query(f"?run={one}&step=5&with_run={other}"))
        caution = compare(bench, library, library.run(one), view).caution
        assert caution.endswith(says)
        assert bool(caution) == bool(says)


def test_evaluators_curves_differ_in_more_than_hue(run):
    fig = timeline(run)
    lines = [t for t in fig.data if t.name in LONG.values()]
    assert len({t.marker.symbol for t in lines}) == len(lines) == len(NAMES)
    named = {a.text for a in fig.layout.annotations}
    assert {LONG[name].split(" (")[0] for name in NAMES} <= named


def test_one_checkpoint_alone_has_an_axis_too(run):
    object.__setattr__(run, "steps", [0])
    object.__setattr__(run, "metrics", run.metrics[run.metrics.step == 0])
    for axis in ("log", "linear"):
        low, high = times_range([run], axis, "steps")
        assert low < high
