"""Nobody is kept out of an exported page: axe-core's audit, nothing cut off at any width or zoom, every control by
keyboard alone."""

from __future__ import annotations

import pytest
from reach import cut_off, findings, unreached

WIDTHS = {"390": (390, 844), "zoomed": (640, 400), "800": (800, 900), "1280": (1280, 800), "1920": (1920, 1080)}
VIEW = "heads=L0H1&sequence=3&evaluator=flip"

pytestmark = pytest.mark.slow


def opened(one):
    """With all that folds open."""
    one.open(VIEW)
    one.settled("look")
    one.page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    return one.page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(known_series, file_of, reader, scheme):
    page = opened(reader(file_of(known_series), color_scheme=scheme))
    for tab in ("attention", "logits"):
        page.click(f"[data-set=tab][data-to={tab}]")
        page.wait_for_selector(f"[data-tab={tab}]:not([hidden])")
        assert findings(page) == [], tab


def test_nothing_is_cut_off_at_any_width(known_series, file_of, reader):
    page = opened(reader(file_of(known_series)))
    for tab in ("attention", "logits"):
        page.click(f"[data-set=tab][data-to={tab}]")
        for name, (width, height) in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            assert cut_off(page) == [], (name, tab)


@pytest.mark.parametrize("key", ["Tab", "Shift+Tab"])
def test_every_control_is_reached_by_keyboard_and_seen(known_series, file_of, reader, key):
    page = opened(reader(file_of(known_series), viewport={"width": 640, "height": 400}))
    assert unreached(page, key) == []
