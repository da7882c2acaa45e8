"""A measure of one's own whose rows are of heads colours the head grid."""

import importlib
import sys

import pytest

from mechicl.errors import SeriesError
from mechicl.measures.door import own_of_heads
from mechicl.page.answers import Answers
from mechicl.page.heads import MEASURES, head_grid, measures
from mechicl.page.layout import page
from mechicl.page.runs import Library
from mechicl.page.state import View, ViewError
from mechicl.page.view import Workbench

MODULE = '''"""Measures of heads, of layers and of one's own trouble."""
from mechicl.measures import measure, tidy


@measure("value_norms", rows="step, head", value="norm of W_V", against="step 0")
def value_norms(series, steps=None):
    rows = []
    for step in steps or series.steps:
        weights = series.weights(step)
        for layer in range(series.config.model.n_layers):
            for head, w in enumerate(weights[f"blocks.{layer}.attn.W_V"]):
                rows.append({"step": step, "layer": layer, "head": head, "metric": "norm", "value": float(w.norm())})
    return tidy(series, rows)


@measure("own_effect", rows="step, evaluator, head", value="change in accuracy")
def own_effect(series, steps=None, evaluators=None, ablate=None, progress=True):
    from mechicl.interventions import Together, every_head
    from mechicl.measures import effects, evaluate
    singles = every_head(series.config.model)
    if ablate is not None:
        singles = [Together(parts=(ablate, one)) for one in singles]
    table = effects(evaluate(series, steps, evaluators, singles, metrics=None, progress=progress))
    places = [(layer, head) for layer in range(2) for head in range(series.config.model.n_heads)]
    return table.assign(value=table.effect, layer=[la for la, _ in places], head=[h for _, h in places])


@measure("of_layers", rows="step, layer", value="x")
def of_layers(series):
    raise AssertionError


@measure("broken", rows="head", value="x")
def broken(series, steps=None):
    return tidy(series, 1 / 0)
'''


@pytest.fixture
def plugin(plugin_folder, tiny_series):
    (plugin_folder / "norms_of_heads.py").write_text(MODULE)
    sys.path.insert(0, str(plugin_folder))
    importlib.invalidate_caches()
    importlib.import_module("norms_of_heads")
    return Library(tiny_series.root.parent)


def test_it_is_one_of_the_grid_s_colours(plugin, tiny_series):
    assert set(measures()) == {*MEASURES, "value_norms", "own_effect", "broken"}
    assert set(own_of_heads()) == {"value_norms", "own_effect", "broken"}
    run, view = plugin.run("tiny"), plugin.settled(View.from_query("?step=60&measure=value_norms", "tiny"))
    grid = head_grid(Workbench(), run, view)
    weights = tiny_series.weights(60)
    want = {(la, h): float(weights[f"blocks.{la}.attn.W_V"][h].norm()) for la in (0, 1) for h in (0, 1)}
    assert {head: number.value for head, number in grid.values.items()} == pytest.approx(want)
    assert grid.high >= max(want.values())
    answers = Answers(plugin, Workbench(), "tiny")
    cells = answers.heads("?step=60&measure=value_norms")["cells"]
    assert all("value norms" in cell["says"] and not cell["clear"] for cell in cells)
    said = answers.base("?step=60&measure=value_norms")["measures"]["value_norms"]
    assert not said["edited"]
    assert "step 0" in said["meaning"]
    assert "value_norms" in str(page(plugin, run, view))


def test_it_is_of_the_view_s_evaluator_and_intervention_where_it_takes_them(plugin):
    run, bench = plugin.run("tiny"), Workbench()
    for done in ("", "&edge=query->match_label"):
        own = plugin.settled(View.from_query(f"?step=60&evaluator=flip&measure=own_effect{done}", "tiny"))
        effect = plugin.settled(View.from_query(f"?step=60&measure=effect_flip{done}", "tiny"))
        found, before = head_grid(bench, run, own).values, bench.right(run, 60, "flip", own.intervention).mean()
        want = head_grid(bench, run, effect).values
        intact = bench.right(run, 60, "flip", None).mean()
        for head, number in found.items():  # its effect is against the intact model
            assert number.value + intact == pytest.approx(want[head].value + before)


def test_one_that_fails_says_whose_it_is(plugin):
    answers = Answers(plugin, Workbench(), "tiny")
    said = answers.to("heads", "?step=60&measure=broken")["error"]
    assert "'broken' of norms_of_heads failed: ZeroDivisionError" in said
    with pytest.raises(SeriesError):
        answers.heads("?step=60&measure=broken")


def test_without_the_plugin_its_link_says_what_there_is():
    with pytest.raises(ViewError, match="expected one of previous_token"):
        View.from_query("?measure=value_norms", "tiny")
