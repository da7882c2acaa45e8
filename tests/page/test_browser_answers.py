"""What the page does with answers that are late, out of order, wrong or missing."""

import pytest

from mechicl.interventions import AblateHeads
from mechicl.page.server import open_server

HOLD = """(panel) => {
  const real = window.fetch;
  window.held = [];
  window.fetch = async (address, options) => {
    const answer = await real(address, options);
    if (String(address).startsWith("answer/" + panel)) await new Promise((go) => window.held.push(go));
    return answer;
  };
}"""
NEWEST_FIRST = """() => {
  window.held.pop()?.();
  return ["effect", "heads", "attention"].every(mechicl.settled);
}"""


def test_answers_that_come_late_and_out_of_order_leave_the_right_numbers(begin, tiny_series):
    """Every answer is held back, and of those held the newest is let go first."""
    one = begin()
    page = one.open("?step=5")
    page.wait_for_function("mechicl.settled('attention') && mechicl.settled('heads')")
    page.evaluate(HOLD, "")
    for _ in range(4):
        page.keyboard.press(".")  # arrow keys move within the grid, once a head is in focus
        one.head(1, 1).click()
    one.head(0, 1).click()
    page.wait_for_function("window.held.length > 0")
    page.keyboard.press(",")  # changed again while answers are under way
    page.wait_for_function(NEWEST_FIRST)
    one.check(tiny_series, 30, AblateHeads(heads=((0, 1),)))
    assert page.locator("#effect").get_attribute("data-step") == "30"
    assert page.locator("#effect-where").inner_text().startswith("step 30 ")
    scores = page.locator("#grid .score").all_inner_texts()
    fresh = begin()
    again = fresh.open("?step=30&heads=0.1")
    again.wait_for_function("mechicl.settled('heads')")
    assert again.locator("#grid .score").all_inner_texts() == scores


CONTROLS = "mechicl.all('[data-cell$=controls_ci]').map((cell) => cell.textContent).join('')"


def test_controls_that_come_after_clear_are_not_drawn(begin):
    """Nothing is done to the model any more, and nothing would ask for other controls."""
    one = begin()
    page = one.open("?step=20")
    page.wait_for_function("mechicl.settled('attention')")
    page.evaluate(HOLD, "controls")
    one.head(0, 1).click()
    page.wait_for_function("window.held.length === 1")
    page.keyboard.press("Escape")
    one.settled()
    page.evaluate("window.held.pop()()")
    page.wait_for_timeout(500)
    assert page.evaluate(CONTROLS) == ""
    assert page.locator("#effect-note").inner_text() == "Click a head below to see what changes without it."


def test_controls_come_back_with_the_view_whose_they_are(begin):
    """The numbers of another view stood on the page in between, without them."""
    one = begin()
    page = one.open("?step=20&heads=L0H1")
    page.wait_for_function(CONTROLS)
    page.evaluate(HOLD, "effect")
    one.head(1, 1).click()
    page.wait_for_function("window.held.length === 1")
    one.head(1, 1).click()
    page.evaluate("window.held.pop()()")  # of the view that was left: drawn, and the present one's is asked for
    page.wait_for_function("window.held.length === 1")
    assert page.evaluate(CONTROLS) == ""
    page.evaluate("window.held.pop()()")
    page.wait_for_function(CONTROLS)


def test_what_no_sequence_has_is_said_once_and_holds_nothing_up(begin):
    """Its controls are not asked for again and again, and the curve is begun."""
    one = begin()
    page = one.open("?run=known&step=10&edge=match_label->query")  # nothing sees what comes later
    page.wait_for_function("document.getElementById('curve-progress').textContent.includes('all 3 checkpoints')")
    assert len([url for url in one.asked if "/answer/controls" in url]) == 1
    assert "is not in these sequences" in page.locator("#effect-note").inner_text()
    assert one.number("icl.ablated_ci") == "not in these sequences"


