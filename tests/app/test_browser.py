"""The page in a real browser: what is pressed is what is computed, and what is computed is what is read."""

import pytest

from mechicl.app.server import open_server
from mechicl.app.texts import plain, signed
from mechicl.evaluators import EVALUATORS
from mechicl.interventions import AblateHeads
from mechicl.measures.ablation import evaluate
from mechicl.measures.attention import attention_scores

KINDS = ("zero", "mean", "resample", "pattern_preserving", "value_preserving")


def head(user, layer: int, index: int):
    return user.page.get_by_test_id(f"head-{layer}-{index}")


def check_numbers(user, series, step: int, ablation: AblateHeads | None) -> None:
    """The page says what `mechicl.evaluate` says."""
    rows = evaluate(series, [step], ablate=ablation, progress=False)
    said = user.numbers()
    for name, row in said.items():
        table = rows[(rows.evaluator == name) & (rows.metric == EVALUATORS[name].headline)]
        sides = {"intact" if r.intervention == "intact" else "ablated": r for r in table.itertuples()}
        for side, want in sides.items():
            assert row[side] == plain(want.value), (name, side)
            assert row[f"{side}_ci"] == f"[{plain(want.ci_low)}, {plain(want.ci_high)}]"
            assert row["n"] == f"{want.n:,}"
        if ablation is None:
            assert (row["ablated"], row["change"]) == ("–", "–")
        else:
            assert row["change"] == signed(sides["ablated"].value - sides["intact"].value)


def test_it_opens_with_the_numbers_of_mechicl_evaluate(begin, known_series):
    one = begin()
    one.open("?run=known")
    check_numbers(one, known_series, 5, None)  # at ICL's peak
    assert "step 5 · 40 sequences · 2 of 3" in one.page.locator("#where").inner_text()
    one.page.wait_for_function("mechicl.settled('heads') && mechicl.settled('attention')")
    one.shot("light", full_page=True)


def test_pressing_a_head_ablates_it_and_pressing_again_puts_it_back(begin, known_series):
    one = begin()
    one.open("?run=known")
    head(one, 1, 2).click()
    assert head(one, 1, 2).get_attribute("aria-pressed") == "true"
    check_numbers(one, known_series, 5, AblateHeads(heads=((1, 2),)))
    head(one, 0, 1).click()
    check_numbers(one, known_series, 5, AblateHeads(heads=((1, 2), (0, 1))))
    head(one, 1, 2).click()
    head(one, 0, 1).click()
    check_numbers(one, known_series, 5, None)


def test_every_kind_of_ablation_is_explained_and_computed(begin, tiny_series):
    one = begin()
    one.open("?step=60&heads=0.1,1.0")
    explained = set()
    for kind in KINDS:
        one.page.locator('[data-set="kind"]').select_option(kind)
        check_numbers(one, tiny_series, 60, AblateHeads(heads=((0, 1), (1, 0)), kind=kind))
        explained.add(one.page.locator("#kind-note").inner_text() + one.page.locator("#baseline-note").inner_text())
    assert len(explained) == 5
    assert all("Baseline: " in text and len(text) > 60 for text in explained)


def test_shift_isolates_layers_go_whole_and_clear_puts_all_back(begin, known_series):
    one = begin()
    one.open("?run=known")
    head(one, 0, 1).click(modifiers=["Shift"])  # only this head of its layer
    check_numbers(one, known_series, 5, AblateHeads(heads=((0, 0), (0, 2), (0, 3))))
    head(one, 0, 1).click(modifiers=["Shift"])
    check_numbers(one, known_series, 5, None)
    one.page.get_by_role("button", name="layer 1").click()
    check_numbers(one, known_series, 5, AblateHeads(heads=tuple((1, h) for h in range(4))))
    head(one, 0, 0).click()
    one.page.get_by_role("button", name="layer 1").click()
    check_numbers(one, known_series, 5, AblateHeads(heads=((0, 0),)))
    one.page.get_by_role("button", name="Clear").click()
    check_numbers(one, known_series, 5, None)


