"""Several seeds at once leave the bytes that each seed leaves alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from mechicl.errors import ConfigError, SeriesError
from mechicl.series import open_series
from mechicl.system.pool import TaskError
from mechicl.training import ensemble, loop
from mechicl.training.ensemble import train_seeds
from mechicl.training.loop import Diverged, train


def files(root: Path) -> dict[str, bytes]:
    kept = (p for p in root.rglob("*") if p.is_file() and p.name != ".lock")
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in kept}


@pytest.fixture(scope="module")
def alone(tiny_config, tmp_path_factory) -> list[dict[str, bytes]]:
    root = tmp_path_factory.mktemp("alone")
    return [files(train(tiny_config.with_seed(s), root / f"s{s}", progress=False).root) for s in range(3)]


@pytest.mark.slow
@pytest.mark.parametrize(("stacked", "jobs"), [(True, 1), (False, 1), (None, 2)])
def test_each_series_is_the_one_it_would_be_alone(tiny_config, tmp_path, monkeypatch, alone, stacked, jobs):
    if stacked is not None:
        monkeypatch.setattr(ensemble, "stacking_wins", lambda *_: stacked)
    found = train_seeds(tiny_config, range(3), tmp_path / "run", jobs=jobs, progress=False)
    assert [s.root.name for s in found] == ["run-s0", "run-s1", "run-s2"]
    assert [files(s.root) for s in found] == alone


def diverging(monkeypatch, *seeds: int, at: int = 20) -> None:
    """Runs of these seeds have weights that are no numbers from a step on, alone or among others."""
    check = loop.check_checkpoint

    def spoiled(root, step, held, weights, loss):
        if step >= at and any(root.name.endswith(f"-s{seed}") for seed in seeds):
            loss = float("nan")
        check(root, step, held, weights, loss)

    monkeypatch.setattr(loop, "check_checkpoint", spoiled)


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("gone", [[1], [0, 2], [0]])
def test_a_run_that_diverges_stops_alone(tiny_config, tmp_path, monkeypatch, alone, stacked, gone):
    monkeypatch.setattr(ensemble, "stacking_wins", lambda *_: stacked)
    diverging(monkeypatch, *gone)
    with pytest.raises(Diverged) as error:
        train_seeds(tiny_config, range(3), tmp_path / "run", jobs=1, progress=False)
    for seed in range(3):
        root = tmp_path / f"run-s{seed}"
        assert (f"{root}: the training loss is nan at step 20" in str(error.value)) == (seed in gone)
        if seed not in gone:
            assert files(root) == alone[seed]
    if len(gone) > 1:
        assert "2 of 3 runs stopped. The others are complete.\nrun-s0: " in str(error.value)


def test_of_runs_that_stop_one_after_another_the_last_goes_on(tiny_config, tmp_path, monkeypatch, alone):
    monkeypatch.setattr(ensemble, "stacking_wins", lambda *_: True)
    diverging(monkeypatch, 0, at=0)
    diverging(monkeypatch, 1, at=40)
    with pytest.raises(Diverged, match=r"2 of 3 runs stopped[^$]*at step 0[^$]*at step 40"):
        train_seeds(tiny_config, range(3), tmp_path / "run", jobs=1, progress=False)
    assert files(tmp_path / "run-s2") == alone[2]


def test_what_diverged_before_does_not_stop_those_that_were_not_begun(tiny_config, tmp_path, monkeypatch, alone):
    diverging(monkeypatch, 1)
    with pytest.raises(Diverged):
        train_seeds(tiny_config, [1], tmp_path / "run", jobs=1, progress=False)
    with pytest.raises(Diverged, match="run-s1"):
        train_seeds(tiny_config, range(3), tmp_path / "run", jobs=1, progress=False)
    assert [files(tmp_path / f"run-s{seed}") for seed in (0, 2)] == [alone[0], alone[2]]
    monkeypatch.undo()
    train_seeds(tiny_config, range(3), tmp_path / "run", jobs=1, progress=False)
    assert files(tmp_path / "run-s1") == alone[1]


@pytest.mark.slow
def test_in_processes_the_rest_of_a_share_goes_on(tiny_config, tmp_path):
    """Two processes for three runs: the one that has two begins both."""
    huge = replace(tiny_config, optim=replace(tiny_config.optim, lr=3e4), weights_dtype="float16")
    with pytest.raises(Diverged) as error:
        train_seeds(huge, range(3), tmp_path / "run", jobs=2, progress=False)
    assert "3 of 3 runs stopped. None is complete." in str(error.value)
    for seed in range(3):
        assert f"run-s{seed}: " in str(error.value)
        assert open_series(tmp_path / f"run-s{seed}").steps[0] == 0


def test_one_error_says_all():
    def said(n: int, **stopped: Exception) -> Exception:
        return ensemble._all_of({Path(name): error for name, error in stopped.items()}, n)

    one, other = Diverged("a: nan"), SeriesError("b: full")
    assert said(3, a=one) is one
    assert said(2, a=other, b=other) is other  # nothing was trained: the same for all
    assert type(said(3, a=one, b=Diverged("b: inf"))) is Diverged
    both = said(2, a=one, b=other)
    assert type(both) is SeriesError
    assert str(both) == "2 of 2 runs stopped. None is complete.\na: a: nan\nb: b: full"
    killed = TaskError("its process was killed")
    assert str(said(4, a=one, b=killed, c=killed)).endswith("complete.\na: a: nan\nb, c: its process was killed")
    assert type(said(4, a=one, b=killed, c=killed)) is TaskError


def test_finished_runs_are_left_alone_and_other_settings_refused(tiny_config, tmp_path, alone):
    (first,) = train_seeds(tiny_config, [1], tmp_path / "run", jobs=1, progress=False)
    stamps = {p: p.stat().st_mtime_ns for p in first.root.rglob("*")}
    train_seeds(tiny_config, [1], tmp_path / "run", jobs=1, progress=False)
    assert {p: p.stat().st_mtime_ns for p in first.root.rglob("*")} == stamps
    (tmp_path / "run-s1").rename(tmp_path / "run-s2")
    with pytest.raises(ConfigError, match="trained with different settings"):
        train_seeds(tiny_config, [2], tmp_path / "run", jobs=1, progress=False)
