"""Numbers as the page and its figures write them: short, aligned, with a minus as wide as a plus."""

from __future__ import annotations

import math

from mechicl.page.numbers import Number


def signed(value: float, digits: int = 3) -> str:
    """+.021, −.381, 0.000: a change."""
    text = plain(abs(value), digits)
    if not float(text):
        return text
    return ("−" if value < 0 else "+") + text


def plain(value: float, digits: int = 3) -> str:
    """.598, 1.000, −.012: without the zero that says nothing."""
    text = f"{value:.{digits}f}"
    if not float(text):
        return text.removeprefix("-")
    return text.replace("-", "−").replace("0.", ".", 1) if abs(float(text)) < 1 else text.replace("-", "−")


def end(value: float) -> str:
    """0, 1, −5, −.5: where a scale ends."""
    return plain(value, 1).removesuffix(".0")


def interval(number: Number, digits: int = 3, sign: bool = False) -> str:
    """[.568, .628]; empty where n allows none."""
    if math.isnan(number.low):
        return ""
    write = signed if sign else plain
    return f"[{write(number.low, digits)}, {write(number.high, digits)}]"
