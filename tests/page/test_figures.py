"""The page's figures: their numbers are written as beside them."""

from mechicl.page.figures import effects_figure, heads_figure, logits_figure
from mechicl.page.heads import MEASURES, Grid
from mechicl.page.inside import logit_view
from mechicl.page.numbers import Number
from mechicl.page.texts import signed
from mechicl.page.timelines import timeline
from mechicl.page.view import Effect

NAMES = ("icl", "flip", "ciwl", "iwl", "train")


def test_numbers_in_figures_are_written_as_on_the_page(run, bench, settle):
    found = logit_view(bench, run, settle("?step=60&sequence=2&heads=0.1"))
    fig = logits_figure(found)
    assert [[str(t) for t in row] for row in fig.data[0].text] == [[signed(v, 2) for v in row] for row in found.intact]
    assert all(trace.texttemplate == "%{text}" for trace in fig.data)
    values = {(0, 1): Number(-0.31, -0.4, -0.2, 50)}
    (grid,) = heads_figure(Grid(MEASURES["effect_icl"], values, -0.5, 0.0, 0.5), 1, 2, "").data
    assert list(grid.text[0]) == ["", "−.31"]
    assert (grid.zmin, grid.zmax) == (-0.5, 0.5)
    line = timeline(run).data[2]
    assert line.text[0] == f"{line.y[0]:.3f}".lstrip("0")
    assert timeline(run).layout.yaxis.ticktext == ("0", ".2", ".4", ".6", ".8", "1")


def test_an_axis_of_nats_goes_as_far_as_its_values_and_intervals():
    gain = Effect("icl", 0.5, Number(0.4, 0.3, 0.5, 50), Number(1.4, 1.2, 1.6, 50), Number(1.0, 0.9, 1.1, 50))
    axis = effects_figure([gain], "one", "").layout.xaxis
    assert axis.range[1] > 1.6
    assert axis.tickvals is None
    accuracy = Effect("icl", 0.5, Number(0.4, 0.3, 0.5, 50))
    axis = effects_figure([accuracy], "one", "").layout.xaxis
    assert (axis.range, axis.ticktext) == ((-0.02, 1.02), ("0", ".2", ".4", ".6", ".8", "1"))


def test_an_ablated_score_stands_below_the_intact_one_and_beside_what_guessing_has():
    """Two that are equal would hide one another."""
    same = Number(0.4, 0.3, 0.5, 50)
    change = Number(0.0, -0.1, 0.1, 50)
    fig = effects_figure([Effect("icl", 0.5, same, same, change), Effect("flip", 0.2, same)], "", "")
    intact, ablated, guessing = fig.data
    assert [*intact.y, *ablated.y] == [-0.17, 0.83, 0.17]
    assert fig.layout.yaxis.ticktext == ("ICL, n = 50", "Flip, n = 50")
    assert fig.layout.yaxis.tickvals == (0, 1)
    assert (guessing.name, guessing.x) == ("guessing", (0.5, 0.5, None, 0.2, 0.2, None))
    assert fig.layout.xaxis.title.text == "accuracy, with 95% intervals"
    assert list(effects_figure([Effect("icl", 0.5, same)], "", "").data[0].y) == [0]
