"""The page in a real browser: what is clicked is what is computed, and what is computed is what is read."""

import pytest

from mechicl.evaluators import EVALUATORS
from mechicl.interventions import AblateHeads
from mechicl.measures.ablation import evaluate
from mechicl.measures.attention import attention_scores
from mechicl.page.texts import plain

KINDS = ("zero", "mean", "resample", "pattern_preserving", "value_preserving")


def test_it_opens_with_the_numbers_of_mechicl_evaluate(begin, known_series):
    one = begin()
    one.open("?run=known")
    one.check(known_series, 5, None)  # at ICL's peak
    assert "step 5 · 40 sequences · 2 of 3" in one.page.locator("#where").inner_text()
    one.page.wait_for_function("mechicl.settled('heads') && mechicl.settled('attention')")
    one.shot("light", full_page=True)


def test_clicking_a_head_ablates_it_and_clicking_again_puts_it_back(begin, known_series):
    one = begin()
    one.open("?run=known")
    one.head(1, 2).click()
    assert one.head(1, 2).get_attribute("aria-pressed") == "true"
    one.check(known_series, 5, AblateHeads(heads=((1, 2),)))
    one.head(0, 1).click()
    one.check(known_series, 5, AblateHeads(heads=((1, 2), (0, 1))))
    one.head(1, 2).click()
    one.head(0, 1).click()
    one.check(known_series, 5, None)


@pytest.mark.slow
def test_every_kind_of_ablation_is_explained_and_computed(begin, tiny_series):
    one = begin()
    one.open("?step=60&heads=0.1,1.0")
    explained = set()
    for kind in KINDS:
        one.page.locator('[data-set="kind"]').select_option(kind)
        one.check(tiny_series, 60, AblateHeads(heads=((0, 1), (1, 0)), kind=kind))
        explained.add(one.page.locator("#kind-note").inner_text() + one.page.locator("#baseline-note").inner_text())
    assert len(explained) == 5
    assert all("Baseline: " in text and len(text) > 60 for text in explained)


@pytest.mark.slow
def test_shift_isolates_layers_go_whole_and_clear_puts_all_back(begin, known_series):
    one = begin()
    one.open("?run=known")
    one.head(0, 1).click(modifiers=["Shift"])  # only this head of its layer
    one.check(known_series, 5, AblateHeads(heads=((0, 0), (0, 2), (0, 3))))
    one.head(0, 1).click(modifiers=["Shift"])
    one.check(known_series, 5, None)
    one.page.get_by_role("button", name="layer 1").click()
    one.check(known_series, 5, AblateHeads(heads=tuple((1, h) for h in range(4))))
    one.head(0, 0).click()
    one.page.get_by_role("button", name="layer 1").click()
    one.check(known_series, 5, AblateHeads(heads=((0, 0),)))
    one.page.get_by_role("button", name="Clear").click()
    one.check(known_series, 5, None)


@pytest.mark.slow
def test_everything_by_keyboard(begin, tiny_series):
    one = begin()
    page = one.open("?step=20")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    one.check(tiny_series, 30, None)
    one.head(0, 0).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")
    one.check(tiny_series, 30, AblateHeads(heads=((0, 0), (0, 1))))
    page.keyboard.press(".")  # still steps, with a head in focus
    one.check(tiny_series, 40, AblateHeads(heads=((0, 0), (0, 1))))
    page.keyboard.press("Shift+Enter")
    one.check(tiny_series, 40, AblateHeads(heads=((0, 0),)))
    page.keyboard.press("Escape")
    one.check(tiny_series, 40, None)
    page.locator("#slider-input").focus()
    page.keyboard.press("Home")
    one.check(tiny_series, 0, None)
    page.keyboard.press("End")
    one.check(tiny_series, 60, None)
    one.head(0, 1).press("Enter")  # something that can be cleared
    one.check(tiny_series, 60, AblateHeads(heads=((0, 1),)))
    reached = set()
    page.locator("body").press("Tab")
    for _ in range(60):
        reached.add(
            page.evaluate(
                "document.activeElement.dataset.testid || document.activeElement.dataset.set || "
                "document.activeElement.dataset.do || document.activeElement.id"
            )
        )
        page.keyboard.press("Tab")
    assert {
        "run",
        "play",
        "slider-input",
        "axis",
        "unit",
        "measure",
        "evaluator",
        "kind",
        "clear",
        "tab",
        "head",
        "sequence-input",
        "python",
        "undo",
        "theme",
    } <= reached
    assert "head-0-1" in reached  # the grid is one stop: where one was


