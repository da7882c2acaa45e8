"""Omniglot: one character and one transform per class, characters held out whole, PCA from training only."""

import dataclasses
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mechicl.config import BankConfig, Config, ModelConfig
from mechicl.errors import ConfigError
from mechicl.tasks.exemplar_label.banks.omniglot import (
    SIDE,
    TRANSFORMS,
    find_drawings,
    fit_pca,
    omniglot_bank,
    transform,
)
from mechicl.training.loop import train

ALPHABETS, CHARACTERS, DRAWINGS = ("Balinese", "Greek", "Latin"), 3, 5
SMALL = BankConfig(
    kind="omniglot", n_classes=48, n_exemplars=4, n_holdout_classes=24, n_holdout_exemplars=1, dim=6, image_size=15
)
REAL = Path(__file__).parents[4].parent / "shared/data/omniglot"
needs_real = pytest.mark.skipif(not REAL.exists(), reason="the real Omniglot zips are not here")


def change(config: BankConfig = SMALL, **settings) -> BankConfig:
    return dataclasses.replace(config, **settings)


def png(ink: np.ndarray, mode: str = "1") -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.where(ink, 0, 255).astype(np.uint8)).convert(mode).save(out, "PNG")
    return out.getvalue()


def ink_of(pixels: int, seed: int = 0, at: tuple[int, int] = (20, 30)) -> np.ndarray:
    """Exactly `pixels` of ink, scattered over a 50 x 50 square with its corner `at`."""
    rng = np.random.default_rng([pixels, seed])
    square = np.zeros(2500, dtype=bool)
    square[rng.permutation(2500)[:pixels]] = True
    ink = np.zeros((SIDE, SIDE), dtype=bool)
    ink[at[0] : at[0] + 50, at[1] : at[1] + 50] = square.reshape(50, 50)
    return ink


# The amount of ink tells which drawing a picture is of, whatever moved, turned or flipped it.
INK = {
    (alphabet, f"character{c + 1:02}", d): 200 + 45 * (d + DRAWINGS * (c + CHARACTERS * a))
    for a, alphabet in enumerate(ALPHABETS)
    for c in range(CHARACTERS)
    for d in range(DRAWINGS)
}
FILES = {f"{a}/{c}/00{ALPHABETS.index(a)}{c[-1]}_{d:02}.png": png(ink_of(n)) for (a, c, d), n in INK.items()}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def pack(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"{path.stem}/{name}", data)
            archive.writestr(f"__MACOSX/{path.stem}/{name.replace('00', '._00')}", b"not a picture")
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("alphabets"), FILES)


def drawing_of(picture: np.ndarray) -> tuple[str, str, int]:
    pixels = picture.sum() * (SIDE / picture.shape[-1]) ** 2
    return min(INK, key=lambda key: abs(INK[key] - pixels))


