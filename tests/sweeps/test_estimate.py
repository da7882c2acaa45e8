"""Estimates add up, and what takes the same time is measured once. No test looks at a clock."""

from dataclasses import replace

import pytest

from mechicl.schedule import evaluated_steps
from mechicl.sweeps import estimate
from mechicl.sweeps.estimate import Pace, pace, paces


def test_a_whole_run_adds_up(tiny_config):
    assert len(evaluated_steps(tiny_config)) == 9
    assert Pace(step=2.0, evaluation=10.0, start=5.0).seconds(tiny_config) == 5 + 60 * 2 + 9 * 10


def test_every_part_is_measured(tiny_config):
    found = pace(tiny_config)
    assert min(found.step, found.evaluation, found.start) > 0


def test_conditions_of_one_size_are_measured_once(small, monkeypatch):
    seen = []
    monkeypatch.setattr(estimate, "pace", lambda config, data, *_: seen.append(config) or Pace(1.0, 1.0, 1.0))
    first, second = small.conditions
    same = replace(first, name="slow", config=replace(first.config, optim=replace(first.config.optim, lr=1e-4)))
    found = paces([first, same, second], None, progress=False)
    assert list(found) == [first.name, "slow", second.name]
    assert seen == [first.config, second.config]
    assert found["slow"].seconds(first.config) == pytest.approx(1 + 60 + 4)