def test_the_cursor_follows_the_slider_while_it_is_dragged(begin, tiny_series):
    one = begin()
    page = one.open("?step=0&axis=linear")
    page.wait_for_selector("#timeline .scatterlayer")
    page.wait_for_function("mechicl.settled('timeline') && document.getElementById('cursor').dataset.step")
    box = page.locator("#slider-input").bounding_box()
    y, x = box["y"] + box["height"] / 2, box["x"]
    place = lambda: page.locator("#cursor").bounding_box()["x"]  # noqa: E731
    start = place()
    page.mouse.move(x + 8, y)
    page.mouse.down()
    seen = []
    for share in (0.3, 0.6, 0.95):
        page.mouse.move(x + share * box["width"], y, steps=4)
        page.wait_for_timeout(60)
        seen.append(place())
    assert start < seen[0] < seen[1] < seen[2]  # before the button is let go
    page.mouse.move(x + box["width"], y)
    page.mouse.up()
    one.check(tiny_series, 60, None)
    assert page.locator("#cursor").get_attribute("data-step") == "60"
    plot = page.locator("#timeline .xy .gridlayer, #timeline .nsewdrag").last.bounding_box()
    assert plot["x"] <= place() <= plot["x"] + plot["width"] + 2


def test_ten_clicks_in_a_second_end_in_the_right_state(begin, known_series):
    one = begin()
    page = one.open("?run=known")
    before = len([u for u in one.asked if "/answer/effect" in u])
    order = [(0, 0), (0, 1), (1, 2), (0, 0), (1, 3), (0, 2), (1, 2), (0, 0), (0, 1), (1, 1)]
    page.evaluate(
        """(heads) => heads.forEach(([la, h], i) => setTimeout(() =>
             document.querySelector(`[data-head="${la}.${h}"]`).click(), 100 * i))""",
        order,
    )
    page.wait_for_timeout(1000)
    left = {h for h in order if order.count(h) % 2}
    one.check(known_series, 5, AblateHeads(heads=tuple(left)))
    pressed = page.locator('#grid [aria-pressed="true"]')
    assert {tuple(map(int, x.split("."))) for x in pressed.evaluate_all("x => x.map(e => e.dataset.head)")} == left
    assert len([u for u in one.asked if "/answer/effect" in u]) - before <= 22  # each perhaps with the next step's


def test_the_curve_under_the_same_ablation_streams_in(begin, tiny_series):
    one = begin()
    page = one.open("?heads=0.1,1.1")
    page.wait_for_function("document.getElementById('curve-progress').dataset.done === '9'")
    drawn = page.evaluate("document.querySelector('#timeline .js-plotly-plot').data.slice(15).map(t => [...t.y])")
    table = evaluate(tiny_series, ablate=AblateHeads(heads=((0, 1), (1, 1))), progress=False)
    for name, line in zip(("icl", "flip", "ciwl", "iwl", "train"), drawn, strict=True):
        rows = table[(table.evaluator == name) & (table.metric == EVALUATORS[name].primary_metric)]
        assert line == pytest.approx(rows[rows.intervention != "intact"].value.tolist())
    one.head(0, 1).click()
    page.wait_for_function("document.getElementById('curve-progress').textContent.includes('without L1H1')")
    page.wait_for_function("document.getElementById('curve-progress').dataset.done === '9'")
    page.get_by_role("button", name="Clear").click()
    assert page.locator("#curve-progress").inner_text() == ""


def test_play_goes_through_training_and_stops_at_the_end(begin, known_series):
    one = begin()
    page = one.open("?run=known&step=0")
    page.get_by_role("button", name="Play").click()
    page.get_by_role("button", name="Pause").wait_for()
    page.get_by_role("button", name="Play").wait_for()
    one.check(known_series, 10, None)
    page.keyboard.press("Escape")
    page.locator("h2").first.click()
    page.keyboard.press(" ")  # from the start again
    page.get_by_role("button", name="Pause").click()
    one.settled()
    assert page.evaluate("mechicl.index()") < 5  # of 9: it did not go on from the end


