"""Banks from files of features: splits, layouts, and what does not fit."""

import dataclasses

import numpy as np
import pytest

from mechicl.config import BankConfig, Config
from mechicl.errors import ConfigError
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.features import file

CHARACTERS, TRANSFORMS, DRAWINGS = 5, 8, 20


def coded() -> np.ndarray:
    """Exemplars that say what they are: (character, transform, drawing), and a fourth number of noise."""
    c, t, d = np.meshgrid(range(CHARACTERS), range(TRANSFORMS), range(DRAWINGS), indexing="ij")
    noise = np.random.default_rng(0).normal(size=c.shape)
    return np.stack([c, t, d, noise], -1).reshape(CHARACTERS * TRANSFORMS, DRAWINGS, 4).astype(np.float16)


@pytest.fixture
def path(tmp_path):
    names = tuple(f"c{i // 8}/{i % 8}" for i in range(40))
    pictures = coded()[..., :1, None].astype(np.uint8)
    file.write(tmp_path / "f.safetensors", file.Features(coded(), names, TRANSFORMS, pictures))
    return tmp_path / "f.safetensors"


def bank(path, seed=0, data=None, **fields):
    settings = {
        "kind": "features",
        "path": str(path),
        "n_classes": 32,
        "n_holdout_classes": 8,
        "n_exemplars": 20,
        "n_holdout_exemplars": 0,
        "dim": 4,
    } | fields
    return build_bank(Config(name="x", steps=1, bank=BankConfig(**settings)).with_seed(seed), data)


def test_features_are_raw_in_the_files_own_precision(path):
    found = bank(path)
    assert found.exemplars.dtype == np.float16
    rows = found.exemplars.reshape(-1, 4)
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, coded().reshape(-1, 4).tolist()))
    trained = found.train().exemplars.astype(float)
    assert found.norm == pytest.approx(np.sqrt(np.square(trained).sum(-1).mean()), rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_a_character_is_trained_on_or_held_out_whole(path, seed):
    found = bank(path, seed)
    trained, held = (part.exemplars[..., 0] for part in (found.train(), found.holdout_classes()))
    assert not set(np.unique(trained)) & set(np.unique(held))
    assert len(np.unique(held)) == 1


def test_names_and_pictures_go_with_their_classes(path):
    found = bank(path, 3)
    for c in range(40):
        character, turned = found.exemplars[c, 0, :2].astype(int)
        assert found.name(c) == f"c{character}/{turned}"
        np.testing.assert_array_equal(found.images[c, :, 0, 0], found.exemplars[c, :, 0])


def test_seeds_choose_other_characters_and_other_exemplars(path):
    few = {"n_exemplars": 5, "n_holdout_exemplars": 4}
    first, same, other = bank(path, 0, **few), bank(path, 0, **few), bank(path, 1, **few)
    assert first.fingerprint == same.fingerprint != other.fingerprint
    assert first.exemplars.shape == (40, 9, 4)
    per_class = first.exemplars[..., 2]
    assert all(len(set(row)) == 9 for row in per_class.tolist())  # different drawings
    assert len({tuple(row) for row in per_class.tolist()}) > 20  # not the same ones in every class


def test_the_released_layout_deals_drawings_out_as_the_published_extractor_does(path):
    x = bank(path, layout="released", n_classes=40, n_holdout_classes=0).exemplars
    for row in x:
        character, turned, drawing = row[:, 0], row[:, 1], row[:, 2]
        assert len(set(character)) == 1
        assert len(set(turned)) == 8  # under all eight transforms,
        flat = sorted((drawing * 8 + turned).astype(int))  # the items of one character, drawing by drawing:
        assert flat == list(range(flat[0], flat[0] + 20))  # a row is twenty of them in sequence,
        assert flat[0] % 20 == 0  # 2.5 drawings


def test_shaping_applies(path):
    found = bank(path, scale=1.0, centre=True).train()
    assert found.norm == pytest.approx(1.0, rel=1e-4)
    assert found.exemplars.dtype == np.float32


def test_data_goes_before_path(path):
    assert bank("/nowhere/x.safetensors", data=path).dim == 4
    with pytest.raises(ConfigError, match="cannot be read"):
        bank("/nowhere/x.safetensors")
    with pytest.raises(ConfigError, match="--data FILE"):
        build_bank(Config(name="x", steps=1, bank=dataclasses.replace(BankConfig(), kind="features")))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"dim": 5}, "bank.dim=4"),
        ({"n_classes": 30}, "multiples of 8"),
        ({"n_classes": 40}, "holds 40 classes"),
        ({"n_holdout_exemplars": 2}, "holds 20 exemplars"),
        ({"n_exemplars": 12, "layout": "released"}, "n_exemplars=20"),
    ],
)
def test_what_does_not_fit_says_what_would(path, fields, named):
    with pytest.raises(ConfigError, match=named):
        bank(path, **fields)
