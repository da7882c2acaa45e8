"""Tables kept on disk: found again, and never for a file that changed."""

import shutil

import pandas as pd
import pytest

from mechicl.measures import cache
from mechicl.measures.cache import cached
from mechicl.series import SeriesError


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

    got = [cached(series, "m", series.steps, {"a": 1}, compute) for _ in range(2)]
    assert calls == [1]
    assert got[0].x.tolist() == got[1].x.tolist() == [1]
    cached(series, "m", series.steps[:-1], {"a": 1}, compute)
    cached(series, "m", series.steps, {"a": 2}, compute)
    assert len(calls) == 3


def test_a_changed_checkpoint_is_never_served(series):
    series.evaluate(n=20)
    path = series.root / series.entry(series.steps[-1]).file
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(SeriesError, match="altered"):
        series.evaluate(n=20)
