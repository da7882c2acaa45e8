"""The Slurm executor: its logic with a queue of our own; and, where Slurm is installed, the real thing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slurm_cluster import Cluster, why_not
from slurm_queue import Queue

from mechicl.errors import ConfigError, SeriesError
from mechicl.sweeps import executor
from mechicl.sweeps.executor import Job
from mechicl.sweeps.run import statuses, sweep
from mechicl.system import slurm
from mechicl.system.files import append_line, read_jsonl, write_json
from mechicl.system.slurm import Slurm, Task
from mechicl.training.loop import Diverged, train


@pytest.fixture
def jobs(small, tmp_path) -> list[Job]:
    return [Job(tmp_path / run.name, run.config) for run in small.runs]


def test_a_sweep_through_the_queue(small, swept, tmp_path, monkeypatch):
    queue = Queue(monkeypatch)
    out = tmp_path / "small"
    outcome = sweep(small, out, executor=Slurm(out / "slurm", poll=0), progress=False)
    assert sorted(outcome.finished) == sorted(r.name for r in small.runs)
    assert queue.sent == [r.name for r in small.runs]
    assert [line["job"] for line in read_jsonl(out / "slurm" / "jobs.jsonl")] == ["7_0", "7_1", "7_2", "7_3"]
    for run in small.runs:
        assert (out / run.name / "index.jsonl").read_bytes() == (swept / run.name / "index.jsonl").read_bytes()


def test_jobs_that_are_still_queued_are_found_again(jobs, tmp_path, monkeypatch):
    queue = Queue(monkeypatch)
    executor = Slurm(tmp_path / "slurm", poll=0)
    first = executor(jobs, lambda *_: None)
    assert next(first) == (0, None)  # submitted all; then this process is killed
    del first
    told = []
    outcomes = dict(executor(jobs[1:], lambda i, x: told.append((i, x))))
    assert outcomes == {0: None, 1: None, 2: None}
    assert queue.sent == [j.root.name for j in jobs]  # none twice
    assert told[-1] == (2, 960)  # what was trained since, of the last


def test_how_a_job_ended_is_what_it_left(jobs, tmp_path, monkeypatch):
    Queue(monkeypatch, dying=(jobs[0].root.name,))
    train_it = executor.train_job

    def failing(job, tell):
        if job.root.name == jobs[1].root.name:
            raise Diverged("the training loss is nan")
        if job.root.name == jobs[2].root.name:
            raise SeriesError("the disk is full")
        train_it(job, tell)

    monkeypatch.setattr(executor, "train_job", failing)
    outcomes = dict(Slurm(tmp_path / "slurm", poll=0)(jobs, lambda *_: None))
    assert "Slurm job 7_0 ended before its work did" in str(outcomes[0])
    assert isinstance(outcomes[1], Diverged)
    assert str(outcomes[1]) == "the training loss is nan"
    assert not isinstance(outcomes[2], Diverged)
    assert "the disk is full" in str(outcomes[2])
    assert outcomes[3] is None


def test_a_task_forgets_an_earlier_failure(jobs, tmp_path):
    path = tmp_path / "x.error.json"
    write_json(path, {"error": "x", "kind": "SeriesError"})
    Task()(jobs[0], path)
    assert not path.exists()


def test_no_answer_from_squeue_concludes_nothing(jobs, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "queued", lambda: None)
    with pytest.raises(SeriesError, match="`squeue` does not answer"):
        list(Slurm(tmp_path / "slurm")(jobs, lambda *_: None))
    answers = iter([{"7_0"}, None, None, set()])
    monkeypatch.setattr(slurm, "queued", lambda: next(answers))
    train(jobs[0].config, jobs[0].root, progress=False)
    (tmp_path / "slurm").mkdir()
    append_line(tmp_path / "slurm" / "jobs.jsonl", {"run": jobs[0].root.name, "job": "7_0"})
    assert list(Slurm(tmp_path / "slurm", poll=0)(jobs[:1], lambda *_: None)) == [(0, None)]
    assert next(answers, "all asked") == "all asked"


def test_squeue_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.queued() is None


# A real one.

CLUSTER = why_not()
real = pytest.mark.skipif(CLUSTER is not None, reason=f"{CLUSTER}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def command(cluster: Cluster, file: Path, out: Path) -> subprocess.Popen:
    home = str(Path(__file__).parents[2])
    line = [sys.executable, "-m", "mechicl", "sweep", str(file), "--out", str(out), "--slurm", "--quiet"]
    env = os.environ | cluster.env | {"PYTHONPATH": home, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@real
def test_a_real_cluster_and_a_submitter_that_is_killed(cluster, small, small_file, swept, tmp_path):
    out = tmp_path / "small"
    process = command(cluster, small_file, out)
    jobs = out / "slurm" / "jobs.jsonl"
    while process.poll() is None and len(read_jsonl(jobs)) < 4:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again = command(cluster, small_file, out)
    text, errors = again.communicate()
    assert again.returncode == 0, errors
    assert "n_labels-none" in text
    assert len(read_jsonl(jobs)) == 4  # submitted once
    assert set(statuses(small, out).values()) == {"finished"}
    for run in small.runs:
        assert (out / run.name / "index.jsonl").read_bytes() == (swept / run.name / "index.jsonl").read_bytes()


@pytest.mark.slow
@real
def test_a_real_cluster_cancels_and_refuses(cluster, small, small_file, tmp_path, monkeypatch):
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)
    file, text = tmp_path / "long.toml", small_file.read_text()
    for old, new in {"= 60": "= 100_000", "= 20,": "= 500,", "[0, 3]": "[0]", '["none", 4]': '"none"'}.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    process = command(cluster, file, tmp_path / "out")
    jobs = tmp_path / "out" / "slurm" / "jobs.jsonl"
    while process.poll() is None and not (tmp_path / "out" / "n_labels-none-s0" / "manifest.json").exists():
        time.sleep(0.05)
    cluster.run("scancel", read_jsonl(jobs)[0]["job"])
    text, _ = process.communicate()
    assert process.returncode == 1
    assert "ended before its work did" in text
    with pytest.raises(ConfigError, match="submitit refuses these settings"):
        Slurm(tmp_path / "slurm", {"slurm_particion": "x"})._executor()
