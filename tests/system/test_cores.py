"""Cores that a process may use, not those that the machine has."""

import ast
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mechicl.system import cores as module
from mechicl.system.cores import cores

ROOT = Path(__file__).parents[2]


@pytest.fixture
def groups(monkeypatch, tmp_path):
    """Eight cores, and control groups as files: call with the process's lines and the files."""
    monkeypatch.setattr(os, "process_cpu_count", lambda: 8, raising=False)
    monkeypatch.setattr(module, "_CGROUPS", tmp_path / "fs")
    monkeypatch.setattr(module, "_MINE", tmp_path / "mine")

    def write(mine: str | None, **files: str) -> int:
        if mine is not None:
            (tmp_path / "mine").write_text(mine, encoding="utf-8")
        for name, text in files.items():
            path = tmp_path / "fs" / name.replace("__", "/").replace("_max", ".max").replace("_cfs", ".cfs")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")
        return cores()

    return write


def test_without_control_groups_it_is_the_affinity(groups):
    assert groups(None) == 8
    assert groups("0::/a/b\n") == 8  # files are not to be seen
    assert groups("no line of such a file\n") == 8


@pytest.mark.parametrize(
    ("limit", "wanted"),
    [
        ("max 100000", 8),
        ("100000 100000", 1),
        ("50000 100000", 1),
        ("150000 100000", 2),
        ("1600000 100000", 8),
        ("garbage", 8),
        ("0 0", 8),
    ],
)
def test_version_2(groups, limit, wanted):
    assert groups("0::/user.slice/job\n", **{"user.slice__job__cpu_max": limit}) == wanted


def test_the_tightest_group_above_counts(groups):
    assert groups("0::/a/b\n", a__b__cpu_max="max 100000", a__cpu_max="300000 100000", cpu_max="500000 100000") == 3


def test_a_container_sees_only_the_top(groups):
    assert groups("0::/docker/0123\n", cpu_max="200000 100000") == 2
    assert groups("0::/../../x\n", cpu_max="200000 100000") == 2


def test_version_1(groups):
    mine = "12:memory:/job\n4:cpu,cpuacct:/job\n2:cpuset:/job\n"
    unlimited = {"cpu,cpuacct__job__cpu_cfs_quota_us": "-1", "cpu,cpuacct__job__cpu_cfs_period_us": "100000"}
    assert groups(mine, **unlimited) == 8
    assert groups(mine, **unlimited | {"cpu,cpuacct__job__cpu_cfs_quota_us": "250000"}) == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_one_core_is_one_worker():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from mechicl.system.cores import cores; print(cores())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "1\n"


def test_it_is_a_count():
    assert 1 <= cores() <= (os.cpu_count() or math.inf)


def test_nobody_else_counts_cores():
    folders = ("mechicl", "analyses", "research", "benchmarks")
    for path in (p for folder in folders for p in (ROOT / folder).rglob("*.py") if p.name != "cores.py"):
        names = {
            node.attr
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute)
        }
        assert not names & {"cpu_count", "process_cpu_count", "sched_getaffinity"}, path
