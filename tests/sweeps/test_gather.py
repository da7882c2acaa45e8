"""The table holds what the runs recorded, row by row; the summary is phases over seeds."""

import shutil

import numpy as np
import pandas as pd
import pytest

from mechicl.measures.phases import over_seeds, series_phases
from mechicl.series import open_series
from mechicl.sweeps.gather import as_text, gather


@pytest.fixture(scope="module")
def tables(swept, small):
    return pd.read_parquet(swept / "table.parquet"), pd.read_parquet(swept / "summary.parquet")


def test_the_table_is_what_the_runs_recorded(tables, swept, small):
    table, _ = tables
    columns = "condition bank.n_labels complete run seed step sequences evaluator metric value n ci_low ci_high"
    assert " ".join(table.columns) == columns
    assert set(table.run) == {r.name for r in small.runs}
    assert table.complete.all()
    assert set(table[table.condition == "n_labels-4"]["bank.n_labels"]) == {4}
    assert table[table.condition == "n_labels-none"]["bank.n_labels"].isna().all()
    for name, rows in table.groupby("run"):
        series = open_series(swept / str(name))
        mine = rows[rows.evaluator != "training"]
        assert np.array_equal(mine.value.to_numpy(), series.metrics.value.to_numpy())
        assert list(mine.evaluator) == list(series.metrics.evaluator)
        loss = rows[rows.evaluator == "training"]
        assert list(loss.value) == list(series.training_loss.loss)
        assert list(loss.n) == [20 * 16] * 3
    key = ["run", "step", "evaluator", "metric"]
    assert not table.duplicated(key).any()


def test_the_summary_is_phases_over_seeds(tables, swept):
    _, summary = tables
    runs = [open_series(swept / f"n_labels-4-s{seed}") for seed in (0, 3)]
    rows = summary[summary.condition == "n_labels-4"].set_index(["evaluator", "quantity"])
    for evaluator in ("icl", "flip", "ciwl", "iwl", "icl_holdout"):
        for quantity in ("onset", "peak", "peak_value", "half_decay", "final_value"):
            want = over_seeds([getattr(series_phases(run)[evaluator], quantity) for run in runs])
            got = rows.loc[(evaluator, quantity)]
            assert {k: got[k] for k in want} == pytest.approx(want, nan_ok=True)
            assert got.complete == 2
    losses = [run.training_loss.loss.iloc[-1] for run in runs]
    assert rows.loc[("training", "final_value")]["median"] == pytest.approx(np.median(losses))


def test_unfinished_and_missing_runs_count_as_such(swept, small, tmp_path):
    """Recorded steps of an unfinished run are in the table; the summary is of finished ones."""
    out = tmp_path / "small"
    shutil.copytree(swept, out)
    shutil.rmtree(out / "n_labels-4-s3")
    (out / "n_labels-4-s0" / "index.jsonl").write_text("")
    table, summary = gather(small, out, progress=False)
    assert set(table[~table.complete].run) == {"n_labels-4-s0"}
    assert set(table.run) == {r.name for r in small.runs} - {"n_labels-4-s3"}
    rows = summary[summary.condition == "n_labels-4"]
    assert (rows.complete == 0).all()
    assert (rows.n == 0).all()
    assert (rows.of_n == 2).all()
    text = as_text(summary)
    assert "0/2" in text
    assert "2/2" in text


def test_nothing_at_all(small, tmp_path):
    table, summary = gather(small, tmp_path, progress=False)
    assert table.empty
    assert (summary.complete == 0).all()


def test_the_text_says_how_many_seeds_have_a_value():
    row = {"condition": "a", "complete": 3, "evaluator": "icl", "of_n": 4, "low": 0.0, "high": 1.0}
    summary = pd.DataFrame(
        [
            {**row, "quantity": "onset", "n": 2, "median": 150_000.0},
            {**row, "quantity": "peak_value", "n": 3, "median": 0.9},
            {**row, "quantity": "final_value", "n": 0, "median": np.nan},
        ]
    )
    head, line = as_text(summary).splitlines()
    assert head.split()[:4] == ["median", "over", "seeds", "runs"]
    assert line.split() == ["a", "3/4", "150k", "(2)", "0.900", "never", "-"]
