"""The verbs of `python -m research`: each makes its table, and a mistake is one sentence."""

import pytest
from known_series import rise_and_fall

from research import tables
from research.__main__ import main
from research.circuits import HOSTS, compact


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "TABLES", tmp_path / "tables")
    return tmp_path / "tables"


@pytest.mark.parametrize("verb", ["collect-runs", "circuits", "heads"])
def test_no_run_is_no_table(verb, folder):
    name = [] if verb == "heads" else ["some"]
    with pytest.raises(SystemExit, match=r"^error: no run was named: give at least one run's directory"):
        main([verb, *name])
    assert not folder.exists()


@pytest.mark.parametrize("verb", ["collect-runs", "circuits"])
def test_what_is_no_run_is_said_so(verb, folder, tmp_path):
    with pytest.raises(SystemExit, match=r"^error: .*gone is not a run"):
        main([verb, "some", str(tmp_path / "gone")])
    assert not folder.exists()


def test_seeds_of_one_recipe(tiny_series, folder, capsys):
    main(["collect-runs", "some", str(tiny_series.root)])
    table = tables.read("some")
    assert table is not None
    assert table.equals(tables.save("some", [tables.of_series(tiny_series, tiny_series.config.name)]))
    assert capsys.readouterr().out == f"{tiny_series.config.name}: 1 seeds\n"


@pytest.mark.slow
def test_circuits_of_two_runs(folder, tmp_path, capsys):
    from analyses.circuits import run

    made = [rise_and_fall(tmp_path / name) for name in ("one", "two")]
    main(["circuits", "some", *(str(series.root) for series in made)])
    table = tables.read("some")
    assert table is not None
    assert set(table.run) == {"one", "two"}
    expected = compact(run(made[0], progress=False, hosts=HOSTS).table)
    one = table[table.run == "one"]
    assert len(one) == len(expected)
    assert one.value.to_numpy() == pytest.approx(expected.value.to_numpy(), nan_ok=True)
    said = capsys.readouterr().out
    assert [f"# {series.root}\n" in said for series in made] == [True, True]
