"""What a picture states of a run's bank: what was asked for, and what was measured when the run was made."""

import dataclasses
from pathlib import Path

import pytest

import analyses
from mechicl.config import BankConfig
from mechicl.figures.caption import caption
from mechicl.series import open_series
from mechicl.tasks.exemplar_label.caption import how
from mechicl.training.loop import train

DEMO = Path(__file__).parents[2] / "checkpoints" / "demo"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "of norm 1 as made"),
        ({"scale": 22.6}, "scaled to norm 22.6"),
        ({"kind": "features"}, "raw"),
        ({"kind": "features", "centre": True, "scale": 1.0}, "centred, scaled to norm 1"),
        ({"kind": "features", "spread": 1.3}, "spread x 1.3"),
        ({"kind": "omniglot"}, "centred, of norm 1 as made"),
        ({"kind": "omniglot", "encoder": "pixels", "dim": 784}, "raw"),
    ],
)
def test_what_is_done_to_exemplars_is_said(fields, said):
    assert how(BankConfig(**fields)) == said


def test_a_run_states_what_was_measured(tiny_config, tmp_path):
    bank = dataclasses.replace(tiny_config.bank, scale=7.0)
    series = train(dataclasses.replace(tiny_config, bank=bank), tmp_path / "run", progress=False)
    assert "scaled to norm 7: norm 7, common mean " in caption(series)


def test_runs_from_before_it_was_measured_say_what_was_asked_for():
    assert caption(open_series(DEMO)) == ("1,024 classes x 20 exemplars of 12 Gaussian features, of norm 1 as made")


def test_every_figure_of_an_analysis_states_it(tiny_config, tmp_path):
    series = train(tiny_config, tmp_path / "run", progress=False)
    found = analyses.get("transience")(series)
    assert found.figures
    for figure in found.figures.values():
        assert caption(series) in figure.layout.title.text
