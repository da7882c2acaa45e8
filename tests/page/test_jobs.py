"""The queue of branches: at most so many at once, paused, stopped, kept, discarded; and none lost when a server ends or
is killed. The program is a script that takes its time, so that no test waits for a training."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mechicl.errors import SeriesError
from mechicl.page.jobs import HIDDEN, Jobs
from mechicl.series import open_series
from mechicl.training.branching import branch

SLOW = """
import json, pathlib, sys, time
words = sys.argv[1:]
root = pathlib.Path(words[words.index("--out") + 1] if "--out" in words else words[words.index("--resume") + 1])
root.mkdir(exist_ok=True)
(root / "manifest.json").write_text(json.dumps({"branch": {}}))
with open(root / "said", "a") as file:
    print(json.dumps(words), file=file)
if "fail" in words:
    sys.exit("mechicl: it cannot be.")
while not (root / "go").exists():
    time.sleep(0.02)
"""


@pytest.fixture
def queue(tmp_path):
    """Call it for a server's queue over the same folder; all end with the test."""
    (tmp_path / "slow.py").write_text(SLOW)
    opened: list[Jobs] = []

    def call(most: int = 2) -> Jobs:
        opened.append(Jobs(tmp_path / "runs", most, (sys.executable, str(tmp_path / "slow.py"))))
        return opened[-1]

    (tmp_path / "runs").mkdir()
    yield call
    for jobs in opened:
        for job in jobs.all():
            jobs.stop(job.name)
        jobs.end()


def until(true) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def states(jobs: Jobs) -> list[str]:
    return [jobs.state(job) for job in jobs.all()]


def add(jobs: Jobs, name: str, *more: str):
    root = jobs.folder / name
    return jobs.add(root, jobs.folder / "parent", ["branch", "parent", "--out", str(root), *more])


def said(jobs: Jobs, name: str) -> list[list[str]]:
    path = jobs.folder / name / "said"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_at_most_so_many_at_once_and_the_oldest_first(queue):
    jobs = queue(2)
    for name in "abc":
        add(jobs, name)
    until(lambda: said(jobs, "a") and said(jobs, "b"))
    assert states(jobs) == ["running", "running", "waiting"]
    jobs.stop("a")
    until(lambda: said(jobs, "c"))
    assert states(jobs) == ["stopped", "running", "running"]


def test_paused_it_goes_on_by_resuming_its_run(queue):
    jobs = queue()
    add(jobs, "a")
    until(lambda: said(jobs, "a"))
    jobs.pause("a")
    assert states(jobs) == ["paused"]
    jobs.resume("a")
    until(lambda: len(said(jobs, "a")) == 2)
    assert said(jobs, "a")[1] == ["train", "--resume", str(jobs.folder / "a"), "--quiet"]
    assert states(jobs) == ["running"]


def test_a_server_that_ends_ends_them_and_the_next_one_goes_on(queue):
    first = queue()
    add(first, "a")
    until(lambda: said(first, "a"))
    first.end()
    assert states(first) == ["waiting"]
    second = queue()
    second.begin()
    until(lambda: len(said(second, "a")) == 2)
    assert states(second) == ["running"]


KILLED = """
import sys, time
from pathlib import Path
from mechicl.page.jobs import Jobs
jobs = Jobs(Path(sys.argv[1]), 2, (sys.executable, sys.argv[2]))
jobs.add(jobs.folder / "a", jobs.folder / "parent", ["branch", "parent", "--out", str(jobs.folder / "a")])
time.sleep(600)
"""


def test_a_server_that_is_killed_loses_nothing(queue, tmp_path):
    """Its process lives on; the next server finds it running, starts no second one, and can end it."""
    server = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "runs"), str(tmp_path / "slow.py")])
    jobs = queue()
    until(lambda: said(jobs, "a"))
    server.send_signal(signal.SIGKILL)
    server.wait()
    jobs.begin()
    time.sleep(0.7)
    assert states(jobs) == ["running"]
    assert len(said(jobs, "a")) == 1
    pid = int((jobs.folder / HIDDEN / "a.lock").read_text())
    os.kill(pid, signal.SIGKILL)  # and that is killed, too
    until(lambda: len(said(jobs, "a")) == 2)
    jobs.pause("a")
    assert states(jobs) == ["paused"]


def test_what_fails_says_why_and_can_be_tried_again(queue):
    jobs = queue()
    add(jobs, "a", "fail")
    until(lambda: states(jobs) == ["failed"])
    assert jobs.job("a").error == "it cannot be."
    jobs.resume("a")
    until(lambda: len(said(jobs, "a")) == 2)


def test_discard_deletes_only_what_the_queue_made(queue, tmp_path):
    jobs = queue()
    add(jobs, "a")
    until(lambda: said(jobs, "a"))
    jobs.discard("a")
    assert not (jobs.folder / "a").exists()
    assert states(jobs) == []
    other = tmp_path / "elsewhere"
    other.mkdir()
    jobs.add(other, jobs.folder / "parent", ["branch", "--out", str(other)])
    with pytest.raises(SeriesError, match="not a folder of this queue"):
        jobs.discard("elsewhere")
    run = jobs.folder / "run"
    add(jobs, "run")
    until(lambda: said(jobs, "run"))
    (run / "manifest.json").write_text("{}")
    with pytest.raises(SeriesError, match="is no branch"):
        jobs.discard("run")
    assert run.is_dir()


def test_a_finished_branch_is_kept(queue, tiny_series):
    jobs = queue()
    shutil.copytree(tiny_series.root, jobs.folder / "parent")
    made = branch(jobs.folder / "parent", 40, out=jobs.folder / "made", progress=False)
    jobs.add(made.root, jobs.folder / "parent", ["branch", "--out", str(made.root)])
    assert states(jobs) == ["finished"]
    jobs.keep("made")
    assert states(jobs) == []
    assert not list((jobs.folder / HIDDEN).glob("made*"))
    assert open_series(made.root).complete


def test_a_going_one_is_not_kept_and_an_unknown_one_is_none(queue):
    jobs = queue()
    add(jobs, "a")
    with pytest.raises(SeriesError, match="stop it first"):
        jobs.keep("a")
    with pytest.raises(SeriesError, match="there is no branch 'b'"):
        jobs.pause("b")
    (Path(jobs.folder) / HIDDEN / "odd.json").write_text("{}")  # another version's: left alone
    assert [job.name for job in jobs.all()] == ["a"]
