"""A small sweep: two conditions x two seeds of 60 steps, with and without learning."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mechicl.sweeps.executor import Local
from mechicl.sweeps.gather import gather
from mechicl.sweeps.plan import Plan, plan
from mechicl.sweeps.run import sweep

SMALL = """
recipe = "demo"
seeds = [0, 3]

[set]
steps = 60
batch_size = 16
n_eval = 50
states = 3
keep = "metrics"
bank = {n_classes = 8, n_exemplars = 4, n_holdout_classes = 4, n_holdout_exemplars = 2, dim = 6, within_class_std = 0.1}
model = {d_model = 16, n_heads = 2}
optim = {lr = 1e-2, warmup_steps = 0}
checkpoint_steps = {log_points = 0, linear_every = 20, windows = []}

[[grid]]
bank.n_labels = ["none", 4]
"""


@pytest.fixture(scope="session")
def small_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("files") / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="session")
def small() -> Plan:
    return plan(tomllib.loads(SMALL), "small")


@pytest.fixture(scope="session")
def swept(small, tmp_path_factory) -> Path:
    """The small sweep, trained and gathered. To read, never to write."""
    out = tmp_path_factory.mktemp("swept") / "small"
    assert not sweep(small, out, executor=Local(1), progress=False).failed
    gather(small, out, progress=False)
    return out
