"""Claims 8.12 to 8.14: circuits of paths over training, of a run whose answer is known and of altered tables."""

import numpy as np
import pandas as pd
import pytest
from known_series import rise_and_fall

from analyses.circuits.moments import thinned
from research import paths as measured
from research import tables
from research.experiments import paths


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return measured.measure(rise_and_fall(tmp_path_factory.mktemp("known") / "demo")).assign(recipe="demo")


@pytest.fixture
def claim(monkeypatch):
    def said(table):
        monkeypatch.setattr(tables, "read", lambda name: table if name == measured.NAME else None)
        return {each.key: each for each in paths.claims()}["8.12"]

    return said


def seeds(run: pd.DataFrame, count: int = 5) -> pd.DataFrame:
    return pd.concat([run.assign(seed=seed) for seed in range(count)], ignore_index=True)


def test_what_was_not_measured_is_said_so(claim):
    assert claim(None).status == "not run yet"


def test_fewer_seeds_than_planned_are_no_verdict(claim, run):
    assert claim(seeds(run, 3)).status == "running"


def test_a_circuit_that_is_there_and_goes(claim, run):
    """The hand-built series: the induction circuit comes, is all of ICL, and goes."""
    carried = paths.carried(run)
    assert carried.shape[1] >= 3
    assert (carried.loc[carried.index.max()].abs() < 0.1).all()
    found = claim(seeds(run))
    assert [part.status for part in found.parts[:2]] == ["supported", "supported"]
    assert paths.fallen(run) > 0.5


def test_a_circuit_that_stays_contradicts(claim, run):
    top = run[run.part == "icl"].set_index("step").value.idxmax()
    then = paths.carried(run).loc[top]
    stays = run.copy()
    lasting = (stays.part == "paths") & (stays.metric == "carried")
    stays.loc[lasting, "value"] = stays.loc[lasting, "name"].map(then).astype("float32")
    found = claim(seeds(stays))
    assert found.parts[1].status == "contradicted"
    assert found.parts[2].status == "contradicted"
    assert found.status == "contradicted"


def test_a_run_without_a_circuit_counts_as_one_that_keeps_nothing(claim, run):
    none = run[run.part == "icl"].assign(value=0.5)
    size = run[(run.part == "shares") & (run.metric == "size")].assign(value=0.0)
    found = claim(pd.concat([seeds(run, 2), *(pd.concat([none, size]).assign(seed=s) for s in (2, 3, 4))]))
    assert found.parts[0].effect.startswith("+0.00")
    assert np.isnan(paths.lost(none))
    assert found.parts[0].status != "supported"


def test_runs_are_added_to_the_table_one_by_one(monkeypatch, tmp_path, run):
    monkeypatch.setattr(tables, "TABLES", tmp_path)
    monkeypatch.setattr(measured, "open_series", lambda root: root)
    monkeypatch.setattr(measured, "measure", lambda seed: run.assign(seed=seed, value=run.value + seed))
    measured.collect([1, 0])  # type: ignore[list-item]
    measured.collect([1])  # type: ignore[list-item]
    table = tables.read(measured.NAME)
    assert table is not None
    assert len(table) == 2 * len(run)
    assert table.seed.unique().tolist() == [0, 1]


def test_steps_are_spread_over_those_that_were_saved():
    assert thinned([0, 1, 2, 4, 8, 16, 32], 4, set()) == [0, 2, 8, 32]
    assert thinned([0, 5], 30, set()) == [0, 5]
