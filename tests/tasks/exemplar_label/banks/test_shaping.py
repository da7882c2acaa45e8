"""Spread, centre and scale do to a bank what they say, each alone and together, measured on the training part."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mechicl.config import BankConfig, Config, SequenceConfig
from mechicl.errors import ConfigError
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.banks.gaussian import gaussian_bank
from mechicl.tasks.exemplar_label.banks.shaping import geometry, norm, shape

BANK = BankConfig(
    n_classes=300, n_exemplars=8, n_holdout_classes=40, n_holdout_exemplars=3, dim=6, within_class_std=0.7, offset=2.0
)


def config(**fields) -> BankConfig:
    return dataclasses.replace(BANK, **fields)


def trained(x: np.ndarray) -> np.ndarray:
    return x[: BANK.n_classes, : BANK.n_exemplars].astype(np.float64)


RAW = gaussian_bank(BANK, 0).exemplars


def test_nothing_asked_for_is_the_very_same_array():
    assert shape(BANK, RAW) is RAW


def test_scale_is_the_root_mean_square_norm_of_what_is_trained_on():
    x = shape(config(scale=22.6), RAW)
    assert np.sqrt(np.square(trained(x)).sum(-1).mean()) == pytest.approx(22.6, rel=1e-5)
    np.testing.assert_allclose(x / RAW, x[0, 0, 0] / RAW[0, 0, 0], rtol=1e-4)  # and nothing else
    assert norm(trained(x)) == pytest.approx(22.6, rel=1e-5)


def test_centre_takes_off_the_mean_of_what_is_trained_on():
    x = shape(config(centre=True), RAW)
    np.testing.assert_allclose(trained(x).mean((0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(RAW - x, (RAW - x)[0, 0] + 0 * RAW, atol=1e-5)  # one vector, of everything
    assert np.linalg.norm((RAW - x)[0, 0]) == pytest.approx(2.0, abs=0.2)  # the offset


def test_spread_moves_exemplars_from_their_class_mean_and_leaves_it():
    x = shape(config(spread=1.3), RAW)
    means, before = trained(x).mean(1), trained(RAW).mean(1)
    np.testing.assert_allclose(means, before, atol=1e-5)
    np.testing.assert_allclose(trained(x) - means[:, None], 1.3 * (trained(RAW) - before[:, None]), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 3), st.booleans(), st.one_of(st.none(), st.floats(0.01, 100)))
def test_together_they_come_in_the_stated_order(spread, centre, scale):
    x = trained(shape(config(spread=spread, centre=centre, scale=scale), RAW))
    alone = trained(shape(config(spread=spread), RAW))
    alone = alone - alone.mean((0, 1)) if centre else alone
    if scale is not None:
        alone = alone * scale / np.sqrt(np.square(alone).sum(-1).mean())
    np.testing.assert_allclose(x, alone, rtol=1e-3, atol=1e-4 * max(1, scale or 1))


def test_half_precision_comes_out_as_single():
    assert shape(config(scale=3.0), RAW.astype(np.float16)).dtype == np.float32


def test_geometry_of_a_bank_whose_answer_is_known():
    found = geometry(trained(gaussian_bank(config(n_classes=3000, dim=10, n_holdout_classes=0), 0).exemplars))
    assert found.norm == pytest.approx(np.sqrt(1 + 2.0**2), rel=0.02)
    assert found.mean_norm == pytest.approx(2.0, rel=0.05)
    assert found.within_over_between == pytest.approx(0.7, rel=0.05)
    assert found.participation_ratio == pytest.approx(10, rel=0.05)


def test_geometry_of_one_exemplar_per_class_and_of_points_on_a_line():
    line = np.linspace(1, 2, 50)[:, None, None] * np.array([3.0, 4.0])
    found = geometry(line)
    assert found.participation_ratio == pytest.approx(1)
    assert found.within_over_between == 0
    assert found.mean_norm == pytest.approx(7.5)


def test_the_settings_reach_the_bank_and_noise_is_in_proportion():
    small = config(n_classes=50, offset=0.0, scale=40.0)
    run = Config(name="x", steps=1, bank=small, sequences=SequenceConfig(noise=0.5))
    bank = build_bank(run).train()
    assert bank.norm == pytest.approx(40)
    batch = bank.draw(SequenceConfig(noise=0.5), 4000, np.random.default_rng(0), 50)
    clean = bank.exemplars[batch.classes.numpy(), batch.exemplar_ids.numpy()]
    added = batch.exemplars.numpy() * np.sqrt(1 + 0.5**2) - clean
    assert np.sqrt(np.square(added).sum(-1).mean()) == pytest.approx(0.5 * 40, rel=0.02)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"scale": 0.0}, "bank.scale"),
        ({"scale": float("inf")}, "bank.scale"),
        ({"spread": -1.0}, "bank.spread"),
        ({"kind": "omniglot"}, "bank.offset"),
        ({"layout": "released"}, "bank.layout"),
        ({"path": "x"}, "bank.path"),
    ],
)
def test_what_cannot_be_is_refused_by_name(fields, named):
    with pytest.raises(ConfigError, match=named):
        config(**fields)
