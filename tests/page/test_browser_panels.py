"""Attention, logits, comparison, what can be taken along, and a page that is safe and stays at home."""

import io
import urllib.parse
import urllib.request

import numpy as np
import pandas as pd
import pytest

from mechicl.figures.attention import patterns
from mechicl.interventions import AblateHeads
from mechicl.measures.ablation import evaluate
from mechicl.page.texts import plain


def ready(one, panel: str) -> None:
    one.page.wait_for_function(f"mechicl.settled('{panel}')")


def drawn(card) -> list[str]:
    """What a pattern's boxes say, 'x1 → x1: 1.000'."""
    return card.locator("rect title").evaluate_all("x => x.map(e => e.textContent.replace('−', '-'))")


def test_attention_shows_the_patterns_intact_ablated_and_their_difference(begin, known_series):
    one = begin()
    page = one.open("?run=known&evaluator=flip&sequence=3&heads=0.1")
    ready(one, "attention")
    page.locator("#patterns .card").first.wait_for()
    assert page.locator("#patterns .card").count() == 8
    ablation = AblateHeads(heads=((0, 1),))
    intact, ablated = (
        patterns(known_series, [5], "flip", 3, a).values[0, 1, 2].numpy() for a in (None, ablation)
    )  # head L1H2: the induction head
    names = ["x1", "y1", "x2", "y2", "query"]
    once = page.locator("#patterns .card").nth(1)  # the ablated head: its output is removed, not its pattern
    assert once.locator("figure").count() == 1
    assert "not its pattern" in once.locator(".same").inner_text()
    assert "output is removed" in page.locator("#attention-note").inner_text()
    figures = page.locator("#patterns .card").nth(6).locator("figure")
    for figure, values in zip((0, 1, 2), (intact, ablated, ablated - intact), strict=True):
        said = drawn(figures.nth(figure))
        want = [f"{names[i]} → {names[j]}: " for i in range(5) for j in range(i + 1)]
        assert [x[: x.index(": ") + 2] for x in said] == want
        numbers = [float(x.split(": ")[1]) for x in said]
        assert numbers == pytest.approx([values[i, j] for i in range(5) for j in range(i + 1)], abs=0.0011)
    legend = page.locator("#attention-note .colours")
    assert legend.count() == 2
    page.locator("#patterns .card").nth(6).click()  # enlarged
    assert page.locator("#patterns .card").count() == 1
    assert legend.count() == 2
    assert "head=1.2" in page.evaluate("mechicl.query()")
    one.shot("attention-one-head")
    page.locator('select[data-set="head"]').select_option("0.0")
    page.wait_for_function("document.querySelectorAll('#patterns figure').length === 1")
    assert legend.count() == 1  # no difference is drawn


def test_a_sequence_shows_its_tokens_and_which_answers_its_labels_are(begin, known_series):
    one = begin()
    page = one.open("?run=known&evaluator=flip")
    page.locator("#sequence-input").fill("3")
    page.locator("#sequence-input").press("Enter")
    page.wait_for_function("document.querySelectorAll('.token.match').length > 1")
    batch = known_series.evaluation_set("flip")[[3]]
    texts = page.locator(".token > span").all_inner_texts()
    classes, labels = batch.classes[0].tolist(), batch.labels[0].tolist()
    assert texts == [
        f"class {classes[0]}",
        f"label {labels[0]}",
        f"class {classes[1]}",
        f"label {labels[1]}",
        f"class {classes[2]}",
    ]
    marks = page.locator("#tokens .token").nth(2 * labels.index(int(batch.target)) + 1).locator("mark")
    assert marks.all_inner_texts() == ["true", "in context"]
    said = page.locator("#answers").inner_text()
    assert f"in weights label {int(batch.trained_labels[0, -1])}" in said
    field, last = page.locator("#sequence-input"), len(known_series.evaluation_set("flip")) - 1
    for asked, used in (("5000", str(last)), ("-3", "0")):
        field.fill(asked)
        field.press("Enter")
        assert field.input_value() == used
        assert page.locator("#say").inner_text() == f"Flip has sequences 0 to {last}."
    page.get_by_role("button", name="average").click()
    page.wait_for_function("document.querySelector('#attention-note').textContent.includes('mean over')")


