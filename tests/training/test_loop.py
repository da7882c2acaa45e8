"""Training is a function of its config, and survives being killed, or a full disk, at any moment:
what comes out after `resume` has the bytes of a run that nothing happened to."""

import dataclasses
import itertools
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from faults import Fault
from small_run import WINDOW, files, same_run, small

from mechicl.config import BankConfig, ModelConfig, OptimConfig, ScheduleConfig, to_dict
from mechicl.errors import ConfigError, SeriesError
from mechicl.models.params import init, pack, unpack
from mechicl.series import Series, open_series
from mechicl.series.storage import file_problem, locked
from mechicl.system.files import read_jsonl
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.batch import Batch
from mechicl.training.loop import train, training_batches
from mechicl.training.replay import densify, resume
from mechicl.training.step import Trainer

MOMENTS, DENSE_MOMENTS = 56, 32


# What a run is.


def test_a_run_is_the_trainer_fed_with_its_batches(unbroken):
    config = small()
    bank = build_bank(config)
    trainer, losses = Trainer(config, pack(init(config))), []
    fresh = init(config)
    assert all(torch.equal(w, fresh[name]) for name, w in unbroken.weights(0).items())
    for step, batch in enumerate(training_batches(config, bank, 0, 12), start=1):
        losses.append(trainer.update(batch).item())
        if step in unbroken.steps:
            want = unpack({k: v.detach() for k, v in trainer.params.items()}, 2)
            assert all(torch.equal(w, want[name]) for name, w in unbroken.weights(step).items())
    means = [np.mean(losses[i : i + 4]) for i in (0, 4, 8)]
    np.testing.assert_allclose(unbroken.training_loss.loss, means, rtol=1e-12)
    assert unbroken.steps == [0, 4, 8, 12]
    assert [e.step for e in unbroken.entries if e.kind == "state"] == [4, 12]


def test_the_same_config_gives_the_same_bytes(unbroken, tmp_path):
    again = train(small(), tmp_path / "small", progress=False)
    same_run(again.root, unbroken)
    assert (again.root / "metrics.jsonl").read_bytes() == (unbroken.root / "metrics.jsonl").read_bytes()


def test_the_numbers_of_a_tiny_run_are_pinned(tiny_series):
    # A change here changes users' numbers: say so in CHANGELOG.md ("What changes in your numbers").
    losses = [3.5550, 2.0392, 1.1591, 0.6720, 0.2691, 0.1164, 0.0516, 0.0330]
    np.testing.assert_allclose(tiny_series.training_loss.loss, losses, rtol=0.01)
    for name, values in {
        "train": [2.9574, 0.3736, 0.0205],
        "icl": [2.8880, 3.4436, 5.6259],
        "flip": [2.7187, 3.3334, 6.0915],
        "ciwl": [3.1451, 0.5333, 0.0470],
    }.items():
        np.testing.assert_allclose(tiny_series.curve(name, "loss")[1][::4], values, rtol=0.01)
    assert tiny_series.bank.fingerprint.startswith("b7702798816b0756")


@pytest.mark.parametrize("stream", ["init", "data", "eval"])
def test_each_seed_changes_its_own_part(unbroken, tmp_path, stream):
    seeds = dataclasses.replace(small().seeds, **{stream: 9})
    other = train(small(seeds=seeds), tmp_path / "small", progress=False)
    start = [torch.equal(other.weights(0)[k], w) for k, w in unbroken.weights(0).items() if "W_" in k]
    end = [torch.equal(other.weights(12)[k], w) for k, w in unbroken.weights(12).items()]
    assert all(start) == (stream != "init")
    assert all(end) == (stream == "eval")
    assert not other.metrics.value.equals(unbroken.metrics.value)
    assert (other.bank.fingerprint == unbroken.bank.fingerprint) == (stream != "data")


@pytest.mark.parametrize(("start", "stop"), [(0, 130), (3, 5), (63, 65), (64, 128), (127, 130), (5, 5)])
def test_batches_are_a_function_of_the_step(start, stop):
    config = small(batch_size=4)
    bank = build_bank(config)
    every = list(training_batches(config, bank, 0, 130))
    part = list(training_batches(config, bank, start, stop))
    assert len(every) == 130
    assert len(part) == stop - start
    for got, want in zip(part, every[start:stop], strict=True):
        for f in dataclasses.fields(Batch):
            assert torch.equal(getattr(got, f.name), getattr(want, f.name))
    distinct = {tuple(b.classes.flatten().tolist()) for b in every}
    assert len(distinct) == 130


def test_batches_show_only_what_is_trained_on():
    config = small(bank=dataclasses.replace(small().bank, n_holdout_exemplars=2))
    bank = build_bank(config)
    trained = set(map(bytes, bank.train().exemplars.reshape(-1, 6)))
    shown = set()
    for batch in training_batches(config, bank, 0, 12):
        shown |= set(map(bytes, batch.exemplars.reshape(-1, 6).numpy()))
    assert shown == trained  # 32 exemplars, 288 drawings


