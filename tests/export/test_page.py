"""Somebody opens the exported page from a disk: by keyboard, by links, in the dark, on a phone."""

import re
from pathlib import Path

import pytest

import mechicl
from analyses.head_ablations import icl_heads
from mechicl import AblateHeads, open_series
from mechicl.export import export
from mechicl.measures.phases import series_phases
from mechicl.page.payloads import shade
from mechicl.page.texts import plain
from mechicl.registry import EVALUATORS, main

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "artefacts" / "export"  # git-ignored


def shot(reader, name):
    SHOTS.mkdir(parents=True, exist_ok=True)
    reader.page.screenshot(path=SHOTS / f"{name}.png", full_page=True, caret="initial")


def hash_of(reader):
    return reader.page.evaluate("location.hash")


def pressed(reader):
    return reader.page.locator('#grid [aria-pressed="true"] small:first-child').all_text_contents()


@pytest.mark.slow
def test_keyboard_links_and_history(known_series, file_of, reader):
    """All by keyboard, and the address follows; a link opens the same view, and Back undoes."""
    one = reader(file_of(known_series))
    one.open()
    page, key = one.page, one.page.keyboard
    key.press("Tab")
    key.press("Enter")  # skip to the heads
    assert page.evaluate("document.activeElement.dataset.part") == "L0H0"
    key.press("ArrowDown")
    key.press("Enter")
    one.settled()
    assert pressed(one) == ["L1H0"]
    assert hash_of(one) == "#heads=L1H0"
    key.press(".")
    one.settled()
    assert hash_of(one) == "#step=10&heads=L1H0"
    assert page.input_value("#slider-input") == "2"
    key.press(",")
    key.press("Shift+Enter")  # only this head of its layer
    one.settled()
    others = [f"L1H{h}" for h in range(1, known_series.config.model.n_heads)]
    assert pressed(one) == others
    numbers = one.numbers()
    again = reader(file_of(known_series), color_scheme="dark", viewport={"width": 390, "height": 800})
    again.open(hash_of(one)[1:])
    assert (pressed(again), again.numbers()) == (others, numbers)
    assert again.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert again.page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.go_back()
    one.settled()
    assert pressed(one) == ["L1H0"]
    key.press("Escape")
    one.settled()
    assert pressed(one) == []
    assert one.numbers()["icl"]["ablated"] == "–"


@pytest.mark.slow
def test_a_link_that_names_what_is_not_there(known_series, file_of, reader):
    """It is said, and the rest of the link counts; nothing in it becomes markup."""
    one = reader(file_of(known_series))
    one.open("step=7&heads=L9H9&kind=mean&measure=<img src=x onerror=alert(1)>&nothing=1&constructor=2")
    said = one.page.inner_text("#say")
    assert all(part in said for part in ("step=7", "heads=L9H9", "<img src=x", "nothing=1", "constructor=2"))
    assert "kind" not in said
    assert one.page.input_value('[data-set="kind"]') == "mean"
    assert one.page.locator("img").count() == 0


def test_every_control_has_a_name_and_every_curve_is_drawn(known_series, file_of, reader):
    one = reader(file_of(known_series))
    one.open("tab=logits&sequence=2&evaluator=flip&axis=linear&unit=steps&heads=L0H0&kind=mean")
    one.page.wait_for_function("() => document.querySelectorAll('.curve .line.ablated').length === 5")
    assert one.page.locator(".curve .line:not(.ablated)").count() == 5
    nameless = """() => [...document.querySelectorAll('button,select,input,[role=img]')].filter(e =>
        !(e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label')?.textContent.trim()))"""
    assert one.page.evaluate(f"({nameless})().length") == 0
    assert "highest 1.000" in one.page.get_attribute("#graph svg", "aria-label")
    one.page.hover("#graph", position={"x": 120, "y": 120})
    assert "ICL" in one.page.inner_text("#hover")
    one.page.click('[data-do="theme"]')
    assert one.page.locator("#patterns").is_hidden()


