"""What rules without a model reach on banks whose answer is known."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from mechicl import recipes
from research import geometry, tables


def bank(**fields):
    demo = recipes.get("demo")
    small = {"n_classes": 64, "n_holdout_classes": 2, "n_exemplars": 20, "dim": 16}
    return dataclasses.replace(demo, bank=dataclasses.replace(demo.bank, **(small | fields)))


def test_classes_without_variation_are_told_apart_by_either_rule():
    found = geometry.geometry(bank(within_class_std=0.0))
    assert (found["match"], found["recall"]) == (1.0, 1.0)


def test_where_all_is_noise_the_rules_guess():
    found = geometry.geometry(bank(within_class_std=1e4, n_exemplars=1000))
    assert found["match"] == pytest.approx(0.5, abs=0.05)
    assert found["recall"] == pytest.approx(1 / 64, abs=0.05)  # a mean knows its drawings a little


def test_more_classes_make_recall_harder_and_leave_matching_alone():
    few, many = (geometry.geometry(bank(n_classes=n, within_class_std=0.6, dim=8)) for n in (64, 512))
    assert few["match"] == pytest.approx(many["match"], abs=0.03)
    assert few["recall"] > many["recall"] + 0.1
    assert few["crowding"] < many["crowding"] - 0.05


def test_crowding_is_the_cosine_to_the_nearest_other():
    means = np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0], [-1.0, 0.0]])
    assert geometry.crowding(means) == pytest.approx((3 * np.sqrt(0.5) + 0) / 4)
    many = np.random.default_rng(0).normal(size=(2500, 3))
    unit = many / np.linalg.norm(many, axis=1, keepdims=True)
    cosines = unit @ unit.T - 3 * np.eye(len(unit))
    assert geometry.crowding(many) == pytest.approx(cosines.max(1).mean())  # in pieces as in one


def test_the_table_has_the_conditions_that_change_banks(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "TABLES", tmp_path)
    monkeypatch.setattr(geometry, "N", 50)
    monkeypatch.setattr(geometry, "SWEEPS", {"data": ("demo", "noise")})
    made = geometry.collect(tables.Path("research/sweeps"), None)
    assert made.groupby("condition").seed.nunique().to_dict() == {
        "demo": 5,
        "noise_within_class_std-0.1": 5,
        "noise_within_class_std-0.3": 5,
        "noise_within_class_std-0.9": 5,
    }
    pd.testing.assert_frame_equal(tables.read("geometry"), made)


def test_banks_that_the_table_has_are_not_built_again(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "TABLES", tmp_path)
    monkeypatch.setattr(geometry, "N", 50)
    monkeypatch.setattr(geometry, "SWEEPS", {"data": ("demo",)})
    first, built, honest = geometry.collect(tables.Path("research/sweeps"), None), [], geometry.geometry

    def counted(config, data):
        built.append(config.bank.within_class_std)
        return honest(config, data)

    monkeypatch.setattr(geometry, "geometry", counted)
    monkeypatch.setattr(geometry, "SWEEPS", {"data": ("demo", "noise_within_class_std-0.1")})
    second = geometry.collect(tables.Path("research/sweeps"), None)
    assert built == [0.1] * 5
    pd.testing.assert_frame_equal(second[second.condition == "demo"].reset_index(drop=True), first)
    monkeypatch.setattr(geometry, "N", 60)  # another number of queries is another measurement
    monkeypatch.setattr(geometry, "SWEEPS", {"data": ("demo",)})
    assert (geometry.collect(tables.Path("research/sweeps"), None).n == 60).all()
    assert len(built) == 10


def test_the_committed_table_knows_its_banks():
    """Else a field that is added to BankConfig, or renamed, would have all of them measured again."""
    found = tables.read("geometry")
    assert found is not None
    for sweep, rows in found.groupby("sweep"):
        planned = tables.read_plan(tables.Path(f"research/sweeps/{sweep}.toml")).runs
        banks = {(run.condition.name, run.seed): geometry.fingerprint(run.config) for run in planned}
        assert dict(zip(zip(rows.condition, rows.seed, strict=True), rows.bank, strict=True)).items() <= banks.items()


def test_a_measurement_that_is_cut_off_keeps_what_it_has(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "TABLES", tmp_path)
    monkeypatch.setattr(geometry, "N", 50)
    monkeypatch.setattr(geometry, "SWEEPS", {"data": ("demo",)})
    first, honest, built = geometry.collect(tables.Path("research/sweeps"), None), geometry.geometry, []

    def cut_off(config, place):
        built.append(config)
        if len(built) == 3:
            raise KeyboardInterrupt
        return honest(config, place)

    monkeypatch.setattr(geometry, "geometry", cut_off)
    monkeypatch.setattr(geometry, "SWEEPS", {"data": ("noise_within_class_std-0.1", "demo")})
    with pytest.raises(KeyboardInterrupt):
        geometry.collect(tables.Path("research/sweeps"), None)
    kept = tables.read("geometry")
    assert len(kept) == 7  # two new ones beside those of before
    pd.testing.assert_frame_equal(kept[kept.condition == "demo"].reset_index(drop=True), first)
    assert len(geometry.collect(tables.Path("research/sweeps"), None)) == 10
    assert len(built) == 6  # the one that was cut off, again, and the two after it


def test_drawings_and_features_are_looked_for_where_they_are_said_to_be(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "TABLES", tmp_path)
    monkeypatch.setattr(geometry, "SWEEPS", {"figure-1b": ("",), "faithful": ("20-dim",)})
    asked = []
    none = dict.fromkeys(geometry.MEASURES, 0.5)
    monkeypatch.setattr(geometry, "geometry", lambda config, place: asked.append((config.bank.kind, place)) or none)
    geometry.collect(tables.Path("research/sweeps"), tmp_path / "drawings", tmp_path / "bank")
    assert ("features", tmp_path / "bank") in asked
    assert all(
        place == {"omniglot": tmp_path / "drawings", "features": tmp_path / "bank"}.get(kind) for kind, place in asked
    )
