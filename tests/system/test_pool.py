"""Tasks in processes: each fails alone, and none outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pool_tasks import either, work

from mechicl.errors import SeriesError
from mechicl.system.pool import Tally, TaskError, _Worker, run_tasks


def run(tasks: list[str], workers: int = 2):
    told, ended = [], {}
    for number, error in run_tasks(work, [(t,) for t in tasks], workers, lambda i, x: told.append((i, x))):
        ended[number] = error
    return told, ended


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_task_fails_alone(workers):
    tasks = ["a", "raise", "bug", "die", "exit", "b"]
    told, ended = run(tasks, workers)
    assert sorted(ended) == list(range(len(tasks)))
    assert sorted(x for x in told if x[1] in tasks) == [(0, "a"), (5, "b")]
    assert ended[0] is ended[5] is None
    assert isinstance(ended[1], SeriesError)
    assert str(ended[1]) == "the disk is full"
    assert isinstance(ended[2], TaskError)
    assert "ZeroDivisionError: a bug" in str(ended[2])
    assert "pool_tasks.py" in str(ended[2])  # where
    assert "SIGKILL" in str(ended[3])
    assert "exit code 3" in str(ended[4])


def test_one_process_serves_many_tasks_and_a_dead_one_is_replaced():
    told, _ = run(["a", "b", "die", "c", "d"], 1)
    pids = [x[1] for _, x in told if isinstance(x, tuple)]
    assert len(pids) == 5
    assert pids[0] == pids[1] == pids[2] != pids[3] == pids[4]


def test_nothing_to_do():
    assert run([]) == ([], {})


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def eventually(true) -> None:
    """Waits for something that must come; a minute without it is a failure."""
    for _ in range(6000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError(f"never came true: {true}")


def pids(paths: list[Path]) -> list[int]:
    eventually(lambda: all(p.is_file() and p.read_text() for p in paths))
    return [int(p.read_text()) for p in paths]


def test_workers_end_when_their_parent_is_killed(tmp_path):
    paths = [tmp_path / "one", tmp_path / "two"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    script = str(Path(__file__).parents[1] / "pool_tasks.py")
    parent = subprocess.Popen([sys.executable, script, *map(str, paths)], env=env)
    found = pids(paths)
    assert not any(map(ended, found))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    eventually(lambda: all(map(ended, found)))


def test_a_caller_that_wants_no_more_ends_the_workers(tmp_path):
    path = tmp_path / "one"
    outcomes = run_tasks(either, [("a",), (str(path),)], 2, lambda *_: None)
    assert next(outcomes) == (0, None)
    (pid,) = pids([path])
    outcomes.close()
    assert ended(pid)


UNGUARDED = """
import sys
sys.path.insert(0, {tests!r})
from pool_tasks import work
from mechicl.config import ConfigError
from mechicl.system.pool import run_tasks
try:
    for _ in run_tasks(work, [("a",), ("b",)], 2, print):
        pass
except ConfigError as error:
    print("refused:", error)
"""


def test_a_script_without_a_main_guard_is_told_so_and_not_what_python_says(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED.format(tests=str(Path(__file__).parents[1])))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    assert done.stderr == ""  # the processes that only import the script say nothing
    (line,) = done.stdout.splitlines()
    assert line.startswith("refused:")
    assert "if __name__ == '__main__':" in line


def test_a_tally_reports_in_lots():
    told = []
    tally = Tally(told.append)
    for _ in range(100):
        tally.update(1000)
    tally.set_postfix_str("loss 1.0")
    tally.flush()
    assert sum(x for x in told if isinstance(x, int)) == 100_000
    assert 2 < len(told) < 10
    assert "loss 1.0" in told


def test_a_task_begins_when_the_one_before_it_has_ended_well_or_not():
    order: list[tuple[str, int]] = []
    tasks = ["a", "die", "b", "c", "d"]
    outcomes = run_tasks(
        work,
        [(t,) for t in tasks],
        3,
        lambda i, told: order.append(("begun", i)) if isinstance(told, str) else None,
        {2: 0, 3: 1, 4: 2},
    )
    for number, _ in outcomes:
        order.append(("ended", number))
    assert sorted(number for what, number in order if what == "ended") == [0, 1, 2, 3, 4]
    for number, first in {2: 0, 3: 1, 4: 2}.items():
        assert order.index(("ended", first)) < order.index(("begun", number))
    with pytest.raises(ValueError, match="task 0 is after task 1: expected an earlier one"):
        next(run_tasks(work, [("a",), ("b",)], 1, print, {0: 1}))


def test_an_interrupt_while_a_process_starts_is_its_parents_affair():
    """Ctrl-C reaches the whole group, also one that is still importing: it printed a traceback."""
    worker = _Worker(work)
    try:
        for _ in range(100):
            os.kill(worker.process.pid, signal.SIGINT)
            if worker.connection.poll(0.05):
                break
        assert worker.connection.poll(60)
        assert worker.connection.recv() == ("ready", None)
    finally:
        worker.process.terminate()
        worker.process.join()
