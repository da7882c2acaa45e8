"""The loop again from a saved state: resume and densify come to the bytes of a run that nothing happened to."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from small_run import WINDOW, files, interrupt, metric_lines, same_run, small

from mechicl.config import ScheduleConfig
from mechicl.errors import ConfigError, SeriesError
from mechicl.models.params import unpack
from mechicl.series import Series, open_series
from mechicl.series.storage import LATEST, latest_step, load_tensors
from mechicl.training.loop import resumes_from, train, training_batches
from mechicl.training.replay import densify, resume
from mechicl.training.step import Trainer

# Resume.


def test_resuming_a_finished_run_does_nothing(copy, unbroken):
    stamps = {p: p.stat().st_mtime_ns for p in copy.rglob("*")}
    series = resume(copy, progress=False)
    assert series.steps == unbroken.steps
    assert {p: p.stat().st_mtime_ns for p in copy.rglob("*")} == stamps


def test_resuming_what_is_no_run(tmp_path):
    with pytest.raises(SeriesError, match="is not a run"):
        resume(tmp_path, progress=False)


@pytest.mark.parametrize("at", [0, 3, 4, 9, 11])
def test_stopped_by_the_user_and_resumed(tmp_path, unbroken, monkeypatch, at):
    update = Trainer.update

    def stopped(trainer, batch):
        if trainer.step == at:
            raise KeyboardInterrupt
        return update(trainer, batch)

    monkeypatch.setattr(Trainer, "update", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(small(), tmp_path / "small", progress=False)
    monkeypatch.setattr(Trainer, "update", update)
    assert open_series(tmp_path / "small").steps == [s for s in unbroken.steps if s <= at]
    resume(tmp_path / "small", progress=False)
    same_run(tmp_path / "small", unbroken)


@pytest.mark.parametrize("kinds", [(), ("state",), ("weights", "state")])
def test_resume_goes_on_from_the_last_whole_state_or_from_the_start(copy, unbroken, kinds):
    interrupt(copy, *kinds)
    assert not open_series(copy).complete
    resume(copy, progress=False)
    got, want = files(copy), files(unbroken.root)
    if "state" in kinds:  # the run replays from step 0, and mends what it passes
        assert {k: v for k, v in got.items() if k != "index.jsonl"} == {
            k: v for k, v in want.items() if k != "index.jsonl"
        }
    else:
        assert got == want
    assert metric_lines(copy) == metric_lines(unbroken.root)


def test_a_torn_state_is_passed_over_for_an_earlier_one(tmp_path):
    config = small(states=3)  # at 4, 8, 12
    whole = train(config, tmp_path / "whole", progress=False)
    shutil.copytree(whole.root, tmp_path / "small")
    root = tmp_path / "small"
    interrupt(root)
    torn = root / "state" / "step_00000008.safetensors"
    torn.write_bytes(torn.read_bytes()[:100])
    resume(root, progress=False)
    same_run(root, whole)


def test_a_replay_that_differs_is_refused(copy):
    interrupt(copy)
    config = json.loads((copy / "config.json").read_text())
    config["optim"]["lr"] = 2e-2
    (copy / "config.json").write_text(json.dumps(config))
    before = {k: v for k, v in files(copy).items() if k.startswith(("weights", "state", "index"))}
    with pytest.raises(SeriesError, match="the replay gives different weights at step 8 from the saved ones"):
        resume(copy, progress=False)
    assert {k: v for k, v in files(copy).items() if k.startswith(("weights", "state", "index"))} == before


# Densify.


def test_densify_adds_the_checkpoints_that_training_would_have_saved(dense, unbroken, tmp_path):
    assert dense.steps == [0, 4, 5, 7, 8, 9, 11, 12]
    schedule = ScheduleConfig(linear_every=4, steps=(5, 7, 9, 11))
    scheduled = train(small(checkpoint_steps=schedule), tmp_path / "x", progress=False)
    for step in dense.steps:
        assert dense.entry(step) == scheduled.entry(step)
    ours, theirs = (
        s.metrics[["step", "evaluator", "metric", "value"]].reset_index(drop=True) for s in (dense, scheduled)
    )
    assert ours.equals(theirs)
    before = files(unbroken.root)
    kept = {k: v for k, v in files(dense.root).items() if k in before and k != "index.jsonl"}
    assert kept == {k: v for k, v in before.items() if k != "index.jsonl"}


def test_densify_keeps_the_runs_own_metrics(dense, unbroken):
    ours = {json.loads(line)["step"]: line for line in metric_lines(dense.root)}
    for line in metric_lines(unbroken.root):
        assert ours[json.loads(line)["step"]] == line
    table = dense.training_loss  # step 8 keeps its line, not one of 7..8 alone
    kept = table[table.step.isin(unbroken.steps)].reset_index(drop=True)
    assert kept.equals(unbroken.training_loss)
    assert dense.complete
    assert dense.manifest == unbroken.manifest


def test_densify_twice_adds_nothing(dense, tmp_path):
    root = tmp_path / "small"
    shutil.copytree(dense.root, root)
    densify(root, *WINDOW, progress=False)
    same_run(root, dense)


@pytest.mark.parametrize(
    ("window", "steps"),
    [
        ((0, 3, 1), [0, 1, 2, 3, 4, 8, 12]),
        ((6, 6, 1), [0, 4, 6, 8, 12]),
        ((4, 12, 5), [0, 4, 8, 9, 12]),
        ((10, 12, 9), [0, 4, 8, 10, 12]),
        ((12, 12, 1), [0, 4, 8, 12]),
    ],
)
def test_windows(copy, window, steps):
    assert densify(copy, *window, progress=False).steps == steps


def test_densify_mends_a_missing_checkpoint(copy, unbroken):
    (copy / "weights" / "step_00000008.safetensors").unlink()
    densify(copy, 8, 8, 1, progress=False)
    same_run(copy, unbroken)


def test_densify_refuses_windows_outside_the_run(copy, unbroken):
    with pytest.raises(ConfigError, match=r"13: small has steps 0\.\.12"):
        densify(copy, 1, 13, 1, progress=False)
    for window in ((-1, 4, 1), (5, 4, 1), (1, 4, 0)):
        with pytest.raises(ConfigError, match="expected 0 <= start <= stop and every >= 1"):
            densify(copy, *window, progress=False)
    same_run(copy, unbroken)


def test_densify_and_resume_of_an_interrupted_run_meet(copy, unbroken):
    interrupt(copy)
    densify(copy, 5, 7, 2, progress=False)
    series = resume(copy, progress=False)
    assert series.steps == [0, 4, 5, 7, 8, 12]
    for step in unbroken.steps:
        assert series.entry(step) == unbroken.entry(step)


def test_densify_leaves_the_newest_state_of_an_extended_run_that_was_interrupted(tmp_path, monkeypatch):
    """With `keep = "metrics"` it is the only one: all since the former end would be lost."""
    config = small(keep="metrics", checkpoint_steps=ScheduleConfig(linear_every=2), states=6)
    root = train(config, tmp_path / "small", progress=False).root
    update = Trainer.update

    def stopped(trainer, batch):
        if trainer.step == 19:
            raise KeyboardInterrupt
        return update(trainer, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "update", stopped)
        with pytest.raises(KeyboardInterrupt):
            resume(root, steps=24, progress=False)
    newest = (root / LATEST).read_bytes()
    assert resumes_from(open_series(root)) == latest_step(root) == 16
    densify(root, 1, 9, 4, progress=False)
    assert (root / LATEST).read_bytes() == newest
    series = resume(root, progress=False)
    assert series.complete
    assert latest_step(root) == -1
    whole = train(replace(config, steps=24), tmp_path / "whole", progress=False)
    assert series.entry(24).sha256 == whole.entry(24).sha256


# States.


def states(series: Series) -> dict[int, dict[str, torch.Tensor]]:
    """step -> the tensors of its saved state: weights and Adam's moments."""
    return {e.step: load_tensors(series.root, e) for e in series.entries if e.kind == "state"}