def test_the_grid_shows_the_chosen_measure(begin, known_series):
    one = begin()
    page = one.open("?run=known&measure=previous_token&evaluator=flip")

    def shown() -> list[str]:
        page.wait_for_function("mechicl.settled('heads')")
        return page.locator("#grid .score").all_inner_texts()

    table = attention_scores(known_series, [5], ["flip"], progress=False)
    table = table[table.metric == "previous_token"].sort_values(["layer", "head"])
    assert shown() == [plain(v, 2) for v in table.value]
    even = f"{table.uniform.iloc[0]:.2f}".lstrip("0")
    assert set(page.locator("#grid .beside").all_inner_texts()) == {f"vs {even}"}
    legend = page.locator("#scale .scale-unit")
    assert "n = 500 sequences" in legend.inner_text()
    assert f"{even}, uniform attention" in legend.inner_text()
    on = page.locator('#heads-panel [data-set="evaluator"]')
    assert on.is_visible()
    page.locator('[data-set="measure"]').select_option("effect_icl")
    assert not on.is_visible()  # its sequences are ICL's, whatever is chosen
    intact = shown()
    assert len(intact) == 8
    assert any(x.startswith("−") for x in intact)
    one.head(1, 2).click()  # the model as it is ablated: what the others do without it, and nothing of its own
    without = shown()
    assert without[6] == "–"
    assert without[5] != "–"
    assert "without L1H2" in page.locator("#measure-note").inner_text()
    one.head(1, 2).click()
    assert shown() == intact
    page.locator('[data-set="measure"]').select_option("induction_strength")
    assert on.is_visible()
    assert on.locator("option:disabled").evaluate_all("x => x.map(e => e.value)") == ["ciwl", "iwl"]
    page.locator('#pick [data-set="evaluator"]').select_option("iwl")
    assert set(shown()) == {"–"}  # no pair of the query's class there


def test_colours_follow_the_theme_and_zero_attention_is_the_darkest_in_the_dark(begin):
    one = begin()
    page = one.open("?run=known&evaluator=flip&sequence=3")
    page.wait_for_function("mechicl.settled('attention')")
    fills = """() => mechicl.all('#patterns rect').map((box) => {
      const v = Number(box.textContent.split(': ')[1]), c = getComputedStyle(box).fill.match(/[\\d.]+/g).map(Number);
      return [v, c[0] + c[1] + c[2]]; })"""
    for theme in ("light", "dark"):
        if page.locator("html").get_attribute("data-theme") != theme:
            page.get_by_role("button", name="Light or dark").click()
        drawn = sorted(page.evaluate(fills))
        assert len({shade for _, shade in drawn}) > 5
        least, most = drawn[0][1], drawn[-1][1]
        assert (least < most) == (theme == "dark")
        assert least == (min if theme == "dark" else max)(shade for _, shade in drawn)
    page.get_by_role("button", name="Logits").click()
    page.wait_for_function("mechicl.settled('logits')")
    page.wait_for_selector("#logits .heatmaplayer")
    middle = "document.getElementById('logits').layout.coloraxis.colorscale[4][1]"
    dark = page.evaluate(middle)
    page.get_by_role("button", name="Light or dark").click()
    page.wait_for_function(f"{middle} !== '{dark}'")
    page.evaluate("localStorage.removeItem('mechicl-theme')")


def test_a_control_that_does_nothing_is_not_shown(begin):
    one = begin()
    page = one.open("?step=60")
    clear = page.get_by_role("button", name="Clear")
    assert not clear.is_visible()
    one.head(0, 1).click()
    assert clear.is_visible()
    clear.click()
    assert not clear.is_visible()


@pytest.mark.slow
def test_two_users_at_once_do_not_disturb_one_another(begin, known_series):
    a, b = begin(), begin(locale="de")
    a.open("?run=known&step=5")
    b.open("?run=known&step=10")
    for h in range(3):
        a.head(0, h).click()
        b.head(1, h).click()
    a.check(known_series, 5, AblateHeads(heads=((0, 0), (0, 1), (0, 2))))
    b.check(known_series, 10, AblateHeads(heads=((1, 0), (1, 1), (1, 2))))
    a.page.wait_for_function("document.getElementById('curve-progress').dataset.done === '3'")
    b.page.wait_for_function("document.getElementById('curve-progress').dataset.done === '3'")
    assert "L0H0" in a.page.locator("#curve-progress").inner_text()
    assert "L1H0" in b.page.locator("#curve-progress").inner_text()
