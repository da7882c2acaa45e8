"""Interventions of a plugin, by controls on the page: in a server's page, and by hand in a browser."""

from dataclasses import dataclass
from typing import Literal

import pytest

from mechicl.engine.edit import Edit
from mechicl.interventions import Intervention, intervention
from mechicl.page.editing import editing
from mechicl.page.own import own_choices
from mechicl.page.python import as_python
from mechicl.page.server import open_server
from mechicl.page.state import View
from mechicl.page.texts import plain


@pytest.fixture
def faded(plugin_folder):
    """A plugin's intervention with a field of every kind that has a control of its own."""

    @intervention("faded")
    @dataclass(frozen=True)
    class Faded(Intervention):
        """All that one layer's attention writes, times a factor.

        More than this sentence is not said."""

        layer: int
        factor: float = 0.5
        label: str = "half, or so"
        where: Literal["attn_out", "resid_post"] = "attn_out"
        twice: bool = False

        def __str__(self):
            return f"L{self.layer} faded"

        @property
        def baseline(self):
            return "less of it"

        def edits(self, model, intact, batch):
            return {f"blocks.{self.layer}.hook_{self.where}": Edit(self.factor ** (1 + self.twice))}

    return Faded


def listed(part) -> list:
    """All elements below one."""
    children = getattr(part, "children", None)
    inside = (
        children if isinstance(children, list) else [] if children is None or isinstance(children, str) else [children]
    )
    return [part, *(each for child in inside if not isinstance(child, str) for each in listed(child))]


def test_every_field_of_a_plugins_intervention_has_a_control(library, faded):
    offered = own_choices()
    assert list(offered) == ["own-faded"]
    assert offered["own-faded"].says == "All that one layer's attention writes, times a factor."
    found = [e.to_plotly_json()["props"] for e in listed(editing(library.run("tiny")))]
    (row,) = [p for p in found if p.get("data-row") == "own-faded" and p.get("className") == "choices"]
    fields = {p["data-field"]: p for e in row["children"] if "data-field" in (p := e.to_plotly_json()["props"])}
    assert {name: p["data-input"] for name, p in fields.items() if "data-input" in p} == {
        "layer": "0",
        "factor": "0.5",
        "label": "half, or so",
    }
    assert fields["label"]["data-text"] == "1"
    options = {name: [o.value for o in p["children"]] for name, p in fields.items() if p.get("children")}
    assert options == {"where": ["'attn_out'", "'resid_post'"], "twice": ["True", "False"]}


def test_without_a_plugin_there_is_no_such_choice(library):
    assert own_choices() == {}
    assert "own-" not in str(editing(library.run("tiny")))


def test_what_the_page_calls_changed_is_all_that_a_view_can_change(answers):
    told = answers.base("run=tiny")
    assert {*told["changed"], "kind"} == set(vars(View(run="tiny").words))


def test_its_text_is_answered_as_the_library_does(answers, faded, library):
    text = 'faded(layer=1, label="so, so", where="resid_post")'
    view = View(run="tiny", step=60, own=text)
    got = answers.to("effect", view.query())["data"]["rows"]["icl"]["ablated"]
    want = answers.bench.effects(library.run("tiny"), 60, faded(1, label="so, so", where="resid_post"))
    assert got == next(plain(e.ablated.value) for e in want if e.evaluator == "icl")
    wrong = answers.to("effect", "run=tiny&step=60&own=faded(layer=9.5)")
    assert "layer" in wrong["error"]


@pytest.mark.slow
def test_a_plugins_intervention_by_hand(begin, serving, faded, known_series):
    running = serving(open_server(known_series.root, port=0))
    one = begin(running.url)
    page = one.open("?run=known&step=5")
    assert page.locator("[data-field='layer']").is_hidden()
    page.locator("[data-pick='what']").select_option("own-faded")
    page.locator("[data-field='layer']").fill("1")
    page.locator("[data-field='factor']").fill("0.0")
    page.get_by_role("button", name="Apply faded", exact=True).click()
    done = faded(layer=1, factor=0.0)
    one.check(known_series, 5, done)
    (chip,) = page.locator("#chips button").all_inner_texts()
    assert chip == "faded(layer=1, factor=0.0, label=\"half, or so\", where='attn_out', twice=False)"
    view = View.from_query(page.evaluate("mechicl.query()"))
    assert view.intervention == done
    assert "layer=1, factor=0.0" in as_python(view, str(known_series.root.parent))
    page.go_back()
    one.check(known_series, 5, None)
    page.go_forward()
    one.check(known_series, 5, done)
    page.locator("[data-field='factor']").fill("1.0")
    page.locator("[data-field='factor']").press("Enter")
    one.check(known_series, 5, faded(layer=1, factor=1.0))  # one takes the place of the other
    page.locator("#chips button").click()
    one.check(known_series, 5, None)
    assert page.locator("#chips button").count() == 0
