"""Which steps are saved: the union of all that is asked, with both ends; states among them."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechicl.config import Config, ScheduleConfig, Window
from mechicl.errors import ConfigError
from mechicl.schedule import checkpoint_steps, state_steps


def make(steps: int = 100, states: int = 4, **schedule) -> Config:
    return Config(name="x", steps=steps, states=states, checkpoint_steps=ScheduleConfig(**schedule))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (make(), [0, 100]),
        (make(linear_every=30), [0, 30, 60, 90, 100]),
        (make(linear_every=200), [0, 100]),
        (make(steps=10, linear_every=5), [0, 5, 10]),
        (make(log_points=3), [0, 1, 10, 100]),
        (make(log_points=1), [0, 1, 100]),
        (make(steps=1, log_points=5), [0, 1]),
        (make(windows=(Window(start=10, stop=15, every=2),)), [0, 10, 12, 14, 15, 100]),
        (make(windows=(Window(start=4, stop=4, every=9),)), [0, 4, 100]),
        (
            make(linear_every=50, log_points=3, windows=(Window(start=98, stop=100, every=1),)),
            [0, 1, 10, 50, 98, 99, 100],
        ),
    ],
)
def test_checkpoint_steps(config, expected):
    assert checkpoint_steps(config) == expected


def test_explicit_steps():
    config = Config(name="x", steps=100, checkpoint_steps=ScheduleConfig(steps=(7, 3, 7, 100)))
    assert checkpoint_steps(config) == [0, 3, 7, 100]


def test_log_points_are_evenly_spaced_in_the_logarithm():
    steps = checkpoint_steps(make(steps=100_000, log_points=11))[1:]
    assert len(steps) == 11
    ratios = [b / a for a, b in itertools.pairwise(steps[3:])]
    assert max(ratios) / min(ratios) < 1.02


@given(
    last=st.integers(1, 3000),
    log_points=st.integers(0, 40),
    every=st.integers(0, 400),
    data=st.data(),
)
def test_the_union_of_everything(last, log_points, every, data):
    explicit = tuple(data.draw(st.lists(st.integers(0, last), max_size=5)))
    start = data.draw(st.integers(0, last))
    stop, step = data.draw(st.integers(start, last)), data.draw(st.integers(1, 50))
    window = Window(start=start, stop=stop, every=step)
    plan = ScheduleConfig(log_points=log_points, linear_every=every, steps=explicit, windows=(window,))
    config = Config(name="x", steps=last, checkpoint_steps=plan, states=data.draw(st.integers(1, 12)))
    steps = checkpoint_steps(config)
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, last)
    assert set(explicit) <= set(steps)
    assert {window.start, window.stop} <= set(steps)
    parts = [
        ScheduleConfig(log_points=log_points),
        ScheduleConfig(linear_every=every),
        ScheduleConfig(steps=explicit),
        ScheduleConfig(windows=(window,)),
    ]
    alone = [checkpoint_steps(Config(name="x", steps=last, checkpoint_steps=p)) for p in parts]
    assert set(steps) == set().union(*alone)
    assert json.loads(json.dumps(steps)) == steps  # plain ints, for the manifest
    states = state_steps(config)
    assert states <= set(steps)
    assert last in states
    assert 0 not in states
    assert len(states) <= config.states


@pytest.mark.parametrize(
    ("plan", "step"),
    [
        (ScheduleConfig(steps=(50, 101)), 101),
        (ScheduleConfig(steps=(-1,)), -1),
        (ScheduleConfig(windows=(Window(start=5, stop=120, every=50),)), 105),
    ],
)
def test_steps_beyond_the_run_are_refused(plan, step):
    config = Config(name="x", steps=100, checkpoint_steps=plan)
    said = rf"checkpoint_steps\.(steps|windows) names step {step}, but the run has steps 0\.\.100"
    with pytest.raises(ConfigError, match=said):
        checkpoint_steps(config)


def test_states_are_the_checkpoints_nearest_to_even_divisions():
    assert state_steps(make(states=3, linear_every=10)) == {30, 70, 100}
    assert state_steps(make(states=1, linear_every=10)) == {100}
    assert state_steps(make(states=5, linear_every=10)) == {20, 40, 60, 80, 100}
    assert state_steps(make(states=100)) == {100}  # step 0 needs no state
