"""MLPs, edges, positions, patches and grafts by clicks and keys, in circuits whose every answer is known."""

import pytest
from known_series import behind_recall, rise_and_fall

from mechicl.interventions import (
    AblateHeads,
    AblateMLPs,
    AblatePositions,
    CutEdges,
    CutPaths,
    Graft,
    PatchActivations,
    Together,
)
from mechicl.measures.subspace_ablation import AblateCarried
from mechicl.page.server import open_server


@pytest.fixture(scope="module")
def recall(tmp_path_factory):
    """A server on two runs by hand: one whose last layer has an MLP that knows all labels, and one without MLPs."""
    root = tmp_path_factory.mktemp("edits") / "runs"
    series = behind_recall(root / "recall")
    rise_and_fall(root / "known")
    running = open_server(series.root, port=0).start()
    yield running.url, series
    running.stop()


def choose(page, what: str = "", **picks: str) -> None:
    """What is to be done (`page.offered`), and its choices."""
    if what:
        page.locator("[data-pick='what']").select_option(what)
    for name, value in picks.items():
        page.locator(f"[data-pick='{name.replace('_', '-')}']").select_option(value)


def press(page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def chips(page) -> list[str]:
    return page.locator("#chips button").all_inner_texts()


def test_the_edge_that_carries_the_copy_takes_icl_and_another_does_not(begin, known_series):
    one = begin()
    page = one.open("?run=known&step=5")
    choose(page, **{"from": "query", "to": "match_label", "edge_place": "1"})
    press(page, "Cut edge")
    cut = CutEdges(edges=("query->match_label",), layers=(1,))
    one.check(known_series, 5, cut)
    assert float("0" + one.number("icl.ablated")) < 0.1
    assert chips(page) == ["query → matching label cut in layer 1"]  # the task's words for it
    assert "edge=query-%3Ematch_label:1" in page.evaluate("mechicl.query()")
    page.wait_for_function("mechicl.settled('controls')")
    assert one.number("icl.controls_ci") == "random 0.000"
    assert "8 random sets of as many other positions" in page.locator("#effect-note").inner_text()
    page.wait_for_function("mechicl.settled('attention')")
    induction = page.locator("#patterns .card").nth(6)
    assert induction.locator("figure").count() == 3
    said = induction.locator("figure").nth(1).locator("rect title").all_text_contents()
    assert "query → y1: 0.000" in said  # of the sequences that show the matching pair first
    assert page.locator("#patterns .card").nth(1).locator(".same").inner_text() == "nothing before it is cut"

    page.locator("#chips button").click()  # put back
    one.check(known_series, 5, None)
    assert chips(page) == []
    choose(page, to="other_label")
    press(page, "Cut edge")
    one.check(known_series, 5, CutEdges(edges=("query->other_label",), layers=(1,)))
    assert one.number("icl.ablated") == "1.000"
    choose(page, **{"from": "previous"})
    assert page.locator("[data-pick='to']").is_hidden()  # a whole edge has no other end
    choose(page, edge_place="")
    press(page, "Cut edge")
    one.check(
        known_series,
        5,
        Together(parts=(CutEdges(edges=("query->other_label",), layers=(1,)), CutEdges(edges=("previous",)))),
    )
    assert float(one.number("icl.ablated")) < 0.9
    one.shot("edges", full_page=True)


@pytest.mark.slow
def test_a_path_of_the_circuit_takes_icl_and_what_is_written_later_is_not_offered(begin, known_series):
    one = begin()
    page = one.open("?run=known&step=5&kind=resample")
    choose(page, "cut-path", sender="L0H1", receiver="L1H2.k")
    press(page, "Cut path")
    cut = CutPaths(paths=("L0H1->L1H2.k",))
    one.check(known_series, 5, cut)  # a kind that is not for paths gives way
    assert float("0" + one.number("icl.ablated")) < 0.65
    assert chips(page) == ["path L0H1 → L1H2.k cut (zero)"]
    assert "path=L0H1-%3EL1H2.k" in page.evaluate("mechicl.query()")
    assert page.locator("[data-set='kind'] option[value='resample']").first.is_disabled()
    page.locator("[data-set='kind']").first.select_option("mean")
    one.check(known_series, 5, CutPaths(paths=cut.paths, kind="mean"))
    choose(page, sender="L1H2")  # only the output comes after it
    assert page.locator("[data-pick='receiver']").input_value() == "out"
    offered = page.locator("[data-pick='receiver'] option").evaluate_all(
        "(all) => all.filter((o) => !o.disabled).map((o) => o.value)"
    )
    assert offered == ["out"]
    page.locator("#chips button").click()
    one.check(known_series, 5, None)


@pytest.mark.slow
def test_an_mlp_s_cell_takes_it_out_and_it_stands_in_the_grid(begin, recall):
    url, series = recall
    one = begin(url)
    page = one.open("?run=recall&step=10&kind=pattern_preserving&measure=effect_flip")
    cell = page.get_by_test_id("mlp-1")
    assert cell.get_attribute("aria-label") == "L1 MLP, intact"
    assert page.get_by_test_id("mlp-0").count() == 0  # that layer has none
    cell.click()
    one.check(series, 10, AblateMLPs(layers=(1,)))  # a kind that is for heads gives way
    assert one.number("flip.ablated") == "1.000"  # the circuit behind the MLP shows again
    assert cell.get_attribute("aria-pressed") == "true"
    assert cell.get_attribute("aria-label") == "L1 MLP, ablated"
    assert page.locator("#ablated-now").inner_text() == "L1 MLP ablated"
    page.wait_for_function("mechicl.settled('controls')")
    assert "no other of its kind" in page.locator("#effect-note").inner_text()
    one.head(1, 2).click()
    one.check(series, 10, Together(parts=(AblateHeads(heads=((1, 2),)), AblateMLPs(layers=(1,)))))
    cell.focus()
    page.keyboard.press("Enter")
    one.check(series, 10, AblateHeads(heads=((1, 2),)))
    page.keyboard.press("Escape")
    one.check(series, 10, None)
    page.wait_for_function("mechicl.settled('heads')")
    assert cell.locator(".score").inner_text() == "+1.00"  # alone


@pytest.mark.slow
def test_each_row_does_what_the_command_line_does(begin, recall):
    url, series = recall
    one = begin(url)
    page = one.open("?run=recall&step=5")
    choose(page, "replace-position", place="match_label", place_layer="1")
    press(page, "Replace position")
    one.check(series, 5, AblatePositions(positions=("match_label",), layers=(1,)))
    press(page, "Clear")
    choose(page, "patch-position")
    press(page, "Patch position")
    one.check(series, 5, PatchActivations(residual=(1,), positions=("match_label",)))
    press(page, "Clear")
    choose(page, "patch-component", component="L1H2")
    press(page, "Patch component")
    one.check(series, 5, PatchActivations(heads=((1, 2),)))
    assert one.number("icl.ablated") == "0.000"
    choose(page, component="mlp.1")
    press(page, "Patch component")
    one.check(series, 5, PatchActivations(heads=((1, 2),), mlps=(1,)))
    assert chips(page) == ["L1H2 patched", "L1 MLP patched"]
    press(page, "Clear")
    choose(page, "graft", parts="ov.1")
    page.locator("#graft-step").select_option("0")
    press(page, "Graft weights")
    one.check(series, 5, Graft(parts=("ov.1",), source=0))
    assert chips(page) == ["ov.1 of step 0"]
    page.wait_for_function("mechicl.settled('attention')")
    assert page.locator("#patterns .card").nth(6).locator(".same").inner_text() == "no weights before it are changed"
    press(page, "Clear")
    choose(page, "remove-directions")
    press(page, "Remove directions")
    one.check(series, 5, AblateCarried(variation="flip"))
    press(page, "Clear")
    hold = page.locator("[data-pick='what'] [value='hold']")
    assert hold.is_disabled()  # nothing is after a head that is not out
    one.head(0, 1).click()
    choose(page, "hold", hold="k")
    press(page, "Hold it")
    one.check(series, 5, AblateHeads(heads=((0, 1),), hold=("k",)))
    assert one.number("icl.ablated") == "1.000"  # the two heads compose through keys
    one.head(0, 1).click()  # with the head goes what is held
    one.check(series, 5, None)
    assert hold.is_disabled()
    assert page.get_by_role("button", name="Cut edge").is_visible()


@pytest.mark.slow
def test_undo_link_and_keyboard(begin, recall):
    url, series = recall
    one = begin(url)
    page = one.open("?run=recall&step=5&edge=query->match_label,label->exemplar:0&heads=1.0")
    assert chips(page) == ["label → exemplar cut in layer 0", "query → matching label cut in all layers"]
    cuts = [CutEdges(edges=("label->exemplar",), layers=(0,)), CutEdges(edges=("query->match_label",))]
    head = AblateHeads(heads=((1, 0),))
    one.check(series, 5, Together(parts=(head, *cuts)))
    page.locator("#chips button").first.focus()
    page.keyboard.press("Enter")
    one.check(series, 5, Together(parts=(head, cuts[1])))
    assert page.evaluate("document.activeElement.className") == "chip"  # the keyboard stays
    page.keyboard.press("Control+z")
    one.check(series, 5, Together(parts=(head, *cuts)))
    page.keyboard.press("Control+Shift+z")
    one.check(series, 5, Together(parts=(head, cuts[1])))
    other = begin(url)
    other.open("?" + page.evaluate("mechicl.query()"))
    other.check(series, 5, Together(parts=(head, cuts[1])))
    for each in (page, other.page):  # the same done to random others comes after the numbers
        each.wait_for_function("mechicl.all('[data-cell$=controls_ci]').every(e => e.textContent)")
    assert other.numbers() == one.numbers()
    page.keyboard.press("Escape")
    one.check(series, 5, None)


def test_what_would_leave_a_position_nothing_to_see_is_said_and_can_be_put_back(begin, known_series):
    one = begin()
    page = one.open("?run=known&step=5")
    choose(page, **{"from": "exemplar", "to": "exemplar"})
    press(page, "Cut edge")
    page.wait_for_function("document.getElementById('say').textContent.includes('could attend to nothing')")
    assert one.number("icl.ablated") == "–"
    page.locator("#chips button").click()
    one.check(known_series, 5, None)


@pytest.mark.slow
def test_an_edge_in_chosen_heads_and_the_other_counterfactual(begin, known_series):
    """By keys alone: the one head that copies, then another head, taken back and done again; then a patch."""
    one = begin()
    page = one.open("?run=known&step=5")
    what = page.get_by_role("combobox", name="Add an intervention")
    assert "cannot attend along" in page.locator("#edit-note").inner_text()
    choose(page, **{"from": "query->match_label", "edge_place": "L1H1"})
    assert page.locator("[data-pick='to']").is_hidden()
    page.get_by_role("button", name="Cut edge").focus()
    page.keyboard.press("Enter")
    edge = ("query->match_label",)
    one.check(known_series, 5, CutEdges(edges=edge, heads=((1, 1),)))
    assert one.number("icl.ablated") == "1.000"
    choose(page, edge_place="L1H2")
    press(page, "Cut edge")
    both = CutEdges(edges=edge, heads=((1, 1), (1, 2)))
    one.check(known_series, 5, both)
    assert float("0" + one.number("icl.ablated")) < 0.1
    assert chips(page) == ["query → matching label cut in L1H1", "query → matching label cut in L1H2"]
    page.go_back()
    one.check(known_series, 5, CutEdges(edges=edge, heads=((1, 1),)))
    page.go_forward()
    one.check(known_series, 5, both)
    what.select_option("patch-edge")
    assert page.locator("[data-pick='edge-place']").input_value() == ""  # patched in all heads of a layer
    assert page.locator("[data-pick='edge-place'] optgroup[label='heads']").is_hidden()
    press(page, "Clear")
    choose(page, "patch-position", place="match_label", place_layer="1", partner="next")
    press(page, "Patch position")
    patch = PatchActivations(residual=(1,), positions=("match_label",), counterfactual="next")
    one.check(known_series, 5, patch)
    assert chips(page) == ["match label patched from the next sequence before layer 1"]
    assert "counterfactual=next" in page.evaluate("mechicl.query()")
    page.locator("#chips button").click()
    one.check(known_series, 5, None)
    assert "counterfactual" not in page.evaluate("mechicl.query()")


def test_in_language_the_page_asks_the_task(begin, serving, token_series):
    running = serving(open_server(token_series.root, port=0))
    one = begin(running.url)
    page = one.open("?step=20")
    assert page.locator("[data-pick='what'] [value='remove-directions']").count() == 0
    assert page.locator("[data-pick='partner']").count() == 0
    choose(page, **{"from": "query", "to": "shown"})
    press(page, "Cut edge")
    one.settled()
    assert chips(page) == ["query → shown cut in all layers"]
    assert one.number("conflict.ablated") == "0.000"
    page.wait_for_function("mechicl.settled('timeline') && document.getElementById('curve-progress').dataset.done == 3")
    others = [name for name, row in one.numbers().items() if row["ablated_ci"] == "not in these sequences"]
    assert others
    assert "conflict" not in others


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(begin, recall, width):
    one = begin(recall[0], viewport={"width": width, "height": 800}, color_scheme="dark" if width == 390 else "light")
    page = one.open("?run=recall&step=5&edge=query->match_label:1&mlp=1&position=match_label:1&patch=L1H2,query->label")
    page.wait_for_function("mechicl.settled('controls') && mechicl.settled('heads') && mechicl.settled('attention')")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.evaluate(
        "mechicl.all('#edits *, #chips *').filter(e => e.getBoundingClientRect().right > innerWidth).length"
    )
    assert wide == 0
    one.shot(f"edits-{width}", full_page=True)