@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_a_class_is_one_character_under_one_transform(images, k):
    # The published features mix 2.5 drawings under 8 transforms in a row (docs/references.md#classes-of-drawings).
    config = change(transforms=k, n_classes=6 * k, n_holdout_classes=3 * k)
    bank = omniglot_bank(config, 0, images)
    assert bank.images.shape == (9 * k, DRAWINGS, 15, 15)
    shown = set()
    for c, rows in enumerate(bank.images):
        drawings = [drawing_of(picture) for picture in rows]
        assert len(set(drawings)) == DRAWINGS  # its drawings are different ones
        assert {bank.name(c).split(" ")[0]} == {f"{a}/{ch}" for a, ch, _ in drawings}  # of one character
        upright = bank.images[c // k * k]
        assert np.array_equal(rows, transform(upright, *TRANSFORMS[k][c % k]))
        if c % k == 0:
            assert shown.isdisjoint(drawings)  # no two characters share one
            shown |= set(drawings)
    assert len({rows[0].tobytes() for rows in bank.images}) == 9 * k  # and no two classes a picture


def test_the_transforms_are_the_symmetries_of_a_square():
    picture = np.arange(9).reshape(3, 3)
    seen = {transform(picture, *t).tobytes() for t in TRANSFORMS[8]}
    assert len(seen) == 8
    assert all(set(TRANSFORMS[k]) <= set(TRANSFORMS[8]) and len(TRANSFORMS[k]) == k for k in TRANSFORMS)
    assert transform(picture, 1, False).tolist() == [[2, 5, 8], [1, 4, 7], [0, 3, 6]]  # to the left
    assert transform(picture, 1, True).tolist() == [[8, 5, 2], [7, 4, 1], [6, 3, 0]]


def test_features_are_one_linear_map_of_their_own_pictures(images):
    bank = omniglot_bank(change(image_size=6), 0, images)
    pixels = bank.images.reshape(-1, 36).astype(np.float64)
    design = np.hstack([pixels, np.ones((len(pixels), 1))])
    features = bank.exemplars.reshape(-1, bank.dim)
    fit = np.linalg.lstsq(design, features, rcond=None)[0]
    assert np.abs(design @ fit - features).max() < 1e-3


def test_pixels_are_the_pictures_themselves(images):
    bank = omniglot_bank(change(encoder="pixels", dim=15 * 15), 0, images)
    reduced = omniglot_bank(SMALL, 0, images)
    assert np.array_equal(bank.images, reduced.images)  # the same drawings of the same classes
    assert bank.names == reduced.names
    assert np.array_equal(bank.exemplars, bank.images.reshape(72, 5, 15 * 15))
    assert bank.exemplars.dtype == np.float32
    assert bank.fingerprint != reduced.fingerprint
    flat = bank.exemplars.reshape(72, -1)
    assert len({rows.tobytes() for rows in flat}) == 72  # a turned or flipped character is a class of its own


def test_a_model_that_encodes_pictures_trains_on_drawings(images, tmp_path):
    config = Config(
        name="pictures",
        steps=3,
        batch_size=4,
        bank=change(encoder="pixels", dim=15 * 15),
        n_eval=8,
        model=ModelConfig(d_model=8, n_heads=2, encoder="conv", channels=(2, 3)),
    )
    series = train(config, tmp_path / "run", data=images, progress=False)
    assert series.weights(3)["exemplar_embed.W"].shape == (3 * 4 * 4, 8)  # 15 x 15 pixels, 8 x 8, 4 x 4
    assert not torch.equal(series.weights(0)["encoder.0.W"], series.weights(3)["encoder.0.W"])


def test_names_labels_and_parts(images):
    bank = omniglot_bank(SMALL, 0, images)
    assert bank.names[0].startswith(ALPHABETS)
    assert bank.names[6] == bank.names[0] + " rot180 flip"
    assert bank.names[4] == bank.names[0] + " flip"
    assert bank.label_of_class[:48].tolist() == list(range(48))
    assert bank.exemplars.dtype == bank.images.dtype == np.float32
    assert bank.train().exemplars.shape == (*bank.train().images.shape[:2], 6) == (48, 4, 6)
    assert bank.holdout_exemplars().exemplars.shape == (48, 1, 6)
    assert bank.holdout_classes().exemplars.shape == (24, 5, 6)
    shared = omniglot_bank(change(n_labels=6), 0, images)
    assert np.bincount(shared.label_of_class[:48]).tolist() == [8] * 6


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_characters_are_held_out_whole(images, seed):
    bank = omniglot_bank(SMALL, seed, images)
    trained = {name.split(" ")[0] for name in bank.train().names}
    held_out = {name.split(" ")[0] for name in bank.holdout_classes().names}
    assert (len(trained), len(held_out)) == (6, 3)
    assert not trained & held_out
    for c in range(0, 48, 8):  # drawings too: the same ones under every transform
        split = [{drawing_of(p) for p in bank.images[c + t, :4]} for t in range(8)]
        assert all(s == split[0] for s in split)


def test_the_seed_decides_everything(images):
    first, again, other = (omniglot_bank(SMALL, seed, images) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint
    assert np.array_equal(first.images, again.images)
    assert first.names == again.names != other.names
    assert first.fingerprint != other.fingerprint


def test_held_out_drawings_and_characters_do_not_reach_the_features(images, tmp_path):
    bank = omniglot_bank(SMALL, 0, images)
    alone = omniglot_bank(change(n_holdout_classes=0, n_holdout_exemplars=0), 0, images)
    assert np.array_equal(alone.exemplars, bank.train().exemplars)
    unseen = {name.split(" ")[0] for name in bank.holdout_classes().names}
    unseen |= {f"{a}/{c}/{d}" for a, c, d in map(drawing_of, bank.images[:48, 4])}
    altered = {}
    for (file, data), key in zip(FILES.items(), INK, strict=True):
        is_unseen = file.rsplit("/", 1)[0] in unseen or "/".join(map(str, key)) in unseen
        altered[file] = png(ink_of(INK[key], seed=9)) if is_unseen else data
    changed = omniglot_bank(SMALL, 0, write(tmp_path, altered))
    assert np.array_equal(changed.train().exemplars, bank.train().exemplars)
    for part in ("holdout_classes", "holdout_exemplars"):
        assert not np.array_equal(getattr(changed, part)().exemplars, getattr(bank, part)().exemplars)


def test_training_features_have_mean_0_and_mean_square_norm_1(images):
    x = omniglot_bank(SMALL, 0, images).train().exemplars.astype(np.float64)
    assert np.abs(x.mean(axis=(0, 1))).max() < 1e-4
    assert np.square(x).sum(-1).mean() == pytest.approx(1, abs=1e-3)


def test_principal_components_are_the_leading_right_singular_vectors():
    x = np.random.default_rng(0).standard_normal((40, 9)) * np.arange(9, 0, -1)
    basis = fit_pca(x, 4)
    expected = np.linalg.svd(x - x.mean(0))[2][:4].T
    assert np.allclose(np.abs(basis.T @ expected), np.eye(4), atol=1e-10)
    assert all(column[np.abs(column).argmax()] > 0 for column in basis.T)


@pytest.mark.parametrize("at", [(0, 0), (55, 55), (0, 55), (13, 42)])
def test_ink_is_moved_to_the_middle(images, tmp_path, at):
    moved = {f: png(ink_of(n, at=at)) for f, n in zip(FILES, INK.values(), strict=True)}
    bank = omniglot_bank(SMALL, 0, write(tmp_path, moved))
    assert bank.fingerprint == omniglot_bank(SMALL, 0, images).fingerprint
    assert bank.images.min() == 0  # paper
    assert np.all(bank.images[:, :, 0, 0] == 0)
    assert 0.2 < bank.images.max() <= 1


def test_no_ink_leaves_or_wraps_round_the_picture(tmp_path):
    # A stroke as tall as the picture, with the weight at its foot: it must not move up or down.
    def heavy(n: int) -> np.ndarray:
        ink = ink_of(n, at=(55, 30))
        ink[:, 50] = True
        return ink

    files = {f: png(heavy(n)) for f, n in zip(FILES, INK.values(), strict=True)}
    bank = omniglot_bank(SMALL, 0, write(tmp_path, files))
    top = bank.images[::8, :, :7] > 0
    assert np.all(top.any(axis=2).sum(axis=-1) == 1)  # one column: the stroke alone
    assert top.any(axis=-1).all()


def layouts(root: Path) -> dict[str, Path]:
    """The same drawings in every layout that is read; several repeat some of them."""
    part = {a: {f: d for f, d in FILES.items() if f.startswith(a)} for a in ALPHABETS}
    bali_greek, greek_latin = part["Balinese"] | part["Greek"], part["Greek"] | part["Latin"]
    write(root / "sets/images_background_small1", bali_greek)
    write(root / "sets/images_background_small2", greek_latin)
    write(root / "torchvision/omniglot-py/images_background", bali_greek)
    write(root / "torchvision/omniglot-py/images_evaluation", part["Latin"])
    pack(root / "torchvision/omniglot-py/images_background.zip", bali_greek)
    pack(root / "zips/images_background_small1.zip", bali_greek)
    pack(root / "zips/images_background_small2.zip", greek_latin)
    return {
        "image sets": root / "sets",
        "torchvision's root": root / "torchvision",
        "torchvision's folder": root / "torchvision/omniglot-py",
        "folder of zips": root / "zips",
        "one zip": pack(root / "one/mine.zip", FILES),
    }


def test_every_layout_gives_the_same_bank(images, tmp_path):
    expected = omniglot_bank(SMALL, 0, images)
    for layout, path in layouts(tmp_path).items():
        assert {len(d) for d in find_drawings(path).values()} == {DRAWINGS}, layout
        bank = omniglot_bank(SMALL, 0, str(path))
        assert bank.fingerprint == expected.fingerprint, layout
        assert bank.names == expected.names
        assert np.array_equal(bank.images, expected.images)


def test_greyscale_files_are_read_too(images, tmp_path):
    grey = {f: png(ink_of(n), mode="L") for f, n in zip(FILES, INK.values(), strict=True)}
    bank = omniglot_bank(SMALL, 0, write(tmp_path, grey))
    assert bank.fingerprint == omniglot_bank(SMALL, 0, images).fingerprint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "gaussian"}, "bank of kind 'gaussian'"),
        ({"n_classes": 50}, r"n_classes=50 is not a multiple of transforms=8.*Set it to 48 or 56\."),
        ({"n_classes": 5}, r"n_classes=5 .*Set it to 8\."),
        ({"n_holdout_classes": 5}, r"n_holdout_classes=5 .*Set it to 0 or 8\."),
        ({"image_size": 106}, r"image_size=106: a drawing has 105 pixels"),
        ({"image_size": 4, "dim": 17}, r"dim=17: 24 training drawings of 4\*\*2 pixels have at most 16 "),
        ({"dim": 24}, r"dim=24: 24 training drawings .* at most 23 principal"),
        (
            {"n_classes": 80},
            r"holds 9 characters, which make 72 classes with transforms=8, but "
            r"bank.n_classes=80 and n_holdout_classes=24 need 13 characters",
        ),
        (
            {"n_exemplars": 20},
            r"has 5 drawings of Balinese/character01, but bank.n_exemplars=20 and "
            r"n_holdout_exemplars=1 need 21: lower them to 5 in all",
        ),
    ],
)
def test_sizes_that_cannot_be_are_refused(images, settings, message):
    with pytest.raises(ConfigError, match=message):
        omniglot_bank(change(**settings), 0, images)


