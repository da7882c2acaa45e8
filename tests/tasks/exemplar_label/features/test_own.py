"""Exemplars from your own file: every format gives the same bank, and what is none is refused."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

import mechicl
from mechicl.config import BankConfig, Config
from mechicl.errors import ConfigError, SeriesError
from mechicl.series import open_series
from mechicl.series.verify import verify
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.features.own import bank_file, read
from mechicl.training.loop import train
from mechicl.training.replay import resume

X = np.random.default_rng(0).standard_normal((12, 6, 5)).astype(np.float32)
NAMES = [f"thing {i:02d}" for i in range(12)]
PICTURES = np.random.default_rng(1).integers(0, 256, (12, 6, 3, 3), dtype=np.uint8)


def parquet(path, lists):
    rows = pd.DataFrame({"class": np.repeat(NAMES, 6), "exemplar": np.tile(range(6), 12)})
    flat = X.reshape(-1, 5)
    rows = rows.assign(x=list(flat)) if lists else rows.join(pd.DataFrame(flat, columns=list("abcde")))
    rows.sample(frac=1, random_state=0).to_parquet(path)


def changed(folder, change):
    """The table, wide, with a mistake in it."""
    parquet(folder / "x.parquet", False)
    change(pd.read_parquet(folder / "x.parquet").sort_index()).to_parquet(folder / "x.parquet")


WRITERS = {
    "a.npy": lambda p: np.save(p, X),
    "a.npz": lambda p: np.savez(p, exemplars=X, names=np.array(NAMES), pictures=PICTURES),
    "plain.npz": lambda p: np.savez(p, X),
    "a.safetensors": lambda p: save_file({"exemplars": X, "pictures": PICTURES}, p, {"names": json.dumps(NAMES)}),
    "torch.safetensors": lambda p: save_torch({"anything": torch.from_numpy(X)}, p),
    "ours.safetensors": lambda p: bank_file(X, p, names=NAMES, pictures=PICTURES),
    "wide.parquet": lambda p: parquet(p, False),
    "lists.parquet": lambda p: parquet(p, True),
}


def config(**fields) -> BankConfig:
    sizes = {"n_classes": 8, "n_holdout_classes": 4, "n_exemplars": 4, "n_holdout_exemplars": 2, "dim": 5}
    return BankConfig(**({"kind": "file"} | sizes | fields))


def bank(path, **fields):
    return build_bank(Config(name="x", steps=1, bank=config(**fields)), path)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_bank(tmp_path, name):
    WRITERS[name](tmp_path / name)
    WRITERS["a.npy"](tmp_path / "plain.npy")
    found, plain = bank(tmp_path / name), bank(tmp_path / "plain.npy")
    np.testing.assert_array_equal(found.exemplars, plain.exemplars)
    assert found.fingerprint == plain.fingerprint
    drawn = {tuple(row) for row in found.exemplars.reshape(-1, 5).tolist()}
    assert drawn == {tuple(row) for row in X.reshape(-1, 5).tolist()}
    named = name not in ("a.npy", "plain.npz", "torch.safetensors")
    assert set(found.names) == (set(NAMES) if named else {f"class {i}" for i in range(12)})
    for c in range(12):  # names and pictures go with their exemplars
        i = int(found.name(c).split()[1])
        assert {tuple(r) for r in found.exemplars[c].tolist()} == {tuple(r) for r in X[i].tolist()}
    assert (found.images is not None) == (name in ("a.npz", "a.safetensors", "ours.safetensors"))
    if found.images is not None:
        i = int(found.name(0).split()[1])
        assert sorted(found.images[0].sum((1, 2)).tolist()) == sorted(PICTURES[i].sum((1, 2)).tolist())


def nan(x):
    x = x.copy()
    x[3, 2, 1] = np.nan
    return x


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda p: np.save(p / "x.npy", X[0]), r"shape \(6, 5\).*expected numbers \[class, exemplar, d\]"),
        (lambda p: np.save(p / "x.npy", nan(X)), "class 3 have numbers that are not finite"),
        (lambda p: np.save(p / "x.npy", X[:5]), "holds 5 classes, but bank.n_classes and n_holdout_classes ask for 12"),
        (lambda p: np.save(p / "x.npy", X[:, :3]), "holds 3 exemplars"),
        (lambda p: np.save(p / "x.npy", X[..., :4]), "set bank.dim=4"),
        (lambda p: np.save(p / "x.npy", np.array([[["a"]]])), "expected numbers"),
        (lambda p: np.save(p / "x.npy", np.array([{}], dtype=object)), "is not an array of numbers"),
        (lambda p: (p / "x.npy").write_bytes(b"torn"), "is not an array of numbers"),
        (lambda p: (p / "x.npz").write_bytes(b"torn"), "is not a file of arrays"),
        (lambda p: np.savez(p / "x.npz", a=X, b=X), "holds a, b: expected an array `exemplars`"),
        (lambda p: np.savez(p / "x.npz", exemplars=X, names=np.array(NAMES[:3])), "3 names for 12 classes"),
        (lambda p: np.savez(p / "x.npz", exemplars=X, pictures=PICTURES[:, :2]), "pictures have shape"),
        (lambda p: np.savez(p / "x.npz", exemplars=X, pictures=PICTURES / 1.0), "expected 0 to 1"),
        (lambda p: (p / "x.safetensors").write_bytes(b"torn"), "is not a file of tensors"),
        (lambda p: (p / "x.parquet").write_bytes(b"torn"), "is not a parquet table"),
        (lambda p: pd.DataFrame({"a": [1.0]}).to_parquet(p / "x.parquet"), "with a column 'class'"),
        (
            lambda p: pd.DataFrame({"class": [0, 0, 1], "a": [1.0] * 3}).to_parquet(p / "x.parquet"),
            "class 1 has 1 rows and 0 has 2",
        ),
        (
            lambda p: changed(p, lambda t: t.assign(exemplar=t.exemplar.where(t.exemplar != 1, 0))),
            r"class thing 00 has exemplar 0 twice: remove one row, .* \(12 such rows\)",
        ),
        (
            lambda p: changed(p, lambda t: t.assign(label=1)),
            "bank.dim=5: its features are the columns a, b, c, d, e, label. Remove .* a label, or set bank.dim=6",
        ),
        (
            lambda p: changed(p, lambda t: t.assign(**{f"more{i}": 1.0 for i in range(20)})),
            "columns a, b, c, d, e, more0, ..., more14, more15, more16, more17, more18, more19. Remove",
        ),
        (
            lambda p: changed(p, lambda t: t.assign(**{"class": [None, *t["class"][1:]]})),
            "1 row has no class: .* the row",
        ),
        (
            lambda p: changed(p, lambda t: t.assign(**{"class": [None, None, *t["class"][2:]]})),
            "2 rows have no class: .* the rows",
        ),
        (
            lambda p: changed(p, lambda t: t.assign(a=1e300 * t.a.astype(float))),
            "has numbers as large as .*e.300: expected at most 3.4e",
        ),
        (lambda p: np.save(p / "x.npy", 1e39 * X.astype(float)), "exemplars has numbers as large as .*e.39: expected"),
        (
            lambda p: (p / "x.txt").write_text(""),
            "expected exemplars .* in a .npy, .npz, .safetensors or .parquet file",
        ),
        (lambda p: (p / "x.npy").mkdir(), "cannot be read"),
    ],
)
def test_what_is_no_bank_is_refused(tmp_path, write, words):
    write(tmp_path)
    with pytest.raises(ConfigError, match=words):
        bank(next(tmp_path.iterdir()))


def test_numbers_that_float32_holds_are_those_it_had(tmp_path):
    """As float64, integers and float32, in one column each."""
    parquet(tmp_path / "x.parquet", False)
    table = pd.read_parquet(tmp_path / "x.parquet")
    table = table.assign(a=table.a.astype(float), b=np.arange(len(table)))
    table.to_parquet(tmp_path / "x.parquet")
    found = read(tmp_path / "x.parquet").exemplars
    assert found.dtype == np.float32
    assert sorted(found[..., 0].ravel()) == sorted(X[..., 0].ravel())
    assert sorted(found[..., 1].ravel()) == list(range(len(table)))


def test_a_file_is_needed(tmp_path):
    with pytest.raises(ConfigError, match="--data FILE"):
        bank(None)
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "none.npy")


def test_an_altered_file_of_ours_is_noticed(tmp_path):
    path = bank_file(X, tmp_path / "x.safetensors")
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(ConfigError, match="altered"):
        bank(path)


def test_an_array_that_is_none_is_not_written(tmp_path):
    with pytest.raises(ConfigError, match="class 3 has 1 exemplar with"):
        mechicl.bank_file(nan(X), tmp_path / "x.safetensors")
    with pytest.raises(ConfigError, match=r"ends in \.safetensors"):
        mechicl.bank_file(X, tmp_path / "x.npy")
    assert list(tmp_path.iterdir()) == []


def test_an_array_in_the_place_of_a_file_is_told_how_to_become_one(tiny_config, tmp_path):
    with pytest.raises(ConfigError, match=r"not ndarray. mechicl.bank_file\(array, PATH\) writes"):
        train(tiny_config, tmp_path / "run", data=X, progress=False)


def test_a_run_opens_again_from_anywhere_and_refuses_another_file(tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    settings = dataclasses.replace(tiny_config, steps=10, bank=config(path="x.npy"))
    train(settings, tmp_path / "run", progress=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    series = open_series(tmp_path / "run")
    assert series.bank.exemplars.shape == (12, 6, 5)
    assert verify(series.root) == []
    resume(series.root, steps=20, progress=False)
    (tmp_path / "x.npy").rename(tmp_path / "moved.npy")
    assert open_series(series.root, data=tmp_path / "moved.npy").bank.fingerprint == series.bank.fingerprint
    for name in ("x.npy", "other.npy"):
        np.save(tmp_path / name, X + 1)
    with pytest.raises(SeriesError, match="differs from the one it was trained on"):
        _ = open_series(series.root).bank
    with pytest.raises(SeriesError, match="differs from the one it was trained on"):
        resume(series.root, data=tmp_path / "other.npy", progress=False)
    assert open_series(series.root).manifest["data"] == str(tmp_path / "x.npy")  # nothing is recorded of other data


@pytest.mark.parametrize("steps", [None, 20])
def test_a_run_whose_data_moved_keeps_the_new_place(tiny_config, tmp_path, steps):
    np.save(tmp_path / "x.npy", X)
    settings = dataclasses.replace(tiny_config, steps=10, bank=config())
    series = train(settings, tmp_path / "run", data=tmp_path / "x.npy", progress=False)
    (tmp_path / "x.npy").rename(tmp_path / "moved.npy")
    resume(series.root, steps=steps, data=tmp_path / "moved.npy", progress=False)
    again = open_series(series.root)
    assert again.bank.fingerprint == series.manifest["bank"]
    assert again.manifest["data"] == str(tmp_path / "moved.npy")
    assert verify(again.root) == []
