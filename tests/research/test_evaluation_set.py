"""The authors' evaluation set beside ours: what is measured is an evaluation on it, and the rule can come out either
way."""

from dataclasses import replace

import pandas as pd
import pytest

from research import evaluation_set, published, tables
from research.evaluation_set import ASKED, OURS, THEIRS, measure, moved
from research.experiments import figure1b_evaluation

POINTS = {"icl": {1.5e7: 0.62}, "flip": {1.5e7: 0.045}, "ciwl": {1.5e7: 0.95}}


def made(seeds: int = 5, **theirs: float) -> pd.DataFrame:
    """ICL .87, Flip .36 and CIWL .84 on our set, and these on theirs."""
    ours = {"icl": 0.87, "flip": 0.36, "ciwl": 0.84}
    return pd.DataFrame(
        [
            {
                "seed": seed,
                "set": on,
                "sequences": 1.5e7,
                "step": 1,
                "evaluator": name,
                "value": values[name],
                "n": 5000,
            }
            for seed in range(seeds)
            for on, values in ((OURS, ours), (THEIRS, ours | theirs))
            for name in ASKED
        ]
    )


@pytest.fixture
def given(monkeypatch):
    monkeypatch.setattr(published, "points", lambda: POINTS)
    return lambda found: monkeypatch.setattr(tables, "read", {evaluation_set.TABLE: found}.get)


def test_what_is_measured_is_an_evaluation_on_the_first_classes(tiny_series, monkeypatch):
    monkeypatch.setattr(published, "points", lambda: {name: dict.fromkeys((320.0, 960.0), 0.5) for name in ASKED})
    monkeypatch.setattr(evaluation_set, "FIRST", (4, 2))
    found = measure(tiny_series).set_index(["set", "evaluator", "step"]).sort_index()
    assert set(found.index.get_level_values("step")) == {20, 60}  # of 16 sequences each
    for on, first in ((OURS, None), (THEIRS, (4, 2))):
        asked = replace(tiny_series, config=replace(tiny_series.config, eval_first=first))
        for row in asked.evaluate([20, 60], ASKED, metrics=None).itertuples():
            assert found.loc[(on, row.evaluator, row.step), "value"] == row.value
    assert not found.loc[OURS].value.equals(found.loc[THEIRS].value)


def test_a_table_is_written_and_read(tiny_series, tmp_path, monkeypatch):
    monkeypatch.setattr(published, "points", lambda: {name: {960.0: 0.5} for name in ASKED})
    monkeypatch.setattr(evaluation_set, "FIRST", (4, 2))
    monkeypatch.setattr(tables, "TABLES", tmp_path)
    assert tables.read(evaluation_set.TABLE) is None
    found = evaluation_set.collect([tiny_series.root])
    assert moved(tables.read(evaluation_set.TABLE)).equals(moved(found))


@pytest.mark.parametrize(
    ("theirs", "status"),
    [
        ({"icl": 0.74, "flip": 0.2}, "supported"),
        ({"icl": 0.88, "flip": 0.38}, "contradicted"),
        ({"icl": 0.74}, "inconclusive"),
        ({"ciwl": 0.9}, "inconclusive"),
    ],
)
def test_the_rule(given, theirs, status):
    given(made(**theirs))
    (claim,) = figure1b_evaluation.claims()
    assert claim.status == status
    assert "| ICL | 15M | 0.62 | 0.870" in claim.text[0]


@pytest.mark.parametrize("found", [None, made(seeds=4)])
def test_nothing_is_said_of_fewer_than_five_seeds(given, found):
    given(found)
    assert figure1b_evaluation.claims()[0].status == "not run yet"