def test_global_state_is_left_as_it_was(tmp_path):
    threads = torch.get_num_threads()
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    train(small(threads=2), tmp_path / "small", progress=False)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.get_num_threads() == threads


def test_the_manifest_is_there_before_step_0(tmp_path):
    with Fault(8), pytest.raises(SeriesError):  # the first write after config.json and manifest.json
        train(small(), tmp_path / "small", progress=False)
    series = open_series(tmp_path / "small")
    assert series.manifest["schedule"] == [0, 4, 8, 12]
    assert series.steps == []


def test_progress_shows_loss_and_evaluators(tmp_path, capsys):
    train(small(), tmp_path / "small")
    shown = capsys.readouterr().err
    assert "loss" in shown
    assert all(f" {name} " in shown for name in ("icl", "flip", "ciwl", "iwl"))
    train(small(), tmp_path / "quiet", progress=False)
    assert capsys.readouterr() == ("", "")


def test_runs_go_to_checkpoints_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    series = train(small(), progress=False)
    assert series.root == tmp_path / "checkpoints" / "small"
    assert (tmp_path / "checkpoints" / "small" / "manifest.json").is_file()


# Refusals.


def test_a_run_is_never_overwritten(copy, unbroken):
    with pytest.raises(SeriesError, match=r"contains a run already.*mechicl train --resume") as error:
        train(small(optim=OptimConfig(lr=1.0)), copy, progress=False)
    assert str(copy) in str(error.value)
    same_run(copy, unbroken)


@pytest.mark.parametrize(
    "config",
    [
        small(checkpoint_steps=ScheduleConfig(steps=(13,))),
        small(sequences=dataclasses.replace(small().sequences, n_pairs=3)),  # odd: no icl evaluator
        small(bank=BankConfig(n_classes=2, n_exemplars=4, n_holdout_classes=4, dim=6)),  # too few for iwl
    ],
)
def test_an_impossible_run_is_refused_before_anything_is_written(tmp_path, config):
    with pytest.raises(ConfigError):
        train(config, tmp_path / "small", progress=False)
    assert not list(tmp_path.iterdir())


def test_a_run_that_diverges_stops_and_says_so(tmp_path):
    config = small(optim=OptimConfig(lr=1e30), model=ModelConfig(n_layers=2, d_model=8, n_heads=2, layer_norm=False))
    with pytest.raises(SeriesError, match=r"the training loss is nan at step 4; the run diverged"):
        train(config, tmp_path / "small", progress=False)
    series = open_series(tmp_path / "small")
    assert series.steps == [0]
    assert all(w.isfinite().all() for w in series.weights(0).values())


# Killed with SIGKILL. `MOMENTS` of writing in a run: every one of them in the slow tests, some here.

some = pytest.mark.parametrize("at", [0, 7, 8, 11, 12, 13, 14, 15, 21, 26, 30, 37, 42, 45, 50, 51])


def go_on(workers, root: Path, at: int = -1, kind: str = "kill") -> int:
    """Resume; or, where it was killed before it was a run, train."""
    verb = "resume" if (root / "manifest.json").exists() else "train"
    return workers.run(verb, root, at, kind, config=to_dict(small()))


@pytest.mark.slow
def test_the_moments_are_all_there(workers, unbroken, tmp_path):
    with Fault() as fault:
        train(small(), tmp_path / "a", progress=False)
    assert fault.seen == MOMENTS
    with Fault() as fault:
        densify(tmp_path / "a", *WINDOW, progress=False)
    assert fault.seen == DENSE_MOMENTS
    assert workers.run("train", tmp_path / "b", config=to_dict(small())) == 0
    same_run(tmp_path / "b", unbroken)  # another process, the same bytes


def killed_once(workers, root: Path, unbroken: Series, at: int) -> None:
    assert workers.run("train", root, at, config=to_dict(small())) == -signal.SIGKILL
    if (root / "manifest.json").exists():
        series = open_series(root)  # opens as it is, and every checkpoint it claims is whole
        assert all(file_problem(root, entry) is None for entry in series.entries)
        assert set(series.steps) <= {0, 4, 8, 12}
    assert go_on(workers, root) == 0
    same_run(root, unbroken)


@some
def test_killed_and_resumed(workers, unbroken, tmp_path, at):
    killed_once(workers, tmp_path / "small", unbroken, at)


@pytest.mark.slow
@pytest.mark.parametrize("at", range(MOMENTS))
def test_killed_at_every_moment_and_resumed(workers, unbroken, tmp_path, at):
    killed_once(workers, tmp_path / "small", unbroken, at)


def killed_twice(workers, root: Path, unbroken: Series, first: int, second: int) -> None:
    assert workers.run("train", root, first, config=to_dict(small())) == -signal.SIGKILL
    assert go_on(workers, root, second) in (-signal.SIGKILL, 0)
    assert go_on(workers, root) == 0
    same_run(root, unbroken)