def test_circuitsvis_shows_the_same_from_its_local_bundle_served_once(begin):
    one = begin()
    page = one.open("?step=60")
    page.get_by_role("button", name="circuitsvis").click()
    frame = page.frame_locator("#circuitsvis iframe")
    frame.get_by_text("Head Selector").wait_for()
    assert page.locator("#attention-note").is_hidden()  # the colours are circuitsvis' own
    page.keyboard.press("ArrowLeft")
    ready(one, "attention")
    page.wait_for_function("document.querySelector('#circuitsvis iframe').src.includes('step=50')")
    frame.get_by_text("Head Selector").wait_for()
    scripts = [u for u in one.asked if "circuitsvis.js" in u]
    assert len(set(scripts)) == 1
    with urllib.request.urlopen(scripts[0]) as answer:
        assert "immutable" in answer.headers["Cache-Control"]
    one.shot("circuitsvis", full_page=True)


def test_logits_say_which_labels_win_and_who_adds_what(begin):
    one = begin()
    page = one.open("?run=known&tab=logits&sequence=2&evaluator=icl&heads=1.2")
    ready(one, "logits")
    rows = page.locator("#logits-labels tr")
    assert "true" in rows.nth(1).inner_text()  # at its peak the circuit answers rightly
    p = [float(x.split("p = ")[1].split(",")[0]) for x in page.locator(".chance-bar.intact").all_inner_texts()]
    assert p == sorted(p, reverse=True)
    page.wait_for_selector("#logits .heatmaplayer")
    parts = page.evaluate("document.getElementById('logits').data[0].y")
    assert parts == ["embed", *[f"L{la}H{h}" for la in (0, 1) for h in range(4)], "bias"]
    ablated = page.evaluate("document.getElementById('logits').calcdata[1][0].z.map((row) => [...row])")
    assert np.allclose(ablated[parts.index("L1H2")], 0)
    one.shot("logits", full_page=True)
    width = "document.getElementById('logits')._fullLayout?.width"
    wide = page.evaluate(width)
    page.locator('[data-set="sequence"][data-to=""]').click()
    page.wait_for_function(f"{width} < {wide} - 100")  # two columns of averages
    page.locator("#sequence-input").fill("2")
    page.locator("#sequence-input").press("Enter")
    page.wait_for_function(f"{width} === {wide}")  # as when it is opened directly


def test_two_checkpoints_and_two_runs_side_by_side(begin, tiny_series, known_series):
    one = begin()
    page = one.open("?step=60&tab=compare&with_step=20&heads=0.1")
    ready(one, "compare")
    table = evaluate(tiny_series, [20, 60], ablate=AblateHeads(heads=((0, 1),)), progress=False)
    want = {
        step: table[
            (table.step == step)
            & (table.evaluator == "ciwl")
            & (table.metric == "in_context_acc")
            & (table.intervention != "intact")
        ].value.item()
        for step in (20, 60)
    }
    cells = page.locator('[data-compare="ciwl"] td > span').all_inner_texts()
    assert cells[:2] == [plain(want[60]), plain(want[20])]
    assert "paired" in page.locator("#comparison").inner_text()
    page.locator("#with-input").fill("0")  # a range: its first checkpoint
    page.wait_for_function("document.getElementById('with-where').textContent.startsWith('step 0')")
    page.locator('[data-set="with_run"]').select_option("known")
    page.wait_for_function("document.getElementById('with-where').textContent.startsWith('step 5')")
    rows = evaluate(known_series, [5], ["icl"], AblateHeads(heads=((0, 1),)), metrics=None, progress=False)
    ready(one, "compare")
    assert page.locator('[data-compare="icl"] td > span').all_inner_texts()[1] == plain(rows.value.iloc[1])
    assert "paired" not in page.locator("#comparison thead, #comparison tr").first.inner_text()
    page.wait_for_selector("#compare-figure .scatterlayer")
    assert page.locator("#comparison .small-grid").count() == 2
    assert page.locator("#compare-figure .subplot").count() == 1  # curves over one another
    heads = page.locator("#comparison .small-grid").nth(0).locator(".head")
    assert "out" in heads.nth(1).get_attribute("class")
    one.shot("compare", full_page=True)


