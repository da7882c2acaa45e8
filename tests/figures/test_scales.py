"""Colours mean one thing each, and can be told apart by readers who do not see all of them, in light and dark."""

import itertools

import numpy as np
import plotly.graph_objects as go
import pytest
from plotly.colors import hex_to_rgb

from mechicl import recipes
from mechicl.figures.scales import SCALES, colorscale, fitted, ink, luminance, shades
from mechicl.figures.style import COLOURS, SYMBOLS, name_ends
from mechicl.registry import EVALUATORS, applying

# Machado, Oliveira & Fernandes 2009, severity 1; they act on linear RGB.
SEEN = {
    "normal": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array([[0.412456, 0.357576, 0.180438], [0.212673, 0.715152, 0.072175], [0.019334, 0.119192, 0.950304]])
GROUNDS = {"light": "#ffffff", "dark": "#1d2125"}  # app.css' panels
THEMES = ("light", "dark")
# Evaluators that one run may have: of a plain run, where few labels are dealt out anew, of chains, of a language model.
TOGETHER = [*(applying(recipes.get(name)) for name in ("demo", "induction-2024", "markov"))]
TOGETHER.append([name for name, e in EVALUATORS.items() if e.task in (None, "text")])
GREY = ("train", "agreement", "unshown")


def lab(colour: str, seen: str = "normal") -> np.ndarray:
    """CIE L*a*b* of a colour as someone sees it."""
    rgb = np.array(hex_to_rgb(colour)) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = XYZ @ np.clip(np.array(SEEN[seen]) @ linear, 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def apart(a: str, b: str, seen: str = "normal") -> float:
    return float(np.linalg.norm(lab(a, seen) - lab(b, seen)))


def hue(colour: str) -> float | None:
    """Degrees; None for greys."""
    _, a, b = lab(colour)
    return None if np.hypot(a, b) < 12 else float(np.degrees(np.arctan2(b, a)) % 360)


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_the_simulation_finds_the_greys_of_the_palette_that_was():
    """CIWL, IWL and Train as they were drawn first: three greys to a reader without green cones."""
    assert apart("#009E73", "#7F7F7F", "deuteranopia") < 10
    assert apart("#CC79A7", "#7F7F7F", "deuteranopia") < 13
    assert apart("#009E73", "#7F7F7F") > 40


@pytest.mark.parametrize(
    ("seen", "least"), [("normal", 20), ("deuteranopia", 20), ("protanopia", 20), ("tritanopia", 14)]
)
def test_every_two_evaluators_differ_for_every_reader(seen, least):
    for a, b in itertools.chain.from_iterable(itertools.combinations(names, 2) for names in TOGETHER):
        if b not in (EVALUATORS[a].like, a) and EVALUATORS[b].like != a:
            assert apart(COLOURS[a], COLOURS[b], seen) > least, (a, b)


def test_evaluators_that_ask_the_same_have_one_colour():
    alike = {name: e for name, e in EVALUATORS.items() if e.like is not None}
    assert "flipped_labels" in alike
    assert all(COLOURS[name] == COLOURS[e.like] for name, e in alike.items())


def test_evaluators_differ_in_more_than_hue_and_show_on_both_grounds():
    assert set().union(*TOGETHER) == SYMBOLS.keys() == COLOURS.keys()
    for names in TOGETHER:
        assert len({SYMBOLS[name] for name in names}) == len(names)
    for name, colour in COLOURS.items():
        assert min(contrast(colour, ground) for ground in GROUNDS.values()) > 2.2, name


@pytest.mark.parametrize("theme", THEMES)
def test_a_hue_means_one_thing(theme):
    """Of the strong shades of every scale and of every evaluator."""
    ends = {f"{m} up": SCALES[m].up[theme] for m in ("attention", "effect", "logit")}
    ends |= {f"{m} down": down[theme] for m in SCALES if (down := SCALES[m].down)}
    used = {name: hue(strong[2]) for name, strong in ends.items()}
    assert used.pop("change down") is None  # grey: less attention is no other thing
    assert SCALES["change"].up == SCALES["attention"].up
    assert None not in used.values()
    for names in TOGETHER:
        own = [x for x in names if x not in (*GREY, "icl_holdout") and not EVALUATORS[x].like]  # those are ICL again
        both = used | {x: hue(COLOURS[x]) for x in own}
        for a, b in itertools.combinations(both, 2):
            between = abs(both[a] - both[b]) % 360
            assert min(between, 360 - between) > 18, (a, b)


@pytest.mark.parametrize("meaning", SCALES)
def test_zero_is_the_lightest_shade_in_the_light_and_the_darkest_in_the_dark(meaning):
    for theme, sign in zip(THEMES, (-1, 1), strict=True):
        for seen in SEEN:
            light = np.array([lab(colour, seen)[0] for colour in shades(meaning, theme)])
            zero = 50 if SCALES[meaning].down else 0
            assert (sign * np.diff(light[zero:]) > 0).all()
            assert (sign * np.diff(light[: zero + 1]) < 0).all()
        assert apart(shades(meaning, theme)[zero], GROUNDS[theme]) < 14  # nothing there: nearly the panel itself


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("meaning", [m for m in SCALES if SCALES[m].down])
def test_the_two_sides_of_zero_differ_for_every_reader(meaning, theme):
    for seen in ("normal", "deuteranopia", "protanopia"):
        for share, least in ((25, 12), (40, 19)):  # half of the limit, most of it
            a, b = (shades(meaning, theme)[50 + sign * share] for sign in (-1, 1))
            assert apart(a, b, seen) > least, (seen, share)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("meaning", SCALES)
def test_numbers_read_on_their_ground(meaning, theme):
    assert min(contrast(ground, ink(ground)) for ground in shades(meaning, theme)) > 4.2


def test_a_limit_is_the_largest_value_rounded_up():
    assert [fitted([x], 0.01) for x in (0.0, 0.004, 0.011, -0.12, 0.15, 0.151, -0.34, 0.51, 0.71, 3.2, -12)] == [
        0.01,
        0.01,
        0.015,
        0.15,
        0.15,
        0.2,
        0.5,
        0.7,
        1.0,
        5.0,
        15.0,
    ]
    assert fitted([], 0.05) == fitted([float("nan")], 0.05) == 0.05
    rng = np.random.default_rng(0)
    for x in 10 ** rng.uniform(-3, 3, 200):
        assert x <= fitted([-x / 2, x], 1e-9) <= 2 * x


def test_a_scale_of_plotlys_is_the_pages():
    for meaning, theme in itertools.product(SCALES, THEMES):
        found = colorscale(meaning, theme)
        assert (found[0][0], found[-1][0]) == (0, 1)
        page = shades(meaning, theme)
        assert [found[0][1].lower(), found[-1][1].lower()] == [page[0], page[-1]]
        go.Heatmap(colorscale=found)  # plotly takes it


def test_names_at_the_ends_of_curves_do_not_overlap():
    ends = {"icl": (100.0, 0.99), "train": (100.0, 1.0), "ciwl": (10.0, 0.98), "flip": (1.0, 0.0)}
    fig = name_ends(go.Figure(), ends, log=True)
    at = {a.text: (a.x, a.y) for a in fig.layout.annotations}
    assert at["Flip"] == (0, 0.031)  # above the line of the time axis
    assert at["Train"] == (2, 1)
    heights = sorted(y for _, y in at.values())
    assert min(np.diff(heights)) >= 0.0619
    assert [a.text for a in sorted(fig.layout.annotations, key=lambda a: a.y)] == ["Flip", "CIWL", "ICL", "Train"]
