"""Tables of runs: what they hold, and that they are small."""

import pandas as pd
import pytest

from mechicl.errors import ConfigError
from mechicl.evaluators import EVALUATORS
from mechicl.measures.phases import series_phases
from mechicl.series import open_series
from mechicl.sweeps.plan import plan
from mechicl.training.branching import branch
from research import tables
from research.statistics import phases


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "TABLES", tmp_path / "tables")


def test_a_run_as_rows(tiny_series):
    table = tables.of_series(tiny_series, "x")
    assert set(table.evaluator) == {*tiny_series.metrics.evaluator, "training"}
    for name, rows in table[table.evaluator != "training"].groupby("evaluator"):
        times, values = tiny_series.curve(name, EVALUATORS[name].primary_metric)
        assert rows.sequences.tolist() == times.tolist()
        assert rows.value.tolist() == values.tolist()
        assert 0 < rows.chance.iloc[0] <= 0.5
    assert set(table.condition) == {"x"}
    assert table.complete.all()


def test_losses_of_a_branch_are_of_what_it_was_trained_on(tiny_series, tmp_path):
    made = branch(tiny_series, 25, out=tmp_path / "made", progress=False)
    rows = tables.of_series(made, "x").query("evaluator == 'training'")
    assert rows.step.tolist() == [30, 40, 50, 60]
    assert rows.n.tolist() == [steps * made.config.batch_size for steps in (5, 10, 10, 10)]


def test_phases_of_a_table_are_those_of_the_series():
    series = open_series("checkpoints/demo")
    found = phases(tables.of_series(series, "demo")).set_index("evaluator")
    for name, want in series_phases(series).items():
        got = found.loc[name]
        assert got.final_value == want.final_value
        for quantity in ("onset", "peak", "peak_value", "half_decay"):
            value = getattr(want, quantity)
            assert pd.isna(got[quantity]) if value is None else got[quantity] == pytest.approx(value), (name, quantity)


def test_collected_and_read_again():
    written = tables.collect_runs("demo", [tables.Path("checkpoints/demo")])
    again = tables.read("demo")
    assert again is not None
    pd.testing.assert_frame_equal(written, again)
    assert (tables.TABLES / "demo.parquet").stat().st_size < 40_000
    assert tables.read("nothing") is None


def test_a_sweep_has_a_column_for_every_field_that_varies(swept, small, small_file, tmp_path):
    table = tables.collect(small_file, swept)
    assert set(table.condition) == {c.name for c in small.conditions}
    assert set(small.fields) <= set(table.columns)
    assert table.groupby("condition").seed.nunique().eq(len(small.seeds)).all()


def test_a_grid_run_in_several_sittings_becomes_one_table(swept, small, small_file, tmp_path):
    names = [run.name for run in small.runs]
    for sitting in (names[:3], names[2:]):  # one run is in both
        folder = tmp_path / sitting[0]
        folder.mkdir()
        for name in sitting:
            (folder / name).symlink_to(swept / name)
        parts = tables.collect(small_file, folder)
    order = ["condition", "seed", "step", "evaluator"]
    whole = tables.collect(small_file, swept)
    pd.testing.assert_frame_equal(
        parts.sort_values(order, ignore_index=True), whole.sort_values(order, ignore_index=True)
    )
    (tables.TABLES / "small.parquet").unlink()
    alone = tables.collect(small_file, swept)
    pd.testing.assert_frame_equal(whole, alone)


def test_runs_that_the_sweep_no_longer_plans_leave_its_table(swept, small_file, tmp_path):
    tables.collect(small_file, swept)
    fewer = tmp_path / "small.toml"
    fewer.write_text(small_file.read_text().replace("seeds = [0, 3]", "seeds = [0]"))
    assert set(tables.collect(fewer, swept).seed) == {0}


def test_a_folder_without_runs_is_refused(small_file, tmp_path):
    with pytest.raises(ConfigError, match="holds no run of"):
        tables.collect(small_file, tmp_path / "nothing")


def test_the_committed_sweeps_can_be_read():
    for path in tables.Path("research/sweeps").glob("*.toml"):
        import tomllib

        made = plan(tomllib.loads(path.read_text()), path.stem)
        names = tables.conditions(made)
        assert len(names) == len(set(names))
        one = "faithful-longer faithful-seeds figure-1b figure-1b-long induction-2024 induction-2024-scale"  # by design
        assert len(names) > 1 or (names and path.stem in one.split())