@pytest.mark.parametrize("panel", ["heads", "attention", "logits", "compare"])
def test_what_is_wrong_is_said_until_the_next_good_answer(begin, panel):
    """Also of a panel whose numbers alone are asked for again; and nothing stale stands meanwhile."""
    one = begin()
    tab = panel if panel != "heads" else "attention"
    page = one.open(f"?step=20&tab={tab}&with_step=60")
    page.wait_for_function(f"mechicl.settled('heads') && mechicl.settled('{tab}')")
    wrong = {"json": {"error": "a cat sat on it"}}
    page.route(f"**/answer/{panel}/**", lambda route: route.fulfill(**wrong) if wrong else route.continue_())
    page.locator('#pick [data-set="evaluator"]').select_option("flip")
    page.wait_for_function("document.getElementById('say').textContent === 'a cat sat on it'")
    left = {
        "heads": "#grid .score",
        "attention": "#patterns .card",
        "logits": "#logits .main-svg",
        "compare": "#comparison td",
    }
    assert {x.strip("–") for x in page.locator(left[panel]).all_text_contents()} <= {""}
    assert one.number("icl.intact") != "–"  # of that panel alone
    wrong.clear()
    page.locator('#pick [data-set="evaluator"]').select_option("icl")
    page.wait_for_function("document.getElementById('say').textContent === ''")
    page.wait_for_function(f"mechicl.settled('heads') && mechicl.settled('{tab}')")
    page.locator(left[panel]).first.wait_for()
    assert page.locator(left[panel]).first.text_content() != "–"


def test_what_is_wrong_with_a_tab_is_said_while_it_is_open(begin):
    one = begin()
    page = one.open("?step=20")
    page.route("**/answer/logits/**", lambda route: route.fulfill(json={"error": "a cat sat on it"}))
    page.get_by_role("button", name="Logits").click()
    page.wait_for_function("document.getElementById('say').textContent === 'a cat sat on it'")
    page.get_by_role("button", name="Attention", exact=True).click()
    assert page.locator("#say").inner_text() == ""
    page.get_by_role("button", name="Logits").click()
    assert page.locator("#say").inner_text() == "a cat sat on it"


def test_a_notice_goes_with_the_next_change(begin):
    one = begin()
    page = one.open("?step=20")
    page.wait_for_function("mechicl.settled('attention')")
    page.get_by_role("button", name="Copy link").click()
    page.wait_for_function("document.getElementById('say').textContent !== ''")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.getElementById('say').textContent === ''")


@pytest.mark.slow
def test_a_curve_passes_over_a_checkpoint_that_cannot_be_read(begin):
    one = begin()
    page = one.open("?run=broken&step=10&heads=0.1")
    page.wait_for_function("document.getElementById('curve-progress').textContent.includes('8 checkpoints; 1 cannot')")
    page.wait_for_function("mechicl.settled('attention')")
    asked = len([u for u in one.asked if "/answer/curve" in u])
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("mechicl.settled() && mechicl.settled('attention')")
    assert len([u for u in one.asked if "/answer/curve" in u]) == asked  # it is done, and not begun again
    assert page.locator("#say").inner_text() == ""


def test_a_curve_that_fails_is_not_asked_for_again(begin):
    """Until something else is done to the model."""
    one = begin()
    page = one.open("?step=20")
    page.wait_for_function("mechicl.settled('attention')")
    page.route("**/answer/curve/**", lambda route: route.fulfill(json={"error": "a cat sat on it"}))
    one.head(0, 1).click()
    page.wait_for_function("document.getElementById('say').textContent === 'a cat sat on it'")
    page.wait_for_timeout(1500)
    assert len([url for url in one.asked if "/answer/curve" in url]) == 1
    assert page.locator("#curve-progress").inner_text().endswith("it stopped after 0 checkpoints.")
    page.unroute("**/answer/curve/**")
    one.head(1, 1).click()
    page.wait_for_function("document.getElementById('curve-progress').textContent.includes('all ')")
    assert page.locator("#say").inner_text() == ""