def test_everything_by_keyboard(begin, tiny_series):
    one = begin()
    page = one.open("?step=20")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    check_numbers(one, tiny_series, 30, None)
    head(one, 0, 0).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press(" ")
    check_numbers(one, tiny_series, 30, AblateHeads(heads=((0, 0), (0, 1))))
    page.keyboard.press("ArrowRight")  # still steps, with a head in focus
    check_numbers(one, tiny_series, 40, AblateHeads(heads=((0, 0), (0, 1))))
    page.keyboard.press("Shift+Enter")
    check_numbers(one, tiny_series, 40, AblateHeads(heads=((0, 0),)))
    page.keyboard.press("Escape")
    check_numbers(one, tiny_series, 40, None)
    page.locator("#slider-input").focus()
    page.keyboard.press("Home")
    check_numbers(one, tiny_series, 0, None)
    page.keyboard.press("End")
    check_numbers(one, tiny_series, 60, None)
    reached = set()
    page.locator("body").press("Tab")
    for _ in range(60):
        reached.add(page.evaluate("document.activeElement.dataset.testid || document.activeElement.dataset.set || "
                                  "document.activeElement.dataset.do || document.activeElement.id"))  # fmt: skip
        page.keyboard.press("Tab")
    assert {"run", "play", "slider-input", "axis", "unit", "measure", "evaluator", "kind", "head-0-0", "head-1-1",
            "clear", "tab", "head", "sequence-input", "python", "theme"} <= reached  # fmt: skip


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
    check_numbers(one, tiny_series, 60, None)
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
             document.querySelector(`[data-head="${la}.${h}"]`).click(), 100 * i))""", order)  # fmt: skip
    page.wait_for_timeout(1000)
    left = {h for h in order if order.count(h) % 2}
    check_numbers(one, known_series, 5, AblateHeads(heads=tuple(left)))
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
        rows = table[(table.evaluator == name) & (table.metric == EVALUATORS[name].headline)]
        assert line == pytest.approx(rows[rows.intervention != "intact"].value.tolist())
    head(one, 0, 1).click()
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
    check_numbers(one, known_series, 10, None)
    page.keyboard.press("Escape")
    page.locator("h2").first.click()
    page.keyboard.press(" ")  # from the start again
    page.get_by_role("button", name="Pause").click()
    one.settled()
    assert page.evaluate("mechicl.index()") < 2


def test_the_grid_shows_the_chosen_measure(begin, known_series):
    one = begin()
    page = one.open("?run=known&measure=previous_token&evaluator=flip")

    def shown() -> list[str]:
        page.wait_for_function("mechicl.settled('heads')")
        return page.locator("#grid .score").all_inner_texts()

    table = attention_scores(known_series, [5], ["flip"], progress=False)
    table = table[table.metric == "previous_token"].sort_values(["layer", "head"])
    assert shown() == [plain(v, 2) for v in table.value]
    assert "n = " in page.locator("#scale-unit").inner_text()
    page.locator('[data-set="measure"]').select_option("effect_icl")
    intact = shown()
    assert len(intact) == 8
    assert any(x.startswith("−") for x in intact)
    page.locator('[data-set="measure"]').select_option("induction_strength")
    page.locator('#heads-panel [data-set="evaluator"]').select_option("iwl")
    assert set(shown()) == {"–"}  # no pair of the query's class there


def test_two_users_at_once_do_not_disturb_one_another(begin, known_series):
    a, b = begin(), begin(locale="de")
    a.open("?run=known&step=5")
    b.open("?run=known&step=10")
    for h in range(3):
        head(a, 0, h).click()
        head(b, 1, h).click()
    check_numbers(a, known_series, 5, AblateHeads(heads=((0, 0), (0, 1), (0, 2))))
    check_numbers(b, known_series, 10, AblateHeads(heads=((1, 0), (1, 1), (1, 2))))
    a.page.wait_for_function("document.getElementById('curve-progress').dataset.done === '3'")
    b.page.wait_for_function("document.getElementById('curve-progress').dataset.done === '3'")
    assert "L0H0" in a.page.locator("#curve-progress").inner_text()
    assert "L1H0" in b.page.locator("#curve-progress").inner_text()


def test_an_app_that_is_gone_says_so(begin, folder):
    server = open_server(folder / "tiny", port=0).start()
    one = begin(server.url)
    page = one.open("?step=20")
    page.wait_for_function("mechicl.settled('attention')")
    server.stop()
    page.route("**/answer/**", lambda route: route.abort())  # one that Chromium opened ahead would be served on
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.getElementById('say').textContent.includes('does not answer')")
    assert one.number("icl.intact") == "–"  # no stale number stands
    page.close()  # or it goes on asking
    assert one.wrong
    assert all("ERR_" in text for text in one.wrong)
    one.wrong.clear()


def test_a_connection_that_breaks_once_is_no_trouble(begin, tiny_series):
    one = begin()
    page = one.open("?step=20")
    page.wait_for_function("mechicl.settled('attention')")
    broken = []
    page.route("**/answer/effect/**", lambda route: route.continue_() if broken else broken.append(route.abort()))
    page.keyboard.press("ArrowRight")
    check_numbers(one, tiny_series, 30, None)
    assert broken
    assert page.locator("#say").inner_text() == ""
    assert [text for text in one.wrong if "ERR_FAILED" in text] == one.wrong
    one.wrong.clear()


def test_what_the_pointer_rests_on_is_computed_ahead(begin):
    one = begin()
    page = one.open("?run=known")
    page.wait_for_function("mechicl.settled('attention')")
    with page.expect_response(lambda r: "/answer/ahead/" in r.url and "heads=1.2" in r.url) as asked:
        head(one, 1, 2).hover()
    assert asked.value.json() == {"data": {"ready": 5}}
    assert page.evaluate("mechicl.view.heads") == ""  # and nothing has changed
    box = page.locator("#slider-input").bounding_box()
    with page.expect_response(lambda r: "/answer/ahead/" in r.url and "step=10" in r.url):
        page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
