"""Several seeds at once leave the bytes that each seed leaves alone."""

from pathlib import Path

import pytest

from mechicl.errors import ConfigError
from mechicl.training import ensemble
from mechicl.training.ensemble import train_seeds
from mechicl.training.loop import train


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


def test_finished_runs_are_left_alone_and_other_settings_refused(tiny_config, tmp_path, alone):
    (first,) = train_seeds(tiny_config, [1], tmp_path / "run", jobs=1, progress=False)
    stamps = {p: p.stat().st_mtime_ns for p in first.root.rglob("*")}
    train_seeds(tiny_config, [1], tmp_path / "run", jobs=1, progress=False)
    assert {p: p.stat().st_mtime_ns for p in first.root.rglob("*")} == stamps
    (tmp_path / "run-s1").rename(tmp_path / "run-s2")
    with pytest.raises(ConfigError, match="trained with different settings"):
        train_seeds(tiny_config, [2], tmp_path / "run", jobs=1, progress=False)
