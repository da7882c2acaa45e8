"""A small sweep: two conditions x two seeds of 60 steps, with and without learning."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from mechicl.sweeps.conditions import Plan
from mechicl.sweeps.executor import Local
from mechicl.sweeps.gather import gather
from mechicl.sweeps.plan import plan
from mechicl.sweeps.run import sweep
from mechicl.system.files import read_jsonl

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


def files(root: Path) -> dict[str, bytes]:
    """Everything in a sweep's runs but locks."""
    kept = (p for run in root.iterdir() if run.is_dir() for p in run.rglob("*") if p.is_file() and p.name != ".lock")
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in kept}


def command(file: Path, out: Path) -> subprocess.Popen:
    home = str(Path(__file__).parents[1])
    line = [sys.executable, "-m", "mechicl", "sweep", str(file), "--out", str(out), "--jobs", "2", "--quiet"]
    return subprocess.Popen(line, env=os.environ | {"PYTHONPATH": home}, stdout=subprocess.DEVNULL)


def killed(file: Path, out: Path, lines: int) -> None:
    """The command, killed as soon as its runs have so many lines of metrics."""
    process = command(file, out)
    while process.poll() is None and sum(len(read_jsonl(p)) for p in out.glob("*/metrics.jsonl")) < lines:
        time.sleep(0.001)
    process.kill()
    process.wait()
