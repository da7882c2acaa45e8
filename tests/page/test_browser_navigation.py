"""Getting about: Escape, Back and undo, the keyboard, and a telephone's screen."""

import pytest

from mechicl.interventions import AblateHeads

PHONE = {"viewport": {"width": 390, "height": 844}}
# What sticks out of the page to the right or left, or is cut off by a panel, and cannot be scrolled to.
HIDDEN = """() => {
  const out = [], kinds = ['button', 'select', 'input', 'td', 'th', 'p', 'h2', 'h3', 'svg', 'img'];
  const scrolls = (e) => {
    for (; e && e !== document.body; e = e.parentElement) if (getComputedStyle(e).overflowX === 'auto') return true;
  };
  for (const e of document.querySelectorAll(kinds.map((kind) => '#page ' + kind).join())) {
    const r = e.getBoundingClientRect();
    if (!r.width || e.matches('.skip') || e.closest('.menu:not([open]) .entries')) continue;
    const panel = (e.closest('.panel') || document.body).getBoundingClientRect();
    const out_of = r.left < panel.left - 1 || r.right > panel.right + 1 || r.right > innerWidth + 1;
    if (out_of && !scrolls(e)) out.push(e.outerHTML.slice(0, 90));
  }
  return out;
}"""
# Pairs of texts of a kind that lie on one another.
OVERLAPS = """(selector) => {
  const found = [...document.querySelectorAll(selector)].filter((e) => e.textContent.trim());
  const boxes = found.map((e) => [e.textContent, e.getBoundingClientRect()]).filter(([, r]) => r.width);
  const out = [];
  boxes.forEach(([a, r], i) => boxes.slice(i + 1).forEach(([b, s]) => {
    const across = r.left < s.right - 1 && s.left < r.right - 1, down = r.top < s.bottom - 2 && s.top < r.bottom - 2;
    if (across && down) out.push([a, b]);
  }));
  return out;
}"""
STUCK = """[...document.querySelectorAll('header, header *')].map((e) => e.getBoundingClientRect())
  .filter((r) => r.height && r.bottom > 0 && r.top >= -1 && r.top < 200)
  .reduce((most, r) => Math.max(most, r.bottom), 0)"""
MANY = """() => {
  const row = document.querySelector('#grid .heads:has(button)');
  document.getElementById('grid').style.setProperty('--heads', 32);
  for (let i = 4; i < 32; i++) row.append(row.querySelector('button').cloneNode(true));
}"""


def state(page) -> str:
    return page.evaluate("mechicl.query()")


def test_escape_closes_the_menu_and_only_then_puts_heads_back(begin, known_series):
    one = begin()
    page = one.open("?run=known&heads=1.2")
    page.locator(".menu summary").click()
    page.keyboard.press("Escape")
    assert not page.locator(".menu").evaluate("m => m.open")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    one.check(known_series, 5, AblateHeads(heads=((1, 2),)))
    page.get_by_role("button", name="Copy as Python").click()
    page.wait_for_selector("#code[open]")
    page.keyboard.press("Escape")
    assert page.locator("#code[open]").count() == 0
    one.check(known_series, 5, AblateHeads(heads=((1, 2),)))
    page.keyboard.press("Escape")
    one.check(known_series, 5, None)


def test_back_and_forward_go_through_what_was_pressed(begin, known_series):
    one = begin()
    page = one.open("?run=known&step=5")
    start = state(page)
    one.head(1, 2).click()
    one.head(0, 1).click()
    page.get_by_role("button", name="Next checkpoint").click()
    page.get_by_role("button", name="Logits").click()
    asked = len([url for url in one.asked if "_dash-update-component" in url])
    for heads, step in ((((0, 1), (1, 2)), 10), (((0, 1), (1, 2)), 5), (((1, 2),), 5), ((), 5)):
        page.go_back()
        one.check(known_series, step, AblateHeads(heads=heads) if heads else None)
        assert page.url.endswith("?" + state(page))
    assert state(page) == start
    assert page.get_by_role("button", name="Attention", exact=True).get_attribute("aria-pressed") == "true"
    page.go_forward()
    one.check(known_series, 5, AblateHeads(heads=((1, 2),)))
    page.reload()  # the entries outlive the page
    page.wait_for_selector("#effect[data-shown]")
    page.go_back()
    one.check(known_series, 5, None)
    assert len([url for url in one.asked if "_dash-update-component" in url]) == asked + 1  # the reload's alone


@pytest.mark.slow
def test_undo_and_redo_on_screen_and_by_keys(begin, known_series):
    one = begin()
    page = one.open("?run=known&step=5")
    undo, redo = (page.get_by_role("button", name=name) for name in ("Undo", "Redo"))
    assert undo.get_attribute("aria-disabled") == "true"
    undo.dispatch_event("click")  # nothing before: the page stays
    for head in (0, 1, 2):
        one.head(0, head).click()
    assert redo.get_attribute("aria-disabled") == "true"
    undo.click()
    page.wait_for_function("mechicl.view.heads === 'L0H0,L0H1'")
    one.check(known_series, 5, AblateHeads(heads=((0, 0), (0, 1))))
    redo.click()
    page.wait_for_function("mechicl.view.heads === 'L0H0,L0H1,L0H2'")
    for _ in range(3):
        page.keyboard.press("Control+z")  # faster than a browser travels
    page.wait_for_function("mechicl.view.heads === ''")
    one.check(known_series, 5, None)
    page.keyboard.press("Control+Shift+z")
    page.wait_for_function("mechicl.view.heads === 'L0H0'")
    page.keyboard.press("Control+y")
    page.wait_for_function("mechicl.view.heads === 'L0H0,L0H1'")
    one.head(1, 3).click()  # another way on: what was undone is gone
    page.wait_for_function("mechicl.view.heads === 'L0H0,L0H1,L1H3'")
    assert redo.get_attribute("aria-disabled") == "true"


