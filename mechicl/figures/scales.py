"""Colour scales: each meaning has its own pair of hues in all figures.

    attention  violet: how much a position attends to another, or a score that is a share of attention
    change     violet, grey: more attention than in another picture (or than uniform attention gives), or less
    effect     teal, red: a change of accuracy, up or down
    logit      green-yellow, magenta: what raises a label's logit, or lowers it

No evaluator's curve has one of these hues (`style.COLOURS`). Every scale has a light and a dark form. In the light
form zero has the lightest shade, in the dark form the darkest. Scales with two hues have a range symmetric about zero;
`fitted` chooses it from the data.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from plotly.colors import hex_to_rgb

Meaning = Literal["attention", "change", "effect", "logit"]
Theme = Literal["light", "dark"]
SHADES = 101

_NONE = {"light": "#F5F3F8", "dark": "#121015"}  # zero
_VIOLET = {"light": ("#C9BCE6", "#8E77CB", "#5B3FA6", "#2E1470"), "dark": ("#3A2B66", "#6A50B8", "#A58CF0", "#E6DDFF")}
_GREY = {"light": ("#CFCFCF", "#9A9A9A", "#666666", "#2E2E2E"), "dark": ("#3C3C3C", "#6E6E6E", "#A6A6A6", "#E8E8E8")}
_TEAL = {"light": ("#A9DADC", "#55B1B7", "#007A85", "#00474F"), "dark": ("#0F4449", "#1A7F88", "#45BAC4", "#A5F0F5")}
_RED = {"light": ("#F0BDBD", "#DA7B7F", "#AE2334", "#6E0B1B"), "dark": ("#571A24", "#A83343", "#EE7580", "#FFC4C8")}
_LIME = {"light": ("#CDE0A0", "#97BA4A", "#567F00", "#2C4500"), "dark": ("#33460A", "#64860F", "#9CC734", "#DCF59A")}
_MAGENTA = {"light": ("#F0BCDD", "#D878B6", "#A3217A", "#620548"), "dark": ("#561645", "#A23283", "#E972C1", "#FFC6EA")}


@dataclass(frozen=True)
class Scale:
    """Colours from low to high. `up` and `down` run from pale to strong; without `down` it begins at zero."""

    up: dict[str, tuple[str, ...]]
    down: dict[str, tuple[str, ...]] | None = None

    def anchors(self, theme: Theme) -> list[str]:
        """Evenly spaced colours, low to high."""
        below = list(self.down[theme][::-1]) if self.down else []
        return [*below, _NONE[theme], *self.up[theme]]


SCALES: dict[Meaning, Scale] = {
    "attention": Scale(_VIOLET),
    "change": Scale(_VIOLET, _GREY),
    "effect": Scale(_TEAL, _RED),
    "logit": Scale(_LIME, _MAGENTA),
}


def about(value: float, low: float, middle: float, high: float) -> float:
    """Where a value lies on a scale with two hues, 0 to 1, when `middle` is to have none. Equal distances from the
    middle are equally strong on both sides, so the side that ends nearer does not use all of its shades."""
    return 0.5 + (value - middle) / (2 * max(middle - low, high - middle))


def colorscale(meaning: Meaning, theme: Theme = "light", middle: float = 0.5) -> list[list[Any]]:
    """A scale as plotly takes it: [place in 0..1, colour].

    Args:
        middle: where in the range the neutral shade of a scale with two hues lies (`about`).
    """
    if SCALES[meaning].down is None or middle == 0.5:
        anchors = SCALES[meaning].anchors(theme)
        return [[float(p), colour] for p, colour in zip(np.linspace(0, 1, len(anchors)), anchors, strict=True)]
    places = sorted({*np.linspace(0, 1, 33).tolist(), middle})
    every = shades(meaning, theme)
    return [[p, every[round(about(p, 0, middle, 1) * (SHADES - 1))]] for p in places]


@functools.cache
def shades(meaning: Meaning, theme: Theme) -> tuple[str, ...]:
    """SHADES colours '#rrggbb', low to high."""
    anchors = np.array([hex_to_rgb(colour) for colour in SCALES[meaning].anchors(theme)])
    at = np.linspace(0, len(anchors) - 1, SHADES)
    rgb = np.stack([np.interp(at, np.arange(len(anchors)), channel) for channel in anchors.T], -1)
    return tuple(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in rgb.round().astype(int).tolist())


def luminance(colour: str) -> float:
    """Relative luminance of '#rrggbb', 0 to 1 (WCAG 2)."""
    rgb = (x / 255 for x in hex_to_rgb(colour))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ink(ground: str) -> str:
    """Black or white: whichever has more contrast on a ground."""
    return "#111111" if luminance(ground) > 0.19 else "#ffffff"


def fitted(values: Iterable[float], least: float) -> float:
    """The limit of a range symmetric about 0: the largest |value|, rounded up to 1, 1.5, 2, 3, 5 or 7 times
    a power of ten, and at least `least` (so that noise about 0 stays pale). NaN is passed over."""
    largest = max((abs(v) for v in values if not math.isnan(v)), default=0.0)
    if largest <= least:
        return least
    unit = 10.0 ** math.floor(math.log10(largest))
    return next(round(n * unit, 12) for n in (1, 1.5, 2, 3, 5, 7, 10) if largest <= n * unit * (1 + 1e-9))