def test_missing_images_are_explained(tmp_path):
    with pytest.raises(ConfigError, match=r"give --data DIR, where DIR holds .*torchvision.*images_\*\.zip"):
        omniglot_bank(SMALL, 0, None)
    with pytest.raises(ConfigError, match=r"nowhere: no such file or folder\. Expected .*brendenlake"):
        omniglot_bank(SMALL, 0, tmp_path / "nowhere")
    write(tmp_path, {"deep/er/than/this/Greek/character01/1.png": b"", "Greek/character01/readme.txt": b""})
    with pytest.raises(ConfigError, match=r"found no <Alphabet>/characterNN/\*\.png.*brendenlake"):
        omniglot_bank(SMALL, 0, tmp_path)


def damaged(case: str) -> bytes:
    whole = FILES["Greek/character02/0012_03.png"]
    if case == "a checksum is wrong":
        at = whole.index(b"IDAT") + 20
        return whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]
    return {
        "cut short": whole[:70],
        "empty": b"",
        "not a PNG": b"<html>404</html>",
        "another size": png(np.eye(28, dtype=bool)),
        "colour": png(ink_of(300), mode="RGB"),
        "blank": png(np.zeros((SIDE, SIDE), dtype=bool)),
    }[case]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("cut short", "not a readable PNG"),
        ("a checksum is wrong", "not a readable PNG"),
        ("empty", "not a readable PNG"),
        ("not a PNG", "not a readable PNG"),
        ("another size", r"drawing of 105 x 105 pixels, not mode '1' of 28 x 28"),
        ("colour", r"not mode 'RGB' of 105 x 105"),
        ("blank", "the drawing is blank"),
    ],
)
def test_a_bad_drawing_is_named(tmp_path, case, message):
    files = FILES | {"Greek/character02/0012_03.png": damaged(case)}
    for data in (write(tmp_path / "folder", files), pack(tmp_path / "images_x.zip", files)):
        with pytest.raises(ConfigError, match=f"Greek/character02/0012_03.png: .*{message}"):
            omniglot_bank(change(n_exemplars=5, n_holdout_exemplars=0), 0, data)


