"""The circuit in a browser: it forms and dissolves as one scrubs, and what is cut by hand is what Python says."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from mechicl.interventions import CutEdges, CutPaths
from mechicl.measures.circuits import circuit_of, circuit_shares
from mechicl.measures.paired_effects import head_effects
from mechicl.measures.path_ablation import path_effects
from mechicl.page.server import open_server
from mechicl.page.texts import plain, signed
from mechicl.series import open_series

DEMO = Path(__file__).parents[2] / "checkpoints" / "demo"
THERE = "mechicl.settled() && mechicl.circuit.settled()"
EDGES = "Object.fromEntries(mechicl.all('#circuit-graph [data-path]').map((g) => [g.dataset.path, g.dataset.effect]))"
WIDTHS = (
    "Object.fromEntries(mechicl.all('#circuit-graph [data-path]')"
    ".map((g) => [g.dataset.path, parseFloat(g.querySelector('.line').style.strokeWidth)]))"
)


def shares_of(page) -> dict[str, list[str]]:
    """name -> value, interval and the median of the random circuits, as the panel says them."""
    rows = {}
    for row in page.locator("#circuit-shares tr[data-share]").all():
        rows[row.get_attribute("data-share")] = row.locator("td > *").all_inner_texts()
    return rows


@pytest.mark.slow
def test_a_circuit_is_drawn_and_a_press_on_its_line_cuts_the_path(begin, known_series):
    one = begin()
    page = one.open("?run=known&step=5&threshold=0.05&kind=resample")
    assert page.locator("#circuit-graph svg").count() == 0  # out of sight, nothing is computed
    page.locator("#circuit-panel").scroll_into_view_if_needed()
    page.wait_for_function(THERE)
    drawn = page.evaluate(EDGES)
    assert "L0H1->L1H2.k" in drawn
    page.locator("#circuit-graph [data-path='L0H1->L1H2.k'] .hit").dispatch_event("click")
    one.check(known_series, 5, CutPaths(paths=("L0H1->L1H2.k",)))
    assert one.number("icl.change") == drawn["L0H1->L1H2.k"]  # the line says what the click does
    button = page.locator("#circuit-paths [data-cut='L0H1->L1H2.k']")
    assert button.get_attribute("aria-pressed") == "true"
    button.focus()
    page.keyboard.press("Enter")
    one.check(known_series, 5, None)
    slider = page.locator("#threshold-input")
    slider.focus()
    page.keyboard.press("End")
    page.wait_for_function(f"mechicl.view.threshold === '0.5' && {THERE}")
    assert "threshold=0.5" in page.url
    assert page.locator("#threshold-text").inner_text() == ".5"
    assert page.evaluate("mechicl.view.step") == "5"  # the key moved this slider alone
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_demos_circuit_forms_and_dissolves_while_one_scrubs(begin, serving):
    series = open_series(DEMO)
    peak, last = 3000, series.steps[-1]
    running = serving(open_server(DEMO, port=0))
    one = begin(running.url)
    page = one.open(f"?step={series.steps[1]}")
    page.locator("#circuit-panel").scroll_into_view_if_needed()
    sizes, widest = {}, {}
    for step in (series.steps[1], peak, last):
        before = page.locator("#slider-input")
        before.fill(str(series.steps.index(step)))  # as one drags it
        page.wait_for_function(f"mechicl.view.step === '{step}' && {THERE}")
        found = path_effects(series, [step], ["icl"], split=1, progress=False)
        circuit = circuit_of(found, step, "icl", 0.02)
        table = path_effects(series, [step], ["icl"], progress=False).set_index("intervention")
        assert page.evaluate(EDGES) == {path: signed(table.effect[path]) for path in circuit}
        widths = page.evaluate(WIDTHS)
        order = sorted(circuit, key=lambda path, t=table: abs(t.effect[path]))
        assert [widths[path] for path in order] == sorted(widths.values())
        sizes[step] = len(circuit)
        widest[step] = max(widths.values(), default=0)
        one.shot(f"circuit-{step}")
    assert sizes[series.steps[1]] == 0, "not there yet"
    assert sizes[peak] > 5, "there"
    assert sizes[last] < sizes[peak], "come apart"

    page.locator("#slider-input").fill(str(series.steps.index(peak)))
    page.wait_for_function(f"mechicl.view.step === '{peak}' && {THERE}")
    page.wait_for_function("mechicl.circuit.data().random.includes('their median')")
    circuit = tuple(page.evaluate(EDGES))
    table = circuit_shares(series, [peak], ["icl"], threshold=0.02, progress=False)
    rows = {row["intervention"]: row for row in table.to_dict("records")}
    for name, form in (("faithfulness", "{} alone"), ("completeness", "without {}")):
        row = rows[form.format("circuit")]
        random = [rows[form.format(f"random {i}")]["share"] for i in range(8)]
        value, interval, median, range_ = shares_of(page)[name]
        assert value == plain(row["share"], 2)
        assert interval == f"[{plain(row['share_low'], 2)}, {plain(row['share_high'], 2)}]"
        assert median == plain(statistics.median(random), 2)
        assert range_ == f"({plain(min(random), 2)} to {plain(max(random), 2)})"
        assert row["size"] == len(circuit)
    page.wait_for_timeout(400)  # lines have grown
    one.shot("circuit", full_page=True)

    for edge in ("label->previous", "query->match"):
        cut_by_hand(page, edge)
        one.check(series, peak, CutEdges(edges=(edge,)))
        page.locator("#chips button").click()
        one.check(series, peak, None)
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function(THERE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    one.shot("circuit-narrow", full_page=True)
    page.wait_for_function("mechicl.circuit.settled()")


@pytest.mark.slow
def test_a_measure_over_training_draws_what_is_pressed(begin, known_series):
    one = begin()
    page = one.open("?run=known&step=5&track=head_effects")
    page.locator("#track-panel").scroll_into_view_if_needed()
    whole = "mechicl.track.settled() && !mechicl.track.data().left"
    page.wait_for_function(whole)
    page.locator("[data-track='L1H2']").click()
    page.wait_for_function(f"mechicl.view.items === 'L1H2' && {whole}")
    drawn = page.evaluate("document.querySelector('#track-figure').data.filter((t) => t.meta === 'L1H2')[0].y")
    table = head_effects(known_series, evaluators=["icl"], progress=False)
    rows = table[(table.layer == 1) & (table["head"] == 2)]
    assert drawn == pytest.approx(list(rows.effect))
    assert "items=L1H2" in page.url
    one.shot("track")
    page.locator("[data-set='track']").select_option("copying_scores")  # is of other tasks
    page.wait_for_function("document.querySelector('#track-note').textContent.includes('need a task of tokens')")
    assert page.evaluate("mechicl.view.items") == ""
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def cut_by_hand(page, edge: str) -> None:
    """'Attention edge: cut', of an edge that the task's circuits are made of."""
    page.locator("[data-pick='what']").select_option("cut-edge")
    page.locator("[data-pick='from']").select_option(edge)
    page.locator("[data-do='add']").click()
