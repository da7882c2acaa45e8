"""What rules without a model reach on banks whose answer is known."""

import dataclasses

import pandas as pd
import pytest

from evidence import ceilings, tables
from mechicl import recipes


def bank(**fields):
    demo = recipes.get("demo")
    small = {"n_classes": 64, "n_holdout_classes": 2, "n_exemplars": 20, "dim": 16}
    return dataclasses.replace(demo, bank=dataclasses.replace(demo.bank, **(small | fields)))


def test_classes_without_variation_are_told_apart_by_either_rule():
    assert ceilings.ceilings(bank(eps=0.0)) == (1.0, 1.0)


def test_where_all_is_noise_the_rules_guess():
    match, recall = ceilings.ceilings(bank(eps=1e4, n_exemplars=1000))
    assert match == pytest.approx(0.5, abs=0.05)
    assert recall == pytest.approx(1 / 64, abs=0.05)  # less than its 1,000 drawings, a class mean knows a little


def test_more_classes_make_recall_harder_and_leave_matching_alone():
    (few, many) = (ceilings.ceilings(bank(n_classes=n, eps=0.6, dim=8)) for n in (64, 512))
    assert few[0] == pytest.approx(many[0], abs=0.03)
    assert few[1] > many[1] + 0.1


def test_the_table_has_the_conditions_that_change_banks(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "TABLES", tmp_path)
    monkeypatch.setattr(ceilings, "TABLES", tmp_path)
    monkeypatch.setattr(ceilings, "N", 50)
    monkeypatch.setattr(ceilings, "SWEEPS", {"data": ("demo", "noise")})
    made = ceilings.collect(tables.Path("sweeps"), None)
    assert made.groupby("condition").seed.nunique().to_dict() == {
        "demo": 5, "noise_eps-0.1": 5, "noise_eps-0.3": 5, "noise_eps-0.9": 5,
    }  # fmt: skip
    pd.testing.assert_frame_equal(tables.read("ceilings"), made)