def test_a_bad_zip_is_named(tmp_path):
    whole = pack(tmp_path / "whole.zip", FILES).read_bytes()
    at = whole.index(FILES["Latin/character01/0021_00.png"]) + 40
    torn = whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]
    for name, data in {"images_half.zip": whole[: len(whole) // 2], "images_torn.zip": torn}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ConfigError, match=f"{name}: not a readable zip file .*Download it again"):
            omniglot_bank(SMALL, 0, tmp_path / name)
    (tmp_path / "whole.zip").unlink()
    with pytest.raises(ConfigError, match=r"images_half\.zip"):  # in a folder too
        omniglot_bank(SMALL, 0, tmp_path)


def test_a_run_on_drawings_reopens_with_the_same_bank(images, tmp_path):
    config = Config(
        name="drawings", steps=2, batch_size=4, bank=SMALL, n_eval=8, threads=1, model=ModelConfig(d_model=8, n_heads=2)
    )
    series = train(config, tmp_path / "run", data=images, progress=False)
    assert series.bank.fingerprint == omniglot_bank(SMALL, 0, images).fingerprint


@needs_real
def test_the_small_sets_overlap_in_50_characters():
    one, two, both = (
        find_drawings(REAL / f) for f in ("images_background_small1.zip", "images_background_small2.zip", ".")
    )
    assert (len(one), len(two), len(both)) == (136, 156, 242)
    assert {len(drawings) for drawings in both.values()} == {20}
    assert one.keys() | two.keys() == both.keys()


@needs_real
@pytest.mark.slow
def test_real_drawings_of_a_new_character_are_near_each_other():
    config = BankConfig(kind="omniglot", n_classes=1600, n_exemplars=16, n_holdout_classes=336, dim=12)
    x = omniglot_bank(config, 0, REAL).holdout_classes().exemplars
    rng = np.random.default_rng(0)
    same, i, j = rng.integers([336, 20, 20], size=(5000, 3)).T
    other = (same + rng.integers(1, 336, size=5000)) % 336
    near, far = (np.linalg.norm(x[same, i] - x[c, j], axis=-1) for c in (same, other))
    assert 0.88 < np.mean((near < far)[i != j]) < 0.95  # 2-way 1-shot; the docstring's .91
