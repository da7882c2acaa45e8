"""Numbers are short, aligned, and the same on the page, in its figures and under the pointer."""

import numpy as np

from mechicl.page.numbers import Number, mean, paired
from mechicl.page.texts import end, interval, plain, signed


def test_numbers_are_written_short_and_aligned():
    a, b = np.array([True, True, False, True]), np.array([True, False, False, False])
    assert signed(paired(a, b).value) == "−.500"
    assert interval(mean(np.array([True] * 3))) == "[.439, 1.000]"
    assert (plain(0.0), plain(1.0), plain(-0.25), signed(0.0), signed(-0.0004), plain(12.5, 1)) == (
        "0.000",
        "1.000",
        "−.250",
        "0.000",
        "0.000",
        "12.5",
    )
    assert (plain(-0.0004), plain(-10.5), plain(0.9996), plain(-1.0, 1)) == ("0.000", "−10.500", "1.000", "−1.0")
    assert [end(x) for x in (0.0, 1.0, -5.0, -0.5)] == ["0", "1", "−5", "−.5"]
    assert signed(2.5, 2) == "+2.50"
    assert interval(Number(0.5, float("nan"), float("nan"), 1)) == ""
