"""Pictures to features: order of classes, transforms, resuming, encoders of one's own, and errors."""

import sys

import numpy as np
import pytest
from PIL import Image

from mechicl.errors import ConfigError
from mechicl.tasks.exemplar_label.banks.omniglot import TRANSFORMS, transform
from mechicl.tasks.exemplar_label.features import extract as module
from mechicl.tasks.exemplar_label.features.encoders import ENCODERS, Encoder, Options
from mechicl.tasks.exemplar_label.features.extract import extract
from mechicl.tasks.exemplar_label.features.images import find_pictures, load, unused


@pytest.fixture
def folder(tmp_path):
    """Three classes of 4, 3 and 5 grey pictures of 12 x 12 pixels."""
    rng = np.random.default_rng(0)
    for name, n in (("b", 3), ("a", 4), ("c", 5)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(rng.integers(0, 256, (12, 12), np.uint8)).save(tmp_path / "pictures" / name / f"{i}.png")
    return tmp_path / "pictures"


def pixels(path) -> np.ndarray:
    return np.asarray(Image.open(path), dtype=np.float32) / 255


def test_classes_are_in_alphabetical_order_each_as_large_as_the_smallest(folder, tmp_path):
    found = extract(folder, tmp_path / "f.safetensors", encoder="pixels", options=Options(size=12), progress=False)
    assert found.names == ("a", "b", "c")
    assert found.exemplars.shape == (3, 3, 144)
    for c, name in enumerate("abc"):
        for i in range(3):
            want = pixels(folder / name / f"{i}.png")
            np.testing.assert_allclose(found.exemplars[c, i], want.ravel(), atol=1e-3)


def test_a_transform_is_a_class_beside_the_others_of_its_character(folder, tmp_path):
    found = extract(
        folder,
        tmp_path / "f.safetensors",
        encoder="pixels",
        transforms=8,
        options=Options(size=12),
        pictures=12,
        progress=False,
    )
    assert (len(found.names), found.group) == (24, 8)
    assert found.names[8:11] == ("b", "b rot90", "b rot180")
    for t, how in enumerate(TRANSFORMS[8]):
        want = transform(pixels(folder / "b" / "2.png"), *how)
        np.testing.assert_allclose(found.exemplars[8 + t, 2], want.ravel(), atol=1e-3)
        np.testing.assert_allclose(found.pictures[8 + t, 2], 255 * want, atol=1)


def test_a_killed_extraction_goes_on_and_comes_to_the_same_file(folder, tmp_path, monkeypatch):
    whole = extract(folder, tmp_path / "whole.safetensors", encoder="pixels", transforms=2, progress=False)
    monkeypatch.setattr(module, "_FLUSHED", 1)
    read, honest = [], module.encode_class

    def dies(paths, *rest):
        read.append(paths)
        if len(read) == 3:  # one to learn the shape, one class done, then
            raise KeyboardInterrupt
        return honest(paths, *rest)

    monkeypatch.setattr(module, "encode_class", dies)
    target = tmp_path / "f.safetensors"
    with pytest.raises(KeyboardInterrupt):
        extract(folder, target, encoder="pixels", transforms=2, progress=False)
    assert not target.exists()
    found = extract(folder, target, encoder="pixels", transforms=2, progress=False)
    assert len(read) == 3 + 2  # the class that was done was not done again
    np.testing.assert_array_equal(found.exemplars, whole.exemplars)
    assert found.sha256 == whole.sha256
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.safetensors", "pictures", "whole.safetensors"]


def test_half_of_another_extraction_is_not_gone_on_with(folder, tmp_path, monkeypatch):
    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_fill", dies)
    with pytest.raises(KeyboardInterrupt):
        extract(folder, tmp_path / "f.safetensors", encoder="pixels", progress=False)
    with pytest.raises(ConfigError, match="another extraction"):
        extract(folder, tmp_path / "f.safetensors", encoder="pixels", options=Options(size=20), progress=False)


def test_an_encoder_of_ones_own(folder, tmp_path, monkeypatch):
    (tmp_path / "my_encoders.py").write_text("def brightness(x):\n    return x.mean((1, 2, 3))[:, None]\n")
    monkeypatch.chdir(tmp_path)
    found = extract(
        folder, tmp_path / "f.safetensors", encoder="my_encoders:brightness", options=Options(size=12), progress=False
    )
    assert found.exemplars[0, 1, 0] == pytest.approx(pixels(folder / "a" / "1.png").mean(), abs=1e-3)
    assert found.provenance["encoder"] == "my_encoders:brightness"


@pytest.mark.parametrize(
    ("encode", "named"),
    [
        (lambda x: x.sum((1, 2, 3)), "shape"),
        (lambda x: np.full((len(x), 2), np.nan), "finite"),
        (lambda x: np.full((len(x), 2), 1e6), "finite in half precision"),
    ],
)
def test_an_encoder_that_gives_nonsense_is_stopped(folder, tmp_path, monkeypatch, encode, named):
    monkeypatch.setitem(ENCODERS, "nonsense", lambda options: Encoder(8, encode, {}))
    with pytest.raises(ConfigError, match=named):
        extract(folder, tmp_path / "f.safetensors", encoder="nonsense", progress=False)
    assert not (tmp_path / "f.safetensors").exists()


def test_a_picture_of_any_shape_and_colour_becomes_a_square_of_three_channels(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = (255, 0, 0)  # a red middle between black sides
    Image.fromarray(wide).save(tmp_path / "x.png")
    square = load(tmp_path / "x.png", 10)
    np.testing.assert_allclose(square, np.array([1, 0, 0])[:, None, None] + np.zeros((3, 10, 10)), atol=0.01)


def test_errors_say_what_was_found(folder, tmp_path):
    target = tmp_path / "f.safetensors"
    with pytest.raises(ConfigError, match="class b has 3 pictures"):
        extract(folder, target, encoder="pixels", n_exemplars=4, progress=False)
    with pytest.raises(ConfigError, match="no such encoder"):
        extract(folder, target, encoder="resnet", progress=False)
    with pytest.raises(ConfigError, match="no such file"):
        find_pictures(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="found no pictures"):
        find_pictures(tmp_path / "empty")
    (folder / "a" / "0.png").write_bytes(b"not a picture")
    with pytest.raises(ConfigError, match="not a readable picture"):
        extract(folder, target, encoder="pixels", progress=False)
    target.write_text("there")
    with pytest.raises(ConfigError, match="exists already"):
        extract(folder, target, encoder="pixels", progress=False)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("x.mean()", r"the encoder gave no array: expected it to return one of shape \[1, d\]"),
        ("return x.mean(1).flatten(1)", r"own_one:encode failed on a numpy array of shape \(1, 3, 12, 12\)"),
        ("import torch; return torch.nn.Linear(3, 2)(x)", r"failed on a numpy array.*TypeError.*Expected an array"),
        ("return torch", "NameError: name 'torch' is not defined"),
    ],
)
def test_ones_own_encoder_that_fails_is_an_error_in_words_and_leaves_nothing(folder, tmp_path, monkeypatch, body, says):
    (tmp_path / "own_one.py").write_text(f"def encode(x):\n    {body}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_one", raising=False)
    with pytest.raises(ConfigError, match=says):
        extract(folder, "f.safetensors", encoder="own_one:encode", options=Options(size=12), progress=False)
    assert not list(tmp_path.glob("f.safetensors*"))


def test_an_options_value_that_cannot_be_is_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"f\.npy: expected a file that ends in \.safetensors"):
        extract(folder, tmp_path / "f.npy", encoder="pixels", progress=False)
    with pytest.raises(ConfigError, match="--size 0: expected a side in pixels, from 1"):
        extract(folder, tmp_path / "f.safetensors", encoder="pixels", options=Options(size=0), progress=False)


def test_pictures_that_are_not_used_are_said(folder):
    (folder / "empty").mkdir()
    said = "3 classes: the smallest, b, has 3, and 3 pictures are not used; empty has no pictures."
    assert unused(folder, find_pictures(folder)) == said
    (folder / "empty").rmdir()
    for path in (folder / "a" / "3.png", folder / "c" / "3.png", folder / "c" / "4.png"):
        path.unlink()
    assert unused(folder, find_pictures(folder)) == ""


def test_pictures_without_a_folder_of_a_class_are_named(folder):
    with pytest.raises(ConfigError, match="found 3 pictures, but no folder of a class; expected a folder that holds"):
        find_pictures(folder / "b")