def test_an_app_that_is_gone_says_so(begin, folder):
    server = open_server(folder / "tiny", port=0).start()
    one = begin(server.url)
    page = one.open("?step=20&heads=L0H1")
    page.wait_for_function("mechicl.settled('attention')")
    page.wait_for_function("document.getElementById('effect-note').textContent.startsWith('Controls')")
    server.stop()
    page.route("**/answer/**", lambda route: route.abort())  # one that Chromium opened ahead would be served on
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.getElementById('say').textContent.includes('does not answer')")
    page.wait_for_function("document.getElementById('effect-note').textContent === ''")  # another panel may fail first
    assert one.number("icl.intact") == "–"  # no stale number stands
    page.close()  # or it goes on asking
    assert one.wrong
    assert all("ERR_" in text for text in one.wrong)
    one.wrong.clear()


# As the browser says it. (Requests that a test's own interception breaks depend on how soon it is told of them.)
BREAKS_ONCE = """() => {
  const fetched = window.fetch;
  window.asked = 0;
  window.fetch = (url, options) => {
    const effect = String(url).includes("answer/effect");
    if (effect) window.asked += 1;
    return effect && window.asked === 1 ? Promise.reject(new TypeError("Failed to fetch")) : fetched(url, options);
  };
}"""


def test_a_connection_that_breaks_once_is_no_trouble(begin, tiny_series):
    one = begin()
    page = one.open("?step=20")
    page.wait_for_function("mechicl.settled('attention')")
    page.evaluate(BREAKS_ONCE)
    page.keyboard.press("ArrowRight")
    one.check(tiny_series, 30, None)
    assert page.evaluate("window.asked") >= 2
    assert page.locator("#say").inner_text() == ""


# As when a laptop wakes with a server that is back a little later.
AWAY = """() => {
  const fetched = window.fetch;
  window.away = true;
  window.refused = [];
  window.fetch = (address, options) => {
    if (!window.away) return fetched(address, options);
    window.refused.push(String(address));
    return Promise.reject(new TypeError("Failed to fetch"));
  };
}"""


def test_an_app_that_is_back_is_asked_again(begin, tiny_series):
    """Every panel, without anything that the reader does; and not without a pause."""
    one = begin()
    page = one.open("?step=20")
    page.locator("#track-panel").scroll_into_view_if_needed()
    page.wait_for_function("mechicl.settled('attention') && mechicl.track.settled()")
    page.evaluate("mechicl.LATER = 1500")
    page.evaluate(AWAY)
    page.keyboard.press(".")
    page.wait_for_function("document.getElementById('track-note').textContent.includes('does not answer')")
    page.wait_for_function("document.getElementById('say').textContent.includes('does not answer')")
    page.evaluate("mechicl.branches.look()")
    assert len(page.evaluate("window.refused.filter((address) => address.includes('effect'))")) < 20
    page.evaluate("window.away = false")
    page.wait_for_function("mechicl.track.settled() && mechicl.settled('heads') && mechicl.settled('attention')")
    page.wait_for_function("document.getElementById('say').textContent === ''")
    one.check(tiny_series, 30, None)
    assert "does not answer" not in page.locator("#track-note").inner_text()


def test_what_the_pointer_rests_on_is_computed_ahead(begin):
    one = begin()
    page = one.open("?run=known")
    page.wait_for_function("mechicl.settled('attention')")
    with page.expect_response(lambda r: "/answer/ahead/" in r.url and "heads=L1H2" in r.url) as asked:
        one.head(1, 2).hover()
    assert asked.value.json() == {"data": {"ready": 5}}
    assert page.evaluate("mechicl.view.heads") == ""  # and nothing has changed
    box = page.locator("#slider-input").bounding_box()
    with page.expect_response(lambda r: "/answer/ahead/" in r.url and "step=0" in r.url):  # step=10 comes unasked
        page.mouse.move(box["x"] + 2, box["y"] + box["height"] / 2)
