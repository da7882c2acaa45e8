"""Curves go to a logger as they come: every point once, and never at the cost of the run."""

import json
import time
import warnings

import pytest

from mechicl import cli
from mechicl.errors import ConfigError
from mechicl.series import open_series
from mechicl.training import logs, loop
from mechicl.training.ensemble import train_seeds
from mechicl.training.loop import train
from mechicl.training.replay import resume


class Kept:
    """A logger that keeps what it is told."""

    def __init__(self, root, settings, id):
        self.root, self.settings, self.points, self.closed = root, settings, [], 0
        made.append(self)

    def point(self, step, values):
        self.points.append((step, values))

    def close(self):
        self.closed += 1


made: list[Kept] = []


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    made.clear()
    monkeypatch.setitem(logs.KINDS, "json", Kept)  # a package that is there


def steps() -> list[int]:
    return [step for each in made for step, _ in each.points]


def test_every_record_is_a_point(tiny_config, tmp_path):
    series = train(tiny_config, tmp_path / "x", log="json", progress=False)
    (one,) = made
    assert [step for step, _ in one.points] == series.evaluated
    assert one.closed == 1
    assert (one.settings["run"], one.settings["model.d_model"]) == (str(series.root), 16)
    last = one.points[-1][1]
    table = series.metrics.query("step == 60 and evaluator == 'icl' and metric == 'in_context_acc'")
    assert last["icl/in_context_acc"] == table.value.item()
    assert last["training/loss"] == series.training_loss.loss.iloc[-1]
    assert last["sequences"] == series.sequences_seen(60)
    assert "training/loss" not in one.points[0][1]


def cut(monkeypatch, at: int) -> None:
    """The run is killed as it comes to a checkpoint."""
    whole = loop.check_checkpoint

    def stop(root, step, *rest):
        if step == at:
            raise KeyboardInterrupt
        return whole(root, step, *rest)

    monkeypatch.setattr(loop, "check_checkpoint", stop)


@pytest.mark.parametrize("first", ["json", None])
def test_a_resumed_run_logs_no_point_twice(tiny_config, tmp_path, monkeypatch, first):
    """It replays from its last state the steps that were logged; one that was not logged before is logged whole."""
    with monkeypatch.context() as patched:
        cut(patched, 40)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_config, tmp_path / "x", log=first, progress=False)
    series = resume(tmp_path / "x", log="json", progress=False)
    assert steps() == series.evaluated
    resume(tmp_path / "x", log="json", progress=False)  # finished: there is nothing more to log
    assert steps() == series.evaluated


def test_a_finished_run_can_be_logged(tiny_copy):
    resume(tiny_copy.root, log="json", progress=False)
    assert steps() == tiny_copy.evaluated


def test_seeds_in_one_process_have_a_logger_each(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr("mechicl.training.ensemble.stacking_wins", lambda *_: True)
    runs = train_seeds(tiny_config, range(2), tmp_path / "x", jobs=1, log="json", progress=False)
    assert [one.root for one in made] == [run.root for run in runs]
    assert made[0].points[-1] != made[1].points[-1]


@pytest.mark.parametrize("fails", ["__init__", "point", "close"])
def test_a_logger_that_fails_is_warned_of_once(tiny_config, tmp_path, monkeypatch, fails):
    def broken(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(Kept, fails, broken)
    with pytest.warns(UserWarning, match="json failed, and the run goes on without it: OSError: No space") as told:
        series = train(tiny_config, tmp_path / "x", log="json", progress=False)
    assert len(told) == 1
    assert series.complete


def test_what_cannot_be_logged_to_is_said_before_any_work(tiny_config, tmp_path, monkeypatch, capsys):
    with pytest.raises(ConfigError, match=r"--log paper: expected one of tensorboard, wandb, trackio"):
        train(tiny_config, tmp_path / "x", log="paper", progress=False)
    monkeypatch.setitem(logs.KINDS, "not_installed", Kept)
    with pytest.raises(ConfigError, match=r"needs the package not_installed: .*\[not_installed\]"):
        train_seeds(tiny_config, [0], tmp_path / "x", log="not_installed", progress=False)
    with pytest.raises(SystemExit):
        cli.main(["train", "demo", "--log", "paper", "--out", str(tmp_path / "x")])
    assert "--log paper: expected one of" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_tensorboard_reads_the_curves_back(tiny_config, tmp_path):
    pytest.importorskip("tensorboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        series = train(tiny_config, tmp_path / "x", log="tensorboard", progress=False)
    found = EventAccumulator(str(series.root / "log" / "tensorboard")).Reload()
    curve = found.Scalars("icl/in_context_acc")
    table = series.metrics.query("evaluator == 'icl' and metric == 'in_context_acc'")
    assert [point.step for point in curve] == table.step.tolist()
    assert [point.value for point in curve] == pytest.approx(table.value.tolist())
    assert found.Scalars("sequences")[-1].value == series.sequences_seen(60)
    text = found.Tensors("settings/text_summary")[0].tensor_proto.string_val[0].decode()
    assert f"run = {series.root}" in text


def test_wandb_offline(tiny_config, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        series = train(tiny_config, tmp_path / "x", log="wandb", progress=False)
    assert json.loads((series.root / "log" / "wandb.json").read_text())["step"] == 60
    (saved,) = (series.root / "log" / "wandb").glob("offline-run-*/*.wandb")
    until = time.monotonic() + 60  # a process of wandb's own writes it
    while b"icl/in_context_acc" not in saved.read_bytes():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_trackio_on_this_machine(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read as it is imported
    pytest.importorskip("trackio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        series = train(tiny_config, tmp_path / "x", log="trackio", progress=False)
    assert json.loads((series.root / "log" / "trackio.json").read_text())["step"] == 60
    assert open_series(series.root).complete
    assert list((tmp_path / "trackio").rglob("*.db"))
