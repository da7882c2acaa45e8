"""Who wins when: by intervals that hold for all checkpoints together."""

import pandas as pd
import pytest

from analyses.who_wins import CONTEXT, NEITHER, WEIGHTS, stretches


def rows(*given: tuple[float, float]) -> pd.DataFrame:
    """Checkpoints with these values and half widths."""
    return pd.DataFrame(
        [{"sequences": i, "value": v, "ci_low": v - h, "ci_high": v + h} for i, (v, h) in enumerate(given)]
    )


def test_neighbours_with_the_same_winner_are_one_stretch():
    found = stretches(rows((0.5, 0.1), (0.4, 0.05), (0.2, 0.05), (0.55, 0.1), (0.9, 0.02)))
    assert [one.winner for one in found] == [NEITHER, WEIGHTS, NEITHER, CONTEXT]
    assert [(one.since, one.until) for one in found] == [(0, 0), (1, 2), (3, 3), (4, 4)]
    assert found[1].at.value == 0.2  # the clearest of them


def test_intervals_hold_for_all_together():
    """An interval that just excludes one half does so no more where many checkpoints were looked at."""
    assert stretches(rows((0.6, 0.09)))[0].winner == CONTEXT
    assert stretches(rows(*[(0.6, 0.09)] * 10))[0].winner == NEITHER


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_without_an_interval_nobody_wins(value):
    assert stretches(rows((value, float("nan"))))[0].winner == NEITHER
