"""The page's figures: their axes stay put, their numbers are written as beside them."""

import numpy as np
import pytest

from mechicl.app.figures import heads_figure, logits_figure, timeline, times_range, two_timelines
from mechicl.app.heads import MEASURES
from mechicl.app.inside import logit_view
from mechicl.app.texts import signed
from mechicl.app.view import Chunk, Number
from mechicl.interventions import AblateHeads

NAMES = ("icl", "flip", "ciwl", "iwl", "train")


@pytest.mark.parametrize("axis", ["log", "linear"])
@pytest.mark.parametrize("unit", ["sequences", "steps"])
def test_the_time_axis_holds_every_checkpoint_with_a_little_room(run, axis, unit):
    low, high = times_range([run], axis, unit)
    times = [t for s in run.steps if (t := s if unit == "steps" else run.series.sequences(s)) or axis == "linear"]
    first, last = (np.log10(times[0]), np.log10(times[-1])) if axis == "log" else (times[0], times[-1])
    assert low < first < last < high
    assert high - low == pytest.approx(1.03 * (last - first))


@pytest.mark.parametrize("axis", ["log", "linear"])
@pytest.mark.parametrize("unit", ["sequences", "steps"])
def test_a_dashed_curve_that_comes_moves_no_axis(run, axis, unit):
    """Whole, in part or not at all: a range that plotly chooses itself would jump."""
    ablation = AblateHeads(heads=((0, 1),))
    points = [(s, run.series.sequences(s), dict.fromkeys(NAMES, 1.0)) for s in run.steps]
    ranges = [
        (fig.layout.xaxis.range, fig.layout.yaxis.range)
        for fig in (timeline(run, axis, unit),
                    *(timeline(run, axis, unit, 20, ablation, Chunk(n, len(points), points[:n])) for n in (1, 3, 9)))
    ]  # fmt: skip
    assert len(set(ranges)) == 1
    assert ranges[0][0][1] >= times_range([run], axis, unit)[1]
    assert ranges[0][1] == (0, 1.01)


def test_the_words_for_half_decay_have_room(known_series, folder):
    """On the longest axis that the phases need: the label stands behind its line, inside the plot."""
    from mechicl.app.runs import Library

    known = Library(folder).run("known")
    low, high = timeline(known, "linear").layout.xaxis.range
    half = known.phases["icl"].half_decay
    assert half is not None
    assert half - low < 0.8 * (high - low)


def test_a_run_that_keeps_few_weights_shows_all_that_it_recorded(run):
    whole = times_range([run], "log", "steps")
    object.__setattr__(run, "steps", [0, 30])
    assert times_range([run], "log", "steps") == whole


def test_two_runs_share_their_time_axis(run, folder):
    from mechicl.app.runs import Library

    known = Library(folder).run("known")
    fig = two_timelines(run, known, "steps", "linear", (60, 5))
    assert fig.layout.xaxis.range == fig.layout.xaxis2.range == times_range([run, known], "linear", "steps")


def test_one_checkpoint_alone_has_an_axis_too(run):
    object.__setattr__(run, "steps", [0])
    object.__setattr__(run, "metrics", run.metrics[run.metrics.step == 0])
    for axis in ("log", "linear"):
        low, high = times_range([run], axis, "steps")
        assert low < high


def test_numbers_in_figures_are_written_as_on_the_page(run, bench, settle):
    found = logit_view(bench, run, settle("?step=60&sequence=2&heads=0.1"))
    fig = logits_figure(found)
    assert [[str(t) for t in row] for row in fig.data[0].text] == [[signed(v, 2) for v in row] for row in found.intact]
    assert all(trace.texttemplate == "%{text}" for trace in fig.data)
    grid = heads_figure({(0, 1): Number(-0.31, -0.4, -0.2, 50)}, 1, 2, MEASURES["effect_icl"], "")
    assert list(grid.data[0].text[0]) == ["", "−.31"]
    line = timeline(run).data[2]
    assert line.text[0] == f"{line.y[0]:.3f}".lstrip("0")
    assert timeline(run).layout.yaxis.ticktext == ("0", ".2", ".4", ".6", ".8", "1")