def test_attention_of_two_checkpoints_stands_side_by_side_with_its_difference(begin, known_series):
    one = begin()
    page = one.open("?run=known&step=5&tab=compare&with_step=10&evaluator=flip&sequence=3")
    ready(one, "compare")
    cards = page.locator("#compare-patterns .card")
    assert cards.count() == 8
    a, b = (patterns(known_series, [step], "flip", 3).values[0, 1, 2].numpy() for step in (5, 10))
    figures = cards.nth(6).locator("figure")
    assert figures.locator("figcaption").all_inner_texts() == ["A", "B", "B − A"]
    for i, values in enumerate((a, b, b - a)):
        numbers = [float(x.split(": ")[1]) for x in drawn(figures.nth(i))]
        assert numbers == pytest.approx([values[i, j] for i in range(5) for j in range(i + 1)], abs=0.0011)
    assert page.locator("#compare-patterns .token").count() == 5  # the same sequence: its tokens once
    cards.nth(6).click()
    assert cards.count() == 1
    assert "head=1.2" in page.evaluate("mechicl.query()")
    page.locator('[data-set="with_run"]').select_option("tiny")
    page.wait_for_function("document.getElementById('with-where').textContent && mechicl.settled('compare')")
    cards.first.wait_for()
    assert cards.locator("figcaption").all_inner_texts() == ["A"]  # tiny has no head 1.2
    assert "No difference" in page.locator("#compare-patterns .note").inner_text()


def test_everything_can_be_taken_along(begin, tiny_series):
    one = begin()
    page = one.open("?step=60&heads=0.1")

    def take(what: str, form: str) -> bytes:
        page.locator(".menu summary").click()
        with page.expect_download() as caught:
            page.locator(f'[data-export="{what}"][data-format="{form}"]').click()
        assert caught.value.suggested_filename == f"tiny-step60-{what}.{form}"
        return caught.value.path().read_bytes()

    ablated = AblateHeads(heads=((0, 1),))
    want = evaluate(tiny_series, [60], ["icl"], ablated, metrics=None, progress=False)
    for found in (pd.read_csv(io.BytesIO(take("table", "csv"))), pd.read_parquet(io.BytesIO(take("table", "parquet")))):
        assert found[found.evaluator == "icl"].value.tolist() == pytest.approx(want.value.tolist())
    assert len(pd.read_parquet(io.BytesIO(take("curve", "parquet")))) == 9 * 5 * 2
    assert take("timeline", "png")[:8] == b"\x89PNG\r\n\x1a\n"
    assert b"<svg" in take("attention", "svg")[:500]
    page_of = take("heads", "html").decode()
    assert "previous-token" in page_of
    assert len(page_of) > 4_000_000  # plotly is in it: it opens offline


