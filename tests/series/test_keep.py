"""Runs that keep their metrics and no weights but the ends: the same numbers, the same endings."""

import re
import shlex
import signal
import sys
from dataclasses import replace

import pytest
from faults import Fault
from small_run import metric_lines

from mechicl import cli
from mechicl.config import Config, to_dict
from mechicl.errors import SeriesError
from mechicl.schedule import checkpoint_steps, evaluated_steps, resume_steps, state_steps
from mechicl.series import Series, open_series
from mechicl.series.storage import LATEST, drop_latest, load_latest, load_tensors
from mechicl.series.verify import verify
from mechicl.system.files import read_jsonl, write_atomic
from mechicl.training.loop import resumes_from, train
from mechicl.training.replay import densify, resume


@pytest.fixture(scope="module")
def config(tiny_config) -> Config:
    return replace(tiny_config, keep="metrics")


@pytest.fixture(scope="module")
def kept(config, tmp_path_factory) -> Series:
    return train(config, tmp_path_factory.mktemp("kept") / "tiny", progress=False)


def same(series: Series, other: Series) -> None:
    assert metric_lines(series.root) == metric_lines(other.root)
    assert {e.step: e.sha256 for e in series.entries} == {e.step: e.sha256 for e in other.entries}
    assert not (series.root / LATEST).exists()
    assert verify(series.root) == []


def test_steps(config, tiny_config):
    assert evaluated_steps(config) == checkpoint_steps(tiny_config)
    assert checkpoint_steps(config) == [0, 60]
    assert resume_steps(config) == state_steps(tiny_config) == {20, 40, 60}
    assert state_steps(config) == set()


def test_the_metrics_are_all_there_and_the_weights_are_the_ends(kept, tiny_series):
    assert metric_lines(kept.root) == metric_lines(tiny_series.root)
    assert kept.metrics.equals(tiny_series.metrics)
    ends = {e.step: e.sha256 for e in tiny_series.entries if e.kind == "weights" and e.step in (0, 60)}
    assert {e.step: e.sha256 for e in kept.entries} == ends
    assert kept.complete
    assert not (kept.root / "state").exists()
    assert verify(kept.root) == []


def test_any_weights_can_be_had_back(config, tmp_path, tiny_series):
    root = train(config, tmp_path / "tiny", progress=False).root
    dense = densify(root, 10, 30, 10, progress=False)
    assert dense.steps == [0, 10, 20, 30, 60]
    for step in dense.steps:
        assert dense.entry(step).sha256 == tiny_series.entry(step).sha256
    assert verify(root) == []
    assert not (root / LATEST).exists()


def test_the_error_of_a_moment_without_weights_says_what_brings_them_back(config, tmp_path):
    series = train(config, tmp_path / "tiny", progress=False)
    for step in (10, 20):
        with pytest.raises(SeriesError) as error:
            series.step_at(step * config.batch_size)
    command = re.search(r"`mechicl (densify [^`]*)`", str(error.value))
    assert command
    cli.main(shlex.split(command[1]))
    again = open_series(series.root)
    assert [again.step_at(step * config.batch_size) for step in (10, 20)] == [10, 20]
    assert verify(series.root) == []


def test_the_moments_of_a_fault_are_found(config, tmp_path, kept):
    with Fault() as fault:
        train(config, tmp_path / "a", progress=False)
    assert fault.seen == MOMENTS


MOMENTS = 54


@pytest.mark.parametrize("at", [*range(0, MOMENTS, 3), 44, 45, 47, 48, 50, 51])
def test_killed_and_resumed(workers, config, kept, tmp_path, at):
    root = tmp_path / "tiny"
    assert workers.run("train", root, at, config=to_dict(config)) == -signal.SIGKILL
    again = "resume" if (root / "manifest.json").exists() else "train"
    assert workers.run(again, root, config=to_dict(config)) == 0
    same(open_series(root), kept)


def test_what_a_kill_left_of_the_latest_state_goes_with_it(tmp_path):
    (tmp_path / LATEST).write_bytes(b"whole")
    (tmp_path / f".{LATEST}.tmp").write_bytes(b"half")
    drop_latest(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_goes_on_from_the_latest_state(config, tmp_path, kept, monkeypatch):
    """Stopped at step 50: the state of step 40 is there, and nothing before it is computed again."""
    root, module = tmp_path / "tiny", sys.modules["mechicl.training.loop"]
    checkpoint = module._checkpoint

    def stopped(member, trainer, *args):
        if trainer.step == 50:
            raise KeyboardInterrupt
        checkpoint(member, trainer, *args)

    monkeypatch.setattr(module, "_checkpoint", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(config, root, progress=False)
    monkeypatch.undo()
    assert resumes_from(open_series(root)) == 40
    resume(root, progress=False)
    written = [line["step"] for line in read_jsonl(root / "metrics.jsonl")]
    assert written == [0, 1, 5, 10, 20, 30, 40, 50, 60]
    same(open_series(root), kept)


def test_a_latest_state_that_cannot_be_read_is_not_used(config, tmp_path, kept, tiny_series):
    assert load_latest(tmp_path) is None
    write_atomic(tmp_path / LATEST, b"torn")
    assert load_latest(tmp_path) is None
    state = next(e for e in tiny_series.entries if e.kind == "state")
    write_atomic(tmp_path / LATEST, (tiny_series.root / state.file).read_bytes())
    found = load_latest(tmp_path)
    assert found is not None
    assert found.keys() == load_tensors(tiny_series.root, state).keys()
