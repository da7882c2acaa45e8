"""Tables kept on disk: found again, and never for a file that changed."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from mechicl import plugins
from mechicl.errors import SeriesError
from mechicl.measures import cache
from mechicl.measures.cache import cached, named


@pytest.fixture
def series(tiny_copy, monkeypatch):
    monkeypatch.setattr(cache, "_WORTH", 1)
    shutil.rmtree(tiny_copy.root / "cache", ignore_errors=True)  # other tests may have left one
    return tiny_copy


def test_a_second_call_finds_the_first_ones_table(series):
    first = series.evaluate(n=20)
    kept = list((series.root / "cache").glob("ablation-*.parquet"))
    assert len(kept) == 1
    pd.testing.assert_frame_equal(series.evaluate(n=20), first)
    series.evaluate(n=21)  # another setting is another table
    assert len(list((series.root / "cache").glob("ablation-*.parquet"))) == 2


def test_compute_runs_once_for_the_same_key(series):
    calls = []

    def compute() -> pd.DataFrame:
        calls.append(1)
        return pd.DataFrame({"x": [len(calls)]})

    got = [cached(series, named(series, "m", series.steps, {"a": 1}), series.steps, compute) for _ in range(2)]
    assert calls == [1]
    assert got[0].x.tolist() == got[1].x.tolist() == [1]
    cached(series, named(series, "m", series.steps[:-1], {"a": 1}), series.steps[:-1], compute)
    cached(series, named(series, "m", series.steps, {"a": 2}), series.steps, compute)
    assert len(calls) == 3


def test_a_changed_checkpoint_is_never_served(series):
    series.evaluate(n=20)
    path = series.root / series.entry(series.steps[-1]).file
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(SeriesError, match="altered"):
        series.evaluate(n=20)


@pytest.fixture
def read_only(series, tmp_path, monkeypatch):
    """Nothing can be written into the run; the user's cache folder is a temporary one."""
    real = cache.write_atomic

    def write(path: Path, data: bytes) -> None:
        if path.is_relative_to(series.root):
            raise SeriesError(f"{path} was not written: Read-only file system.")
        real(path, data)

    monkeypatch.setattr(cache, "write_atomic", write)
    monkeypatch.setattr(cache, "write_json", lambda path, value: write(path, json.dumps(value).encode()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return series


def test_a_read_only_runs_tables_are_kept_in_the_users_cache(read_only, tmp_path):
    calls = []

    def compute() -> pd.DataFrame:
        calls.append(1)
        return pd.DataFrame({"x": [len(calls)]})

    for _ in range(2):
        assert cached(read_only, named(read_only, "m", read_only.steps, {}), read_only.steps, compute).x.tolist() == [1]
    assert calls == [1]
    assert not (read_only.root / "cache").exists()
    assert len(list((tmp_path / "home" / "mechicl").rglob("m-*.parquet"))) == 1
    path = read_only.root / read_only.entry(20).file
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    cached(read_only, named(read_only, "m", read_only.steps, {}), read_only.steps, compute)
    assert calls == [1, 1]  # a changed file is noticed there too


def test_without_any_folder_it_is_computed_each_time(read_only, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert read_only.evaluate(n=20).equals(read_only.evaluate(n=20))
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert len(read_only.evaluate(n=20))


def test_nothing_is_kept_behind_a_strangers_link(series, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "elsewhere").mkdir()
    (series.root / "cache").symlink_to(tmp_path / "elsewhere")
    series.evaluate(n=20)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert list((tmp_path / "home").rglob("*.parquet"))


@pytest.fixture
def plugin(plugin_folder):
    """Somebody's own module, which registers an evaluator, and a helper that it imports. Both are forgotten after."""
    (plugin_folder / "helping.py").write_text("PART = 2\n")
    (plugin_folder / "asking.py").write_text(
        "from helping import PART\nfrom dataclasses import replace\nfrom mechicl.registry import EVALUATORS, register\n"
        "register(replace(EVALUATORS['icl'], name='asked'))\n"
    )
    plugins.load(["asking"])
    return plugin_folder


@pytest.mark.parametrize("file", ["asking.py", "helping.py"])
def test_another_code_of_a_plugin_is_another_table(series, plugin, file):
    before = named(series, "m", series.steps, {})
    assert named(series, "m", series.steps, {}) == before
    with (plugin / file).open("a") as f:
        f.write("# changed\n")
    assert named(series, "m", series.steps, {}) != before


def test_what_a_notebook_registered_is_never_found_again(series, monkeypatch):
    monkeypatch.setattr(cache, "foreign", lambda: {"no_file": ["evaluator asked"]})
    assert named(series, "m", series.steps, {}) != named(series, "m", series.steps, {})