def test_a_replayed_state_is_the_stored_one_bit_for_bit(copy, unbroken):
    interrupt(copy)
    stored, replayed = states(unbroken), states(resume(copy, progress=False))
    assert sorted(stored) == sorted(replayed) == [4, 12]
    for step, want in stored.items():
        assert list(replayed[step]) == list(want)
        assert {name for name, x in want.items() if not torch.equal(x, replayed[step][name])} == set()


def test_a_replay_does_the_updates_of_the_trainer(copy):
    """Step 6 by hand: the state at 4, and two more updates with the run's batches 5 and 6."""
    series = densify(copy, 6, 6, 1, progress=False)
    trainer = Trainer.from_state(small(), states(series)[4])
    for batch in training_batches(small(), series.source, 4, 6):
        trainer.update(batch)
    want = unpack(trainer.params, small().model.n_heads)
    got = series.weights(6)
    assert set(got) == set(want)
    assert all(torch.equal(got[name], w) for name, w in want.items())


@pytest.mark.parametrize("gone", [[4], [12], [4, 12]])
def test_densify_without_a_state_begins_at_an_earlier_one_or_at_step_0(copy, dense, gone):
    for step in gone:
        (copy / "state" / f"step_{step:08}.safetensors").unlink()
    series = densify(copy, *WINDOW, progress=False)
    assert {e.step: e.sha256 for e in series.entries if e.kind == "weights"} == {
        e.step: e.sha256 for e in dense.entries if e.kind == "weights"
    }


def test_densify_refuses_a_window_that_the_run_has_not_reached(copy):
    interrupt(copy)
    with pytest.raises(SeriesError, match=r"has only reached step 8 of its schedule.*mechicl train --resume"):
        densify(copy, 5, 12, 1, progress=False)


def test_densify_refuses_a_replay_that_differs_and_leaves_the_run_as_it_was(copy):
    config = json.loads((copy / "config.json").read_text())
    config["optim"]["lr"] = 2e-2
    (copy / "config.json").write_text(json.dumps(config))
    before = files(copy)
    with pytest.raises(SeriesError, match="the replay gives different weights at step 8 from the saved ones"):
        densify(copy, 8, 8, 1, progress=False)
    assert files(copy) == before


def test_resume_refuses_fewer_steps_than_the_run_has(copy, unbroken):
    with pytest.raises(ConfigError, match=r"--steps 8: .* is planned for 12 steps: give more"):
        resume(copy, steps=8, progress=False)
    same_run(copy, unbroken)
