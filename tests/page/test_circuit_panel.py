"""The circuit's panel: what it draws and says, and where it is not shown."""

from __future__ import annotations

import re

import pytest

from mechicl.figures.circuit import THINNEST, WIDEST
from mechicl.page import circuit_numbers, layout
from mechicl.page.answers import Answers
from mechicl.page.circuit_panel import circuit_answer
from mechicl.page.runs import Library
from mechicl.page.server import build
from mechicl.page.state import View, ViewError
from mechicl.page.texts import plain, signed
from mechicl.page.view import Workbench


@pytest.fixture(scope="module")
def answers(seeds_folder):
    return Answers(Library(seeds_folder), Workbench(), "ring-s0")


@pytest.fixture(scope="module")
def whole(answers):
    """The answer of the checkpoint at which the circuit is there."""
    return circuit_answer(answers, "step=5&threshold=0.05", 600.0)


def test_lines_are_as_thick_as_their_effect_and_say_it(answers, whole):
    run, view = answers.view("step=5&threshold=0.05")
    found = circuit_numbers.drawn_circuit(answers.bench, run, view)
    assert found.effects is not None
    effects = found.effects.set_index("intervention")
    assert {edge["path"] for edge in whole["edges"]} == set(found.paths)
    for edge in whole["edges"]:
        row = effects.loc[edge["path"]]
        assert edge["effect"] == signed(row.effect)
        assert edge["interval"] == f"[{signed(row.effect_low)}, {signed(row.effect_high)}]"
        share = (edge["width"] - THINNEST) / (WIDEST - THINNEST)
        assert share == pytest.approx(abs(row.effect) / found.limit, abs=0.01)
    sizes = [edge["width"] for edge in whole["edges"]]
    assert sizes == sorted(sizes, reverse=True)
    assert f"{len(found.paths)} of {len(effects)} paths" in whole["says"]
    assert "on the sequences on which they are chosen. Their effects here are on n = 100 others." in whole["says"]
    assert whole["shares"]["faithfulness"]["value"] == plain(found.shares["faithfulness"].value, 2)
    assert not whole["left"]


@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_the_lines_of_copy_as_python_give_the_circuit_that_is_drawn(answers, kind, seeds_folder):
    query = f"step=5&threshold=0.05&kind={kind}&edge=query->match_label"
    text = build(Library(seeds_folder), "ring-s0").server.test_client().get(f"/python?run=ring-s0&{query}").text
    made: dict = {}
    exec(text, made)
    run, view = answers.view(query)
    panel = circuit_numbers.circuit(answers.bench, run, view, 600.0)
    assert panel.kind == kind
    assert made["circuit"] == panel.paths
    assert len(panel.paths) > 2
    drawn = made["effects"].set_index("intervention").effect[list(panel.paths)]
    assert panel.effects is not None
    assert drawn.tolist() == panel.effects.set_index("intervention").effect[list(panel.paths)].tolist()
    shares = made["shares"].set_index("intervention").share
    assert shares["circuit alone"] == pytest.approx(panel.shares["faithfulness"].value)
    assert shares["without circuit"] == pytest.approx(panel.shares["completeness"].value)


def test_every_component_has_its_place_and_each_line_goes_up_from_one_to_another(whole):
    nodes = {node["name"]: node for node in whole["nodes"]}
    assert {"embed", "out", "L0H0", "L1H3"} <= set(nodes)
    assert nodes["embed"]["y"] > nodes["L0H0"]["y"] > nodes["L1H0"]["y"] > nodes["out"]["y"]
    assert [row["name"] for row in whole["rows"]] == ["embedding", "heads of layer 0", "heads of layer 1", "output"]
    for edge in whole["edges"]:
        sender, receiver = edge["path"].split("->")
        heights = [y for _, y in edge["course"]]
        assert heights == sorted(heights, reverse=True)
        assert heights[0] < nodes[sender]["y"]
        assert heights[-1] > nodes[re.sub(r"\.[qkv]$", "", receiver)]["y"]


def test_until_its_paths_are_cut_it_says_so_and_shows_no_other_checkpoint_s(answers):
    first = circuit_answer(answers, "step=5&evaluator=flip", 0.0)
    assert first["edges"] is None
    assert first["left"]
    assert "being cut" in first["says"]
    assert first["nodes"]


def test_a_run_without_paths_has_no_panel(answers, monkeypatch):
    run, view = answers.view("")

    def shown() -> str:
        return str(layout.page(answers.library, run, view))

    assert "circuit-panel" in shown()
    assert "Table of the circuit" in shown()
    monkeypatch.setattr(circuit_numbers, "MOST", 10)
    assert "circuit-panel" not in shown()
    assert "Table of the circuit" not in shown()


def test_a_link_holds_the_threshold():
    assert View.from_query("run=x&threshold=.05").threshold == 0.05
    assert View.from_query("run=x&threshold=0.05").query() == "run=x&threshold=0.05"
    assert View.from_query("run=x&threshold=0.02").query() == "run=x"
    for wrong in ("0", "-1", "nan", "inf", "1e5", "much", ""):
        with pytest.raises(ViewError, match=r"expected a number above 0, such as 0\.02"):
            View.from_query(f"run=x&threshold={wrong}")