@pytest.mark.slow
def test_the_address_holds_the_whole_view(begin):
    one = begin()
    page = one.open("?step=20")
    page.get_by_test_id("head-1-0").click()
    page.locator('[data-set="kind"]').select_option("resample")
    page.locator('[data-set="measure"]').select_option("logit")
    page.locator('#pick [data-set="evaluator"]').select_option("flip")
    page.get_by_role("button", name="linear").click()
    page.get_by_role("button", name="steps").click()
    page.get_by_role("button", name="Logits").click()
    page.locator("#sequence-input").fill("7")
    page.locator("#sequence-input").press("Enter")
    page.keyboard.press("Escape")
    page.locator("h2").first.click()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("location.search.includes('sequence=7') && location.search.includes('step=30')")
    before = one.numbers()
    address = page.url
    assert address.endswith(
        "?run=tiny&step=30&heads=L1H0&kind=resample&measure=logit&evaluator=flip&sequence=7"
        "&axis=linear&unit=steps&tab=logits"
    )
    other = begin()
    again = other.open(address.removeprefix(other.url))
    assert other.numbers() == before
    assert again.locator("#sequence-input").input_value() == "7"
    assert again.get_by_role("button", name="linear").get_attribute("aria-pressed") == "true"
    again.get_by_role("button", name="Copy as Python").click()
    again.wait_for_selector("#code[open]")
    assert "kind='resample'" in again.locator("#python").inner_text()


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?run=nobody", "there is no run|not a run of this folder"),
        ("?run=..%2F..%2Fetc", "expected the name of a run"),
        ("?step=7", "no checkpoint at step 7"),
        ("?heads=%3C/script%3E%3Cscript%3Edocument.title='owned'%3C/script%3E", "</script><script>document"),
    ],
)
def test_a_view_that_cannot_be_shown_is_one_clear_sentence(begin, query, says):
    one = begin()
    one.page.goto(one.url + query)
    text = one.page.locator("#trouble").inner_text()
    assert any(part in text for part in says.split("|"))
    assert "Traceback" not in one.page.content()
    assert one.page.title() == "mechicl"
    one.page.get_by_role("link", name="known").click()  # what can be shown instead
    one.page.wait_for_selector("#effect[data-shown]")


def test_a_broken_checkpoint_says_which_and_the_others_still_work(begin):
    one = begin()
    page = one.open("?run=broken&step=10")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.getElementById('say').textContent.includes('(altered)')")
    assert "mechicl verify" in page.locator("#say").inner_text()
    assert one.number("icl.intact") == "–"
    page.keyboard.press("ArrowRight")
    page.wait_for_function("mechicl.settled() && document.getElementById('say').textContent === ''")
    assert one.number("icl.intact") != "–"


def test_a_runs_name_is_text_and_nothing_else(begin, hostile):
    one = begin()
    page = one.open("?run=" + urllib.parse.quote(hostile))
    ready(one, "attention")
    page.get_by_role("button", name="Compare").click()
    ready(one, "compare")
    page.wait_for_selector("#compare-figure .scatterlayer")
    assert page.title() == f"{hostile} · mechicl"
    assert page.locator("img").count() == 0
    assert page.evaluate("[...document.scripts].every(s => !s.textContent.includes('owned'))")
    page.get_by_role("button", name="Copy as Python").click()
    page.wait_for_selector("#code[open]")
    assert "document.title=" in page.locator("#python").inner_text()


@pytest.mark.slow
def test_a_walk_through_every_panel_asks_for_nothing_elsewhere(begin):
    one = begin(guard=True, color_scheme="dark")
    page = one.open("?run=known&heads=1.2", hints=True)
    ready(one, "attention")
    one.shot("dark-first-visit", full_page=True)
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.locator(".hint:visible").count() == 6
    for button in page.locator(".hint:visible button").all()[::-1]:
        button.click()
    assert page.locator(".hint:visible").count() == 0
    for tab in ("Logits", "Compare", "Attention"):
        page.get_by_role("button", name=tab, exact=True).click()
        ready(one, tab.lower())
    page.get_by_role("button", name="circuitsvis").click()
    page.frame_locator("#circuitsvis iframe").get_by_text("Head Selector").wait_for()
    page.get_by_role("button", name="Light or dark").click()
    assert page.locator("html").get_attribute("data-theme") == "light"
    page.reload()
    page.wait_for_selector("#effect[data-shown]")
    assert page.locator("html").get_attribute("data-theme") == "light"  # as chosen
    assert len(one.asked) > 20
    assert all(url.startswith((one.url, "data:", "blob:")) for url in one.asked)
    assert not one.foreign


def test_in_a_notebook_the_page_is_a_frame(begin, tiny_series, tmp_path):
    import mechicl

    server = mechicl.app(tiny_series)
    try:
        (tmp_path / "cell.html").write_text(server._repr_html_())
        one = begin(server.url)
        one.page.goto((tmp_path / "cell.html").as_uri())
        frame = one.page.frame_locator("iframe")
        frame.locator("#effect[data-shown]").wait_for()
        assert server.url in repr(server)
        one.page.close()  # first: what it still asks a stopped server for would be reset
    finally:
        server.stop()