def test_a_sequence_that_is_not_there_is_said(known_series, file_of, reader):
    one = reader(file_of(known_series))
    one.open("evaluator=flip")
    field = one.page.locator("#sequence-input")
    last = field.get_attribute("max")
    for asked, used in (("90000", last), ("-3", "0")):
        field.fill(asked)
        field.press("Enter")
        assert field.input_value() == used
        assert f"Flip: this file holds sequences 0 to {last}" in one.page.inner_text("#say")
    field.fill("3")
    field.press("Enter")
    assert (field.input_value(), one.page.inner_text("#say")) == ("3", "")


def test_no_legend_of_a_difference_stands_where_none_is_drawn(known_series, file_of, reader):
    one = reader(file_of(known_series))
    one.open("heads=L0H0")
    one.settled("look")
    legend = one.page.locator("#attention-note .colours")
    assert legend.count() == 2
    one.go("heads=L0H0&head=L0H1", "look")
    assert legend.count() == 1


def test_on_a_phone_the_lines_of_phases_end_below_their_words(known_series, file_of, reader):
    one = reader(file_of(known_series), viewport={"width": 400, "height": 800})
    one.open()
    moments = one.page.locator("#graph .moments")
    boxes = {tag: [each.bounding_box() for each in moments.locator(tag).all()] for tag in ("text", "line")}
    assert len(boxes["text"]) == len(boxes["line"]) > 1
    assert min(box["y"] for box in boxes["line"]) >= max(box["y"] + box["height"] for box in boxes["text"]) - 1


def test_the_file_says_what_it_is(known_series, file_of, reader):
    """To somebody who has only the file: what made it, what it measures, and a command that names no folder of ours."""
    one = reader(file_of(known_series))
    one.open("heads=L0H0&kind=mean")
    said = one.page.inner_text("#file-panel")
    assert f"written by mechicl {mechicl.__version__}:" in said
    assert "were recorded in training. All other scores above are computed in this browser" in said
    assert "CIWL: the right label is in the context, on a wrong exemplar. A good score needs the weights." in said
    assert one.page.inner_text("#command") == "mechicl ablate RUN --heads L0H0 --kind mean --step 5"
    assert "checkpoints/" not in said


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The committed series, exported."""
    return export(
        open_series(ROOT / "checkpoints" / "demo"), tmp_path_factory.mktemp("demo") / "demo.html", progress=False
    )


@pytest.mark.slow
def test_the_readmes_numbers_without_python(demo, reader):
    """Four heads carry ICL: a reader takes them out, at Flip's peak, and reads what the README says. The file has all
    checkpoints and at most 25 MB."""
    series = open_series(ROOT / "checkpoints" / "demo")
    assert demo.stat().st_size <= 25e6
    heads, peak = icl_heads(series), series.nearest(series_phases(series)["flip"].peak)
    intact, without = re.search(
        r"At Flip's peak ICL is (\.\d+) with all heads and (\.\d+) without these four", (ROOT / "README.md").read_text()
    ).groups()
    one = reader(demo)
    one.open()
    assert int(one.page.get_attribute("#slider-input", "max")) == len(series.steps) - 1
    slider = one.page.locator("#slider-input")
    slider.focus()
    while int(one.page.get_attribute("#effect", "data-step")) != peak:
        one.page.keyboard.press("ArrowLeft")
        one.settled()
    for layer, head in heads:
        one.page.click(f'[data-part="L{layer}H{head}"]')
    one.settled()
    numbers = one.numbers()
    assert (numbers["icl"]["intact"], numbers["icl"]["ablated"]) == (intact, without)
    shot(one, "demo-1280")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zero", "mean", "resample", "pattern_preserving", "value_preserving"])
def test_demo_says_what_mechicl_says(demo, reader, kind):
    """At three checkpoints, to 1e-3: one sequence of 1,000 may fall to the other side of a tie."""
    series = open_series(ROOT / "checkpoints" / "demo")
    heads, steps = ((0, 1), (0, 4), (1, 3)), [series.steps[i] for i in (9, 17, -1)]
    table = series.evaluate(steps, ablate=AblateHeads(heads=heads, kind=kind), metrics=None)
    one = reader(demo)
    one.open()
    for step in steps:
        one.go(f"step={step}&heads=L0H1,L0H4,L1H3&kind={kind}")
        for name, row in one.numbers().items():
            rows = table[(table.step == step) & (table.evaluator == name)].set_index("intervention").value
            for side, value in zip(("intact", "ablated"), (rows["intact"], rows.drop("intact").item()), strict=True):
                assert abs(float(row[side]) - value) <= 1.001e-3, (step, name, side, plain(value))


@pytest.mark.slow
def test_pictures_to_look_at(demo, reader):
    for width in (390, 800, 1280, 1920):
        for scheme in ("light", "dark"):
            one = reader(demo, color_scheme=scheme, viewport={"width": width, "height": 900})
            one.open(
                "step=2200&heads=L0H1,L0H4&evaluator=flip&sequence=3" + ("&tab=logits" if scheme == "dark" else "")
            )
            one.settled("look")
            one.settled("grid")
            assert one.page.evaluate("document.documentElement.scrollWidth") <= width
            shot(one, f"{width}-{scheme}")


@pytest.mark.parametrize("width", [390, 1280])
def test_what_is_written_at_chains_and_at_text_has_room(tokens_of, file_of, reader, width):
    """The head of the score bar is 'accuracy or nats or share', and evaluators' names are longer than 'ICL'."""
    for name in ("markov", "text"):
        one = reader(file_of(tokens_of(name)), viewport={"width": width, "height": 900}, color_scheme="dark")
        one.open()
        zero, quantity, top = (
            one.page.locator(".ends span").nth(i).evaluate("e => [e.getBoundingClientRect().x, e.offsetWidth]")
            for i in range(3)
        )
        assert zero[0] + zero[1] + 5 <= quantity[0], name
        assert quantity[0] + quantity[1] + 5 <= top[0], name
        edge = one.page.locator("#graph svg").bounding_box()
        for at in one.page.locator("#graph .ends text").all():
            box = at.bounding_box()
            assert box["x"] + box["width"] <= edge["x"] + edge["width"], name
        shot(one, f"{name}-{width}")


