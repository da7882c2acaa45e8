"""Several seeds in a browser: their curves, another one chosen, a difference laid over, each without its own heads."""

from __future__ import annotations

import re

import pytest

from mechicl.page.named import named_together
from mechicl.page.server import open_server

DRAWN = (
    "(document.querySelector('#seeds-figure').data ?? []).filter((t) => t.meta && t.meta !== 'difference')"
    ".map((t) => [t.meta, t.line.dash ?? ''])"
)


@pytest.fixture
def seeds_server(seeds_folder):
    named = named_together([seeds_folder])
    running = open_server(named[0], port=0, together=named).start()
    yield running
    running.stop()


@pytest.mark.slow
def test_seeds_are_compared_chosen_and_lose_their_own_heads(seeds_server, begin):
    session = begin(seeds_server.url)
    page = session.open("?run=ring-s0")
    page.wait_for_function(f"mechicl.seeds.settled() && ({DRAWN}).length === 3")
    assert "2 of 3 formed; seed 2 never" in page.locator("#seeds-count").inner_text()
    session.shot("seeds", full_page=True)
    page.select_option("[data-set=against]", "run/ring-s1")
    page.wait_for_function(
        f"mechicl.seeds.settled() && ({DRAWN}).some(([name, dash]) => name === 'ring-s1' && dash === 'dash')"
    )
    assert "against=run%2Fring-s1" in page.url
    page.select_option("[data-set=against]", "own")
    of = "({DRAWN}).filter(([, dash]) => dash === '{dash}').length".replace("{DRAWN}", DRAWN)
    each = [of.replace("{dash}", dash) + " === 2" for dash in ("dash", "dot")]  # its own heads, and random ones
    page.wait_for_function(" && ".join(["mechicl.seeds.settled()", *each]))
    assert "seed 2: none" in page.locator("#seeds-note").inner_text()
    session.shot("seeds-own", full_page=True)
    page.click("[data-seed=ring-s2]")
    page.wait_for_function("window.mechicl?.base && mechicl.view.run === 'ring-s2' && mechicl.settled()")
    page.wait_for_function("mechicl.seeds.settled()")
    assert page.locator("[data-seed=ring-s2]").get_attribute("aria-pressed") == "true"
    assert "against=own" in page.url
    assert page.evaluate("mechicl.view.seeds").count(",") == 4
    page.click(".menu summary")
    with page.expect_download() as coming:
        page.click("#export-page-button")
    assert coming.value.suggested_filename == "ring-s2-page.html"
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("mechicl.seeds.settled()")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    session.shot("seeds-narrow", full_page=True)


@pytest.mark.slow
def test_five_seeds_are_compared_and_their_figure_taken_along(five_seeds, begin, serving):
    """Which of them formed ICL, what each loses without its own heads, and that it is not what random heads cost."""
    named = named_together([five_seeds])
    running = serving(open_server(named[0], port=0, together=named))
    session = begin(running.url)
    page = session.open()
    page.wait_for_function(f"mechicl.seeds.settled() && ({DRAWN}).length === 5")
    assert page.locator("#seeds-count").inner_text() == "4 of 5 formed; seed 2 never."
    assert page.locator("[data-seed]").count() == 5
    page.select_option("[data-set=against]", "own")
    page.wait_for_function(f"mechicl.seeds.settled() && ({DRAWN}).filter(([, dash]) => dash === 'dot').length === 4")
    note = page.locator("#seeds-note").inner_text()
    costs = {"own heads out − intact": "−", "random heads out − intact": "0.000 ", "own − random heads out": "−"}
    for what, cost in costs.items():
        assert f"{what}: mean and Student's 95% interval over 4 seeds, paired by seed; at 80 sequences {cost}" in note
    session.shot("five-seeds", full_page=True)
    begun = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}
    for form, start in begun.items():
        page.click(".menu summary")
        with page.expect_download(timeout=300_000) as coming:
            page.click(f"[data-export=seeds][data-format={form}]")
        found = coming.value.path().read_bytes()
        assert found.startswith(start)
        if form == "svg":
            words = re.sub(r"<[^>]+>|\s", " ", found.decode())
            for said in ("n = 100 sequences", "interval over 4 seeds", "mechicl app", "against=own"):
                assert said in words, said


PLACES = """(() => {
  const plot = document.querySelector("#seeds-figure"), top = plot.getBoundingClientRect().top;
  const of = (what) => plot.querySelector(what).getBoundingClientRect();
  return { height: plot._fullLayout.height, width: plot._fullLayout.width, title: of(".x2title").bottom - top,
           legend: of(".legend").top - top, ends: of(".legend").bottom - top };
})()"""


@pytest.mark.slow
def test_in_a_window_that_is_narrowed_the_figure_is_as_in_one_opened_narrow(five_seeds, begin, serving):
    named = named_together([five_seeds])
    running = serving(open_server(named[0], port=0, together=named))
    narrow = {"width": 390, "height": 800}
    own = f"mechicl.seeds.settled() && ({DRAWN}).filter(([, dash]) => dash === 'dot').length === 4"
    places = {}
    for opened in ("wide", "narrow"):
        session = begin(running.url, **({"viewport": narrow} if opened == "narrow" else {}))
        page = session.open("?against=own")
        page.wait_for_function(own)
        if opened == "wide":
            before = page.evaluate(PLACES)
            page.set_viewport_size(narrow)
        page.wait_for_function(f"{PLACES}.width < 390")
        page.wait_for_function(f"{PLACES}.title < {PLACES}.legend")
        page.wait_for_timeout(1000)  # no later change of plotly's own undoes it
        places[opened] = page.evaluate(PLACES)
        session.shot(f"seeds-opened-{opened}", full_page=True)
    assert places["wide"] == pytest.approx(places["narrow"], abs=2)
    assert places["wide"]["title"] < places["wide"]["legend"]
    assert places["wide"]["ends"] < places["wide"]["height"]
    page = session.page
    page.set_viewport_size({"width": 1280, "height": 800})
    page.wait_for_function(f"{PLACES}.width === {before['width']}")
    page.wait_for_timeout(1000)
    assert page.evaluate(PLACES) == pytest.approx(before, abs=2)
