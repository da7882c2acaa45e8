"""The page fits a laptop and a projector, and is readable in the dark."""

import pytest

FITS = """() => document.documentElement.scrollWidth <= window.innerWidth
  && mechicl.all('.panel').every((p) => p.scrollWidth <= p.clientWidth)"""
PLOT = "(id) => { const p = document.querySelector(id); return [p.layout.font.size, p._fullLayout.height]; }"


@pytest.mark.slow
def test_on_a_projector_texts_and_figures_are_larger_and_nothing_is_cut(begin):
    one = begin(viewport={"width": 1280, "height": 800})
    page = one.open("?run=known&heads=1.2&tab=logits")
    text = "parseFloat(getComputedStyle(document.querySelector('[data-cell=\"icl.intact\"]')).fontSize)"
    page.wait_for_selector("#timeline .scatterlayer")
    page.wait_for_selector("#logits .heatmaplayer")
    places = ("#timeline .js-plotly-plot", "#logits")
    small = page.evaluate(text), [page.evaluate(PLOT, place) for place in places]
    assert page.evaluate(FITS)
    page.set_viewport_size({"width": 1920, "height": 1080})  # the window is moved to another screen
    assert page.evaluate(text) == pytest.approx(1.248 * small[0])
    for place, (font, height) in zip(places, small[1], strict=True):
        page.wait_for_function(f"document.querySelector('{place}').layout.font.size > {font}")
        page.wait_for_function(f"document.querySelector('{place}')._fullLayout.height > {height}")
        assert page.evaluate(PLOT, place) == pytest.approx([1.248 * font, 1.248 * height], abs=1)
    assert page.evaluate(FITS)
    one.shot("projector", full_page=True)


def test_a_view_that_cannot_be_shown_is_readable_in_the_dark(begin):
    one = begin(color_scheme="dark")
    page = one.page
    page.goto(one.url + "?step=7")
    page.locator("#trouble").wait_for()
    light = """(selector) => getComputedStyle(document.querySelector(selector)).color.match(/\\d+/g)
      .map(Number).reduce((a, b) => a + b) / 765"""
    for selector in ("h1", "#trouble", ".sorry a"):
        assert page.evaluate(light, selector) > 0.55, selector
    boxes = [page.locator(s).first.bounding_box() for s in ("h1", "#trouble", ".sorry ul")]
    assert boxes[0]["y"] < boxes[1]["y"] < boxes[2]["y"]  # below one another
    assert len({box["x"] for box in boxes}) == 1
    one.shot("trouble-dark")


def test_a_long_pattern_is_one_picture_with_the_same_colours_in_light_and_dark(begin):
    """An element for each of thousands of pairs stops a browser."""
    one = begin()
    page = one.open("?run=known")
    look = """(t) => {
        const at = (i, j) => (j > i ? 0 : (1000 * (j + 1)) / t);
        const values = Array.from({ length: t }, (_, i) => Array.from({ length: t }, (_, j) => at(i, j)));
        const tokens = values.map((_, i) => ({ name: String(i) }));
        return mechicl.draw.pattern(values, tokens, mechicl.base.colours.attention.page, 0, 420, true);
    }"""
    kinds = page.evaluate(f"[17, 200].map({look}).map((drawn) => drawn.tagName.toLowerCase())")
    assert kinds == ["svg", "canvas"]
    colours = f"""() => {{
        const drawn = document.body.appendChild(({look})(200));
        const at = (i, j) => [...drawn.getContext("2d").getImageData(j, i, 1, 1).data];
        const probe = document.body.appendChild(document.createElement("i"));
        probe.style.color = mechicl.base.colours.attention.page[50];
        const want = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map(Number);
        drawn.dispatchEvent(new PointerEvent("pointermove", {{ clientX: 0, clientY: 0 }}));
        const found = {{ half: at(150, 99), want: [...want, 255], future: at(99, 150), title: drawn.title }};
        drawn.remove();
        probe.remove();
        return found;
    }}"""
    seen = []
    for _ in range(2):
        found = page.evaluate(colours)
        assert found["half"] == found["want"]
        assert found["future"] == [0, 0, 0, 0]
        seen.append(found["half"])
        page.click('[data-do="theme"]')
    assert seen[0] != seen[1]