def test_a_curve_that_begins_below_the_axis_says_where(tokens_of, file_of, reader):
    """A gain has no least value; the axis goes down to -0.5. Nothing is drawn below it."""
    series = tokens_of("markov")
    one = reader(file_of(series))
    one.open("axis=linear")
    shown = [EVALUATORS[name] for name in main(series.config)]
    first = {each.short: series.curve(each.name, each.primary_metric)[1][0] for each in shown}
    assert min(first.values()) < -0.5
    said = one.page.locator("#graph .below title").all_text_contents()
    assert said == [f"{name} begins below the axis, at {plain(v)}" for name, v in first.items() if v < -0.5]
    axis = one.page.locator("#graph .axis").bounding_box()["y"]
    for marker in one.page.locator("#graph .marker").all():
        assert marker.bounding_box()["y"] < axis


def test_a_long_pattern_is_a_picture_in_either_theme(tokens_of, file_of, reader):
    one = reader(file_of(tokens_of("markov")), color_scheme="light")
    one.open()
    one.settled("look")
    pictures = one.page.locator("#patterns canvas[role=img]")
    assert pictures.count() == 4
    assert pictures.first.get_attribute("aria-label") == "L0H0, intact"
    assert one.page.locator("#patterns rect").count() == 0
    pixel = """canvas => {
      const copy = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
      copy.drawImage(canvas, 0, 0);
      return [...copy.getImageData(0, 0, 1, 1).data];
    }"""  # the first position attends to itself alone
    light = pictures.first.evaluate(pixel)
    one.page.click('[data-do="theme"]')
    dark = pictures.first.evaluate(pixel)
    full = [shade(1.0, "attention")[0][11:-1].split(",")[i] for i in range(2)]
    assert [bytes(x[:3]).hex() for x in (light, dark)] == [colour[1:] for colour in full]
