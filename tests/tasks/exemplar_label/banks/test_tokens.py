"""Token clusters: what a class is, what is refused, and the table that `wordllama` ships."""

import importlib.util

import numpy as np
import pytest
from safetensors.numpy import save_file

from mechicl.config import BankConfig, Config
from mechicl.errors import ConfigError
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.banks.tokens import clusters, read_table, token_bank

CONFIG = BankConfig(kind="tokens", n_classes=8, n_exemplars=4, n_holdout_classes=2, n_holdout_exemplars=1, dim=6)


@pytest.fixture
def table() -> np.ndarray:
    """200 tokens in 20 tight groups of 10, token i in group i % 20, of very different norms."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((20, 6)) * rng.uniform(1, 5, (20, 1))
    return (centres[np.arange(200) % 20] + 0.05 * rng.standard_normal((200, 6))).astype(np.float16)


@pytest.fixture
def file(table, tmp_path):
    save_file({"embedding.weight": table}, tmp_path / "table.safetensors")
    return tmp_path / "table.safetensors"


def test_a_class_is_a_group_of_neighbours(table):
    groups = clusters(table.astype(float), 15, 5, seed=0)
    assert groups.shape == (15, 5)
    assert len(np.unique(groups)) == 75  # no token in two classes
    assert np.mean([len(np.unique(group % 20)) == 1 for group in groups]) > 0.9


def test_the_bank_has_its_shape_scale_and_held_out_parts(file):
    bank = token_bank(CONFIG, 0, file)
    assert bank.exemplars.shape == (10, 5, 6)
    assert bank.exemplars.dtype == np.float32
    assert bank.train().exemplars.shape == (8, 4, 6)
    assert bank.holdout_classes().exemplars.shape[0] == 2
    assert 0.3 < np.square(bank.exemplars).sum(-1).mean() < 3  # 1 over the whole table
    assert all(name.startswith("token ") for name in bank.names)


def test_a_seed_chooses_the_classes_and_the_file_decides_the_rest(file):
    one, again, other = (token_bank(CONFIG, seed, file) for seed in (0, 0, 1))
    assert one.fingerprint == again.fingerprint != other.fingerprint
    config = Config(name="x", steps=1, bank=CONFIG)
    assert build_bank(config, file).fingerprint == one.fingerprint


def test_distances_survive_the_rotation_to_principal_axes(file, table):
    bank = token_bank(CONFIG, 0, file)
    x, shown = table.astype(float), bank.exemplars.reshape(-1, 6).astype(float)
    x = (x - x.mean(0)) / np.sqrt(np.square(x - x.mean(0)).sum(-1).mean())
    apart = np.sort(np.linalg.norm(x[:, None] - x[None], axis=-1).ravel())
    for a, b in ((0, 1), (3, 17), (20, 40)):
        d = np.linalg.norm(shown[a] - shown[b])
        assert np.abs(apart - d).min() < 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 7}, "the embeddings of this table have 6 numbers"),
        ({"n_classes": 60}, "the table has 200 tokens"),
    ],
)
def test_what_cannot_be_is_refused(file, change, message):
    config = BankConfig(**{**vars(CONFIG), **change})
    with pytest.raises(ConfigError, match=message):
        token_bank(config, 0, file)


def test_a_file_that_is_no_table(tmp_path, table):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_table(tmp_path / "none.safetensors")
    save_file({"a": table, "b": table}, tmp_path / "two.safetensors")
    with pytest.raises(ConfigError, match="holds 2 tables, of a, b"):
        read_table(tmp_path / "two.safetensors")


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install --editable '\.\[tokens\]'.*, or give --data FILE"):
        read_table(None)


@pytest.mark.skipif(importlib.util.find_spec("wordllama") is None, reason="the extra 'tokens' is not installed")
def test_the_table_of_wordllama():
    table, names = read_table(None)
    assert table.shape == (32_000, 256)
    assert {"the", "house", "function"} <= set(names)
    near = table @ table[names.index("king")]
    assert names.index("king") in near.argsort()[-3:]
