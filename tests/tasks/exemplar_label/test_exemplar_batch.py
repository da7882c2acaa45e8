"""Banks: Reddy's Gaussian clusters, disjoint splits, shared labels, fingerprints, and batches."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mechicl.config import BankConfig, Config, SequenceConfig
from mechicl.errors import ConfigError
from mechicl.tasks.exemplar_label.banks.bank import Bank, assign_labels
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.banks.gaussian import gaussian_bank
from mechicl.tasks.exemplar_label.sequences import sample

BANK = BankConfig(n_classes=10, n_exemplars=6, n_holdout_classes=4, n_holdout_exemplars=3, dim=5)


@pytest.fixture
def bank() -> Bank:
    return gaussian_bank(BANK, 0)


@pytest.mark.parametrize("std", [0.0, 0.1, 0.7, 2.0])
@pytest.mark.parametrize("dim", [12, 63])
def test_gaussian_clusters_have_norm_1_and_reddys_variances(std, dim):
    config = BankConfig(
        n_classes=400, n_exemplars=30, n_holdout_classes=0, n_holdout_exemplars=0, dim=dim, within_class_std=std
    )
    x = gaussian_bank(config, 0).exemplars.astype(np.float64)
    assert x.shape == (400, 30, dim)
    assert np.mean((x**2).sum(-1)) == pytest.approx(1, abs=0.05)  # |x| is about 1
    assert x.mean() == pytest.approx(0, abs=0.01)
    # x = (mu + std eta)/sqrt(1 + std^2): within a class only eta varies, between classes only mu.
    within = x.var(axis=1, ddof=1).mean()
    between = x.mean(axis=1).var(axis=0, ddof=1).mean() - within / 30
    assert within == pytest.approx(std**2 / (1 + std**2) / dim, rel=0.03, abs=1e-12)
    assert between == pytest.approx(1 / (1 + std**2) / dim, rel=0.1)


def test_exemplars_are_float32_and_eps_0_makes_a_class_one_point():
    x = gaussian_bank(dataclasses.replace(BANK, within_class_std=0.0), 0).exemplars
    assert x.dtype == np.float32
    assert (x == x[:, :1]).all()
    assert len(np.unique(x[:, 0], axis=0)) == 14


def test_splits_are_disjoint_and_cover_what_they_should(bank):
    train, classes, exemplars = bank.train(), bank.holdout_classes(), bank.holdout_exemplars()
    assert train.exemplars.shape == (10, 6, 5)
    assert classes.exemplars.shape == (4, 9, 5)
    assert exemplars.exemplars.shape == (10, 3, 5)
    rows = [set(map(bytes, part.exemplars.reshape(-1, 5))) for part in (train, classes, exemplars)]
    assert [len(r) for r in rows] == [60, 36, 30]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]
    assert set.union(*rows) == set(map(bytes, bank.exemplars.reshape(-1, 5)))


def test_parts_know_their_own_sizes_labels_and_names():
    bank = dataclasses.replace(gaussian_bank(BANK, 0), names=tuple("abcdefghijklmn"))
    assert (bank.train().n_classes, bank.train().n_exemplars) == (10, 6)
    assert (bank.holdout_classes().n_classes, bank.holdout_classes().n_exemplars) == (4, 9)
    assert bank.holdout_classes().names == ("k", "l", "m", "n")
    assert bank.train().name(1) == "b"
    assert gaussian_bank(BANK, 0).name(3) == "class 3"
    np.testing.assert_array_equal(bank.train().label_of_class, np.arange(10))
    assert bank.n_labels == 10
    assert bank.dim == 5


def test_images_are_split_like_exemplars(bank):
    images = np.arange(14 * 9, dtype=np.float32).reshape(14, 9, 1, 1)
    with_images = dataclasses.replace(bank, images=images)
    np.testing.assert_array_equal(with_images.train().images, images[:10, :6])
    np.testing.assert_array_equal(with_images.holdout_classes().images, images[10:])
    assert bank.train().images is None


@given(st.integers(2, 60), st.data())
def test_shared_labels_are_balanced(n_classes, data):
    n_labels = data.draw(st.integers(2, n_classes))
    extra = data.draw(st.integers(0, 5))
    config = BankConfig(n_classes=n_classes, n_labels=n_labels, n_holdout_classes=extra)
    labels = assign_labels(config, n_classes + extra, seed=1)
    assert labels.shape == (n_classes + extra,)
    counts = np.bincount(labels[:n_classes], minlength=n_labels)
    assert len(counts) == n_labels
    assert counts.max() - counts.min() <= 1
    assert labels.max() < n_labels


def test_label_is_the_class_unless_labels_are_shared():
    np.testing.assert_array_equal(assign_labels(BANK, 10, seed=0), np.arange(10))
    shared = dataclasses.replace(BANK, n_labels=5)
    one, two = assign_labels(shared, 10, seed=0), assign_labels(shared, 10, seed=1)
    assert (one != two).any()
    np.testing.assert_array_equal(one, assign_labels(shared, 10, seed=0))
    assert (one != np.arange(10) % 5).any()  # a random map, not class modulo labels


def test_fingerprint_follows_the_data(bank):
    prints = {
        gaussian_bank(BANK, 1).fingerprint,
        gaussian_bank(dataclasses.replace(BANK, within_class_std=0.5), 0).fingerprint,
        gaussian_bank(dataclasses.replace(BANK, n_labels=5), 0).fingerprint,
        dataclasses.replace(bank, label_of_class=bank.label_of_class[::-1]).fingerprint,
        bank.train().fingerprint,
        bank.fingerprint,
    }
    assert len(prints) == 6
    assert gaussian_bank(BANK, 0).fingerprint == bank.fingerprint
    assert len(bank.fingerprint) == 64


def test_build_bank_uses_the_data_seed_only(bank):
    config = Config(name="x", steps=1, bank=BANK)
    assert build_bank(config).fingerprint == bank.fingerprint
    seeds = dataclasses.replace(config.seeds, init=7, eval=7)
    assert build_bank(dataclasses.replace(config, seeds=seeds)).fingerprint == bank.fingerprint
    assert build_bank(config.with_seed(7)).fingerprint != bank.fingerprint


def test_gaussian_bank_refuses_another_kind():
    with pytest.raises(ConfigError, match="kind 'omniglot'"):
        gaussian_bank(dataclasses.replace(BANK, kind="omniglot"), 0)


def test_gather_shows_the_drawings(bank):
    part = bank.train()
    config = SequenceConfig(n_pairs=3)
    rng = np.random.default_rng(0)
    s = sample(config, part.label_of_class, 50, rng, n_exemplars=6, n_labels=10)
    batch = part.gather(s, 0.0, rng)
    assert batch.exemplars.dtype == torch.float32
    assert batch.exemplars.shape == (50, 4, 5)
    for i, j in ((0, 0), (7, 2), (49, 3)):
        shown = part.exemplars[s.classes[i, j], s.exemplar_ids[i, j]]
        np.testing.assert_array_equal(batch.exemplars[i, j].numpy(), shown)
    np.testing.assert_array_equal(batch.labels.numpy(), s.labels)
    np.testing.assert_array_equal(batch.target.numpy(), s.target)
    np.testing.assert_array_equal(batch.classes.numpy(), s.classes)
    np.testing.assert_array_equal(batch.exemplar_ids.numpy(), s.exemplar_ids)
    np.testing.assert_array_equal(batch.trained_labels.numpy(), part.label_of_class[s.classes])


def test_noise_is_fresh_per_item_and_keeps_the_norm():
    config = BankConfig(n_classes=50, n_holdout_classes=0, dim=20, within_class_std=0.0)
    bank = gaussian_bank(config, 0)
    setting = SequenceConfig(noise=0.5)
    batch = bank.draw(setting, 4000, np.random.default_rng(0), 50)
    clean = torch.from_numpy(bank.exemplars[batch.classes.numpy(), batch.exemplar_ids.numpy()])
    assert batch.exemplars.dtype == torch.float32
    eta = (batch.exemplars * (1 + 0.5**2) ** 0.5 - clean) / 0.5
    assert eta.mean().item() == pytest.approx(0, abs=0.01)
    assert eta.var().item() * 20 == pytest.approx(1, abs=0.02)
    assert batch.exemplars.pow(2).sum(-1).mean().item() == pytest.approx(
        clean.pow(2).sum(-1).add(0.25).div(1.25).mean().item(), abs=0.01
    )
    shown = batch.exemplars.reshape(-1, 20)
    assert len(torch.unique(shown, dim=0)) == len(shown)


def test_batches_slice_move_and_count(bank):
    batch = bank.train().draw(SequenceConfig(n_pairs=4), 9, np.random.default_rng(0), 10)
    assert len(batch) == 9
    assert batch.n_pairs == 4
    part = batch[2:5]
    assert len(part) == 3
    for name, value in vars(batch).items():
        assert torch.equal(getattr(part, name), value[2:5]), name
    wide = batch.to(torch.float64)
    assert wide.exemplars.dtype == torch.float64
    assert torch.equal(wide.exemplars.float(), batch.exemplars)
    for name in ("labels", "target", "classes", "exemplar_ids", "trained_labels"):
        assert getattr(wide, name).dtype == torch.int64
        assert torch.equal(getattr(wide, name), getattr(batch, name))


def test_draw_is_a_function_of_the_generator(bank):
    setting = SequenceConfig(noise=0.1)
    draws = [bank.train().draw(setting, 20, np.random.default_rng(s), 10) for s in (0, 0, 1)]
    assert torch.equal(draws[0].exemplars, draws[1].exemplars)
    assert not torch.equal(draws[0].exemplars, draws[2].exemplars)


def test_a_spectrum_gives_variances_that_fall_as_a_power_law():
    config = BankConfig(
        n_classes=3000,
        n_exemplars=4,
        n_holdout_classes=0,
        n_holdout_exemplars=0,
        dim=16,
        within_class_std=0.5,
        spectrum=1.0,
    )
    x = gaussian_bank(config, 0).exemplars.reshape(-1, 16).astype(np.float64)
    want = 1 / np.arange(1, 17)
    np.testing.assert_allclose(x.var(axis=0), want / want.sum(), rtol=0.08)
    assert np.square(x).sum(-1).mean() == pytest.approx(1, abs=0.03)


def test_a_flat_spectrum_is_the_isotropic_bank_to_the_last_bit():
    rng, scale = np.random.default_rng([0, 0]), np.float32(1 / np.sqrt(5))
    mu = rng.standard_normal((14, 1, 5), dtype=np.float32) * scale
    eta = rng.standard_normal((14, 9, 5), dtype=np.float32) * scale
    x = (mu + np.float32(0.7) * eta) / np.float32(np.sqrt(1 + 0.7**2))
    assert np.array_equal(gaussian_bank(BANK, 0).exemplars, x)