def test_a_drag_is_one_entry_and_each_press_is_one(begin, tiny_series):
    one = begin()
    page = one.open("?step=0")
    entries = page.evaluate("history.length")
    box = page.locator("#slider-input").bounding_box()
    y, x = box["y"] + box["height"] / 2, box["x"]
    page.mouse.move(x + 8, y)
    page.mouse.down()
    for share in (0.2, 0.4, 0.6, 0.8, 1):
        page.mouse.move(x + share * box["width"], y, steps=3)
    page.mouse.up()
    one.check(tiny_series, 60, None)
    page.wait_for_function("location.search.includes('step=60')")
    assert page.evaluate("history.length") == entries + 1
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("history.length") == entries + 3
    page.go_back()
    one.check(tiny_series, 50, None)
    page.go_back()
    page.go_back()
    one.check(tiny_series, 0, None)


def test_the_first_head_is_two_keys_away_and_arrows_go_on(begin, known_series):
    one = begin()
    page = one.open("?run=known")
    focus = "document.activeElement.dataset.testid || document.activeElement.dataset.layer"
    page.keyboard.press("Tab")
    assert page.locator(".skip").is_visible()
    page.keyboard.press("Enter")
    assert page.evaluate(focus) == "head-0-0"
    seen = []
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "End", "Home", "ArrowUp", "ArrowLeft", "ArrowRight"):
        page.keyboard.press(key)
        seen.append(page.evaluate(focus))
    assert seen == ["head-0-1", "head-0-2", "head-1-2", "head-1-3", "1", "0", "0", "head-0-0"]
    page.keyboard.press("Enter")
    one.check(known_series, 5, AblateHeads(heads=((0, 0),)))
    page.keyboard.press("ArrowDown")
    page.keyboard.press(".")  # steps, wherever the focus is
    one.check(known_series, 10, AblateHeads(heads=((0, 0),)))
    page.keyboard.press(",")
    one.check(known_series, 5, AblateHeads(heads=((0, 0),)))
    page.keyboard.press("Tab")  # the grid is one stop
    assert page.evaluate("document.activeElement.closest('#grid')") is None
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(focus) == "head-1-0"  # and remembers where one was


SLOW_TABS = [pytest.param(tab, marks=pytest.mark.slow) for tab in ("logits", "compare")]


@pytest.mark.slow
@pytest.mark.parametrize("tab", ["attention", *SLOW_TABS])
def test_on_a_telephone_everything_is_there(begin, tab):
    one = begin(**PHONE)
    page = one.open(f"?run=known&step=5&with_step=10&sequence=2&heads=0.1&tab={tab}")
    page.wait_for_function(f"mechicl.settled('{tab}') && mechicl.settled('heads') && mechicl.settled('timeline')")
    page.wait_for_selector("#timeline .scatterlayer")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(HIDDEN) == []
    for selector in (
        "#timeline .annotation-text",
        "#timeline .xtick text",
        "#effect td > *, #effect th > *",
        "#grid .head",
        ".patterns .card",
        "#logits .ytick text",
        "figcaption",
    ):
        assert page.evaluate(OVERLAPS, selector) == [], selector
    page.evaluate("scrollTo(0, 900)")
    stuck = page.evaluate(STUCK)
    assert 0 < stuck <= 72  # px of 844 that stay on top
    page.locator("#slider-input").press("ArrowRight")
    one.shot(f"phone-{tab}", full_page=True)


@pytest.mark.slow
def test_on_a_telephone_the_menu_can_be_reached_whole(begin):
    one = begin(**PHONE)
    page = one.open("?run=known")
    page.locator(".menu summary").click()
    for button in page.locator(".entries button").all():
        button.scroll_into_view_if_needed()
        box = button.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


def test_more_heads_than_have_room_wrap(begin):
    """The grid of a model with many heads, as its page has it."""
    from mechicl.config import ModelConfig
    from mechicl.page.grid import head_grid

    grid = head_grid(ModelConfig(n_layers=1, d_model=64, n_heads=32)).to_plotly_json()
    assert len(grid["props"]["children"]) == 1  # no names above columns that wrap
    one = begin()
    page = one.open("?run=known")
    page.evaluate(MANY)
    assert page.evaluate(HIDDEN) == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.slow
def test_circuitsvis_is_whole_and_its_tokens_are_words(begin, width):
    one = begin(viewport={"width": width, "height": 800})
    page = one.open("?run=known&sequence=3")
    page.get_by_role("button", name="circuitsvis").click()
    frame = page.frame_locator("#circuitsvis iframe")
    frame.get_by_text("L1H2").first.click()
    frame.get_by_text("L1H2 Zoomed").wait_for()
    large = frame.locator("canvas").last
    page.wait_for_function("document.querySelector('#circuitsvis iframe').contentDocument.body.scrollHeight > 500")
    page.wait_for_timeout(300)
    box, outer = large.bounding_box(), page.locator("#circuitsvis iframe").bounding_box()
    assert box["width"] > 250
    assert box["x"] + box["width"] <= outer["x"] + outer["width"]
    assert box["y"] + box["height"] <= outer["y"] + outer["height"]  # nothing to scroll to inside
    one.shot(f"circuitsvis-{width}", full_page=True)
