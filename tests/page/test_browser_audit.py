"""Nobody is kept out of the page of a run, or of several seeds: axe-core's audit with everything open, nothing cut off
at any width or zoom, and every control by keyboard alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from reach import cut_off, findings, unreached

from mechicl.page.named import named_together
from mechicl.page.server import open_server

DEMO = Path(__file__).parents[2] / "checkpoints" / "demo"
VIEW = "?step=2400&heads=L0H1,L0H4&measure=effect_flip&sequence=3"
SIZES = {  # 640 by 400: a laptop's screen at 200%
    "390": {"width": 390, "height": 844},
    "zoomed": {"width": 640, "height": 400},
    "800": {"width": 800, "height": 900},
    "1280": {"width": 1280, "height": 800},
    "1920": {"width": 1920, "height": 1080},
}
TABS = ("attention", "logits", "compare")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def places(seeds_folder, tmp_path_factory):
    """Where the pages are: of the committed series, and of seeds."""
    named = named_together([seeds_folder])
    demo = open_server(DEMO, port=0, out=tmp_path_factory.mktemp("branches")).start()
    seeds = open_server(named[0], port=0, together=named).start()
    yield {"demo": demo.url + VIEW, "seeds": seeds.url + "?run=ring-s0&against=own&heads=L0H1"}
    demo.stop()
    seeds.stop()


def opened(session, hints: bool):
    """The page with all that folds open."""
    session.url, query = session.url.split("?")
    page = session.open("?" + query, hints=hints)
    page.wait_for_selector("#timeline .scatterlayer")
    page.click("#train-on > summary")
    page.wait_for_selector("#branch-fresh")
    page.select_option("#branch-way", "clamp")
    if page.locator("#seeds-figure").count():
        page.wait_for_function("mechicl.seeds.settled()")
        page.wait_for_selector("#seeds-figure .scatterlayer")
    return page


def look_at(page, tab: str) -> None:
    page.click(f"[data-set=tab][data-to={tab}]")
    page.wait_for_function(f"mechicl.settled('{tab}')")
    page.wait_for_selector({"attention": "#patterns .pattern", "logits": "#logits .heatmaplayer"}.get(tab, ".numbers"))


@pytest.mark.parametrize("what", ["demo", "seeds"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(places, begin, what, scheme):
    page = opened(begin(places[what], color_scheme=scheme), hints=True)
    for tab in TABS:
        look_at(page, tab)
        assert findings(page) == [], tab
    page.click(".menu summary")
    assert findings(page) == [], "menu"
    page.keyboard.press("Escape")
    page.click("[data-do=python]")
    page.wait_for_selector("#code[open]")
    assert findings(page) == [], "code"


@pytest.mark.parametrize("what", ["demo", "seeds"])
def test_nothing_is_cut_off_at_any_width(places, begin, what):
    session = begin(places[what], viewport=SIZES["1280"])
    page = opened(session, hints=True)
    for name, size in SIZES.items():
        page.set_viewport_size(size)
        for tab in TABS:
            look_at(page, tab)
            assert cut_off(page) == [], (name, tab)
        page.evaluate("scrollTo(0, 0)")
        page.click(".menu summary")
        assert cut_off(page) == [], (name, "menu")
        page.keyboard.press("Escape")
        session.shot(f"{what}-{name}", full_page=True)


@pytest.mark.parametrize(("key", "size"), [("Tab", "1280"), ("Shift+Tab", "zoomed")])
def test_every_control_is_reached_by_keyboard_and_seen(places, begin, key, size):
    page = opened(begin(places["seeds"], viewport=SIZES[size]), hints=False)
    look_at(page, "compare")
    assert unreached(page, key) == []