@pytest.mark.parametrize(("first", "second"), [(9, 2), (14, 5), (20, 0), (33, 1), (33, 14), (47, 3), (51, 8)])
def test_killed_twice_and_resumed(workers, unbroken, tmp_path, first, second):
    killed_twice(workers, tmp_path / "small", unbroken, first, second)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [*itertools.product(range(1, MOMENTS, 4), range(0, 30, 3))])
def test_killed_twice_at_many_moments_and_resumed(workers, unbroken, tmp_path, first, second):
    killed_twice(workers, tmp_path / "small", unbroken, first, second)


def densify_killed(workers, root: Path, dense: Series, at: int) -> None:
    assert workers.run("densify", root, at, window=WINDOW) == -signal.SIGKILL
    series = open_series(root)
    assert all(file_problem(root, entry) is None for entry in series.entries)
    assert set(series.steps) <= set(dense.steps)
    assert workers.run("resume", root) == 0  # a finished run: nothing to do
    assert workers.run("densify", root, window=WINDOW) == 0
    same_run(root, dense)


@pytest.mark.parametrize("at", [0, 3, 5, 6, 8, 19, 26, 31])
def test_densify_killed_and_done_again(workers, copy, dense, at):
    densify_killed(workers, copy, dense, at)


@pytest.mark.slow
@pytest.mark.parametrize("at", range(DENSE_MOMENTS))
def test_densify_killed_at_every_moment_and_done_again(workers, copy, dense, at):
    densify_killed(workers, copy, dense, at)


def test_killed_from_outside_while_training(workers, tmp_path):
    config = small(steps=400, checkpoint_steps=ScheduleConfig(linear_every=20))
    whole = train(config, tmp_path / "whole", progress=False)
    root = tmp_path / "small"
    killed = 0
    pid = workers.start("train", root, config=to_dict(config))
    for wanted in (3, 9, 15):  # checkpoints
        deadline = time.monotonic() + 60
        while sum('"weights"' in line for line in lines_of(root)) < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)
        killed += workers.wait(pid) == -signal.SIGKILL
        pid = workers.start("resume", root)
    assert workers.wait(pid) == 0
    assert killed >= 1
    same_run(root, whole)


def lines_of(root: Path) -> list[str]:
    path = root / "index.jsonl"
    return path.read_text().splitlines() if path.exists() else []


# Two at once.


def test_two_writers_are_refused(workers, tmp_path, unbroken):
    root = tmp_path / "small"
    pid = workers.start("train", root, 30, kind="stop", config=to_dict(small()))
    try:
        deadline = time.monotonic() + 60
        while state_of(pid) != "T":
            assert time.monotonic() < deadline
            time.sleep(0.002)
        before = files(root)
        for write in (lambda: resume(root, progress=False), lambda: densify(root, 1, 3, 1, progress=False)):
            with pytest.raises(SeriesError, match="is being written by another process"):
                write()
        with pytest.raises(SeriesError, match="contains a run already"):
            train(small(), root, progress=False)
        assert files(root) == before
        open_series(root).weights(4)  # reading is free
    finally:
        os.kill(pid, signal.SIGCONT)
    assert workers.wait(pid) == 0
    same_run(root, unbroken)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_run_in_the_making_is_refused_too(tmp_path):
    root = tmp_path / "small"
    root.mkdir()
    with locked(root), pytest.raises(SeriesError, match="is being written by another process"):
        train(small(), root, progress=False)


# A full disk.


def full_disk(root: Path, unbroken: Series, at: int) -> None:
    """Full from the moment `at` on; then there is room again."""
    with Fault(at), pytest.raises(SeriesError) as error:
        train(small(), root, progress=False)
    assert str(error.value).startswith(f"the disk is full: {root}")
    assert "All files saved before are complete." in str(error.value)
    assert not list(root.rglob("*.tmp"))
    if (root / "manifest.json").exists():
        series = open_series(root)
        assert all(file_problem(root, entry) is None for entry in series.entries)
        resume(root, progress=False)
    else:
        train(small(), root, progress=False)
    same_run(root, unbroken)


@some
def test_full_disk_and_resumed(unbroken, tmp_path, at):
    full_disk(tmp_path / "small", unbroken, at)


@pytest.mark.slow
@pytest.mark.parametrize("at", range(MOMENTS))
def test_full_disk_at_every_moment_and_resumed(unbroken, tmp_path, at):
    full_disk(tmp_path / "small", unbroken, at)


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of a few pages, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_really_full_disk_page_by_page(small_disk, unbroken):
    root = small_disk / "small"
    for pages in range(3, 200, 2):
        resize = ["mount", "-o", f"remount,size={4 * pages}k", str(small_disk)]
        subprocess.run(resize, check=True, capture_output=True)
        try:
            if (root / "manifest.json").exists():
                resume(root, progress=False)
            else:
                train(small(), root, progress=False)
            break
        except SeriesError as error:
            assert "the disk is full" in str(error)  # noqa: PT017
        if (root / "manifest.json").exists():
            series = open_series(root)
            assert all(file_problem(root, entry) is None for entry in series.entries)
            for path in root.glob("*.jsonl"):
                read_jsonl(path)
    assert pages > 9
    same_run(root, unbroken)
