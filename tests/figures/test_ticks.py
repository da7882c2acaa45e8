"""A log axis has ticks, however short it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechicl.figures.ticks import log_ticks


@given(st.floats(1, 1e9), st.floats(1, 1e6))
def test_any_axis_has_two_ticks_inside(low, ratio):
    high = low * ratio
    found = log_ticks(low, high)
    if "dtick" in found:
        assert sum(low * 0.999 <= 10.0**k <= high * 1.001 for k in range(17)) >= 2
    else:
        at = found["tickvals"]
        assert len(at) == len(found["ticktext"]) == len(set(at))
        assert at == sorted(at)
        assert len(at) >= (2 if high > low else 1)
        assert len(at) <= 8
        assert all(low * (1 - 1e-9) <= x <= high * (1 + 1e-9) for x in at)


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (2000, 9000, ["2k", "4k", "6k", "8k"]),
        (1200, 30_000, ["2k", "5k", "10k", "20k"]),
        (16, 960, ["20", "50", "100", "200", "500"]),
    ],
)
def test_ticks_are_round_numbers(low, high, says):
    assert log_ticks(low, high)["ticktext"] == says


def test_long_axes_keep_one_tick_per_decade():
    assert log_ticks(128, 3e6) == {"dtick": 1}
