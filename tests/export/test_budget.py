"""All checkpoints where there is room, else an even choice with the ends and the peak."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechicl.config import Config, ModelConfig
from mechicl.errors import ConfigError
from mechicl.export.budget import KEPT, kept, sequences
from mechicl.tasks.text import Text

STEPS = [10 * i for i in range(100)]


def test_all_where_there_is_room():
    assert kept(STEPS, 500, fixed=1000, each=10, most=2000) == STEPS


@given(st.integers(3, 99), st.sampled_from(STEPS))
def test_else_an_even_choice_with_the_ends_and_the_peak(room, peak):
    found = kept(STEPS, peak, fixed=7, each=10, most=7 + 10 * room + 9)
    assert len(found) == room
    assert found == sorted(set(found))
    assert {STEPS[0], STEPS[-1], peak} <= set(found)
    gaps = np.diff(found) / 10
    assert gaps.max() <= 2 * 99 / (room - 1) + 1  # one of them has moved to the peak


def test_no_room_for_two_says_how_much_is_needed():
    with pytest.raises(ConfigError, match=r"need 3 MB.*may have 2\.5 MB.*--max-mb"):
        kept(STEPS, 0, fixed=1_000_000, each=1_000_000, most=2_500_000)


def test_of_long_sequences_there_are_as_many_as_a_browser_keeps():
    model = ModelConfig(n_layers=4, d_model=64, n_heads=8)
    short, long = (Config(name="x", steps=1, n_eval=1000, model=model, task=Text(length=t)) for t in (8, 128))
    assert sequences(short) == 1000
    assert sequences(long) == int(KEPT / (4 * 4 * 128 * (8 * 128 + 3 * 64))) < 30
    assert sequences(Config(name="x", steps=1)) == 2000
