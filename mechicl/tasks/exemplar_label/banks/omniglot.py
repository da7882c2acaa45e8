"""Omniglot: 20 people's drawings of each of 1623 characters (Lake et al. 2015), as a bank.

A class is one character under one flip-and-rotation. Class number = character * transforms +
transform, and a class's exemplars are drawings of that one character under that one transform,
which the published feature files get wrong (docs/references.md#classes-of-drawings). Whole characters are held out.

Pixels become features by PCA: standard, deterministic, no weights to fetch (the published
features are a ResNet's), and `dim` is a knob. As it is linear, what tells two classes apart was
in the pixels. Its surroundings are measured: 2-way 1-shot accuracy (nearest drawing) on held-out
characters of small1 and small2, 28 pixels, 3 seeds.

    dim                            12    32    64
    pixels as they are            .73   .72   .71
    ink moved to the middle       .87   .88   .87
    and blurred by a pixel        .91   .93   .92    what is done
    and components whitened       .91   .90   .83

With `encoder` 'pixels' the exemplars are the centred pictures themselves, neither blurred nor reduced: for
a model that learns its features (encoder.py, beside banks/).

The components are those of the upright drawings: over a full set of rotations eigenvalues come
in exactly tied pairs, whose eigenvectors rounding would choose.

Legend: c character, e exemplar, s pixels per side, d features.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from mechicl.config import BankConfig
from mechicl.errors import ConfigError
from mechicl.system.paths import given
from mechicl.tasks.exemplar_label.banks.bank import Bank, assign_labels

SIDE = 105  # pixels per side of a drawing
TRANSFORMS: dict[int, tuple[tuple[int, bool], ...]] = {  # quarter turns, then flipped left to right?
    1: ((0, False),),
    2: ((0, False), (0, True)),
    4: tuple((turns, False) for turns in range(4)),
    8: tuple((turns, flip) for flip in (False, True) for turns in range(4)),
}
_FILE = re.compile(r"([^/]+)/(character\d+)/([^/.][^/]*\.png)$")  # no dot first: '._x.png' is a Mac's
_EXPECTED = (
    "the folders of torchvision's Omniglot (omniglot-py/images_background/<Alphabet>/characterNN/*.png) or "
    "the original images_*.zip, from https://github.com/brendenlake/omniglot/tree/master/python"
)

Drawings = dict[str, tuple[str, bytes]]  # file name -> where it was found, PNG bytes


def omniglot_bank(config: BankConfig, seed: int, data: str | Path | None) -> Bank:
    """The bank of real drawings: training classes first, then classes of other characters.

    Exemplars are features of mean square norm 1 over the training part, or pixels, the flattened
    `Bank.images`: the centred pictures, [class, exemplar, s, s], ink 1 on paper 0.

    Args:
        seed: decides which characters and which drawings of each are trained on.
        data: a folder or zip of images, as `find_drawings` reads them.

    Raises:
        ConfigError: no images, too few, a file that is no Omniglot drawing, or sizes that do not fit.
    """
    _check(config)
    found = find_drawings(data)
    chosen = _choose(config, found, seed, data)
    pictures = np.stack([[_picture(*d, config.image_size) for d in drawings] for _, drawings in chosen])
    transforms = TRANSFORMS[config.transforms]
    images = _as_classes([transform(pictures, *t) for t in transforms])
    return Bank(
        exemplars=_features(config, pictures) if config.encoder == "pca" else images.reshape(*images.shape[:2], -1),
        label_of_class=assign_labels(config, len(chosen) * len(transforms), seed),
        n_classes=config.n_classes,
        n_exemplars=config.n_exemplars,
        names=tuple(name + suffix(*t) for name, _ in chosen for t in transforms),
        images=images,
    )


def find_drawings(data: str | Path | None) -> dict[tuple[str, str], Drawings]:
    """Every drawing under `data`, by (alphabet, character).

    `data` is a zip, or a folder that holds alphabets, image sets (images_background, ...), their
    zips, or torchvision's omniglot-py. Sets that share characters, as small1 and small2 do, add
    each character once.

    Raises:
        ConfigError: no `data`, or no drawings there.
    """
    if data is None:
        raise ConfigError(f"bank.kind='omniglot' needs images: give --data DIR, where DIR holds {_EXPECTED}.")
    root = given(data)
    if not root.exists():
        raise ConfigError(f"--data {data}: no such file or folder. Expected {_EXPECTED}.")
    found: dict[tuple[str, str], Drawings] = {}
    for where, png in _files(root):
        if match := _FILE.search(where.replace("\\", "/")):
            alphabet, character, name = match.groups()
            found.setdefault((alphabet, character), {}).setdefault(name, (where, png))
    if not found:
        raise ConfigError(
            f"--data {data}: found no <Alphabet>/characterNN/*.png, there or up to two folders "
            f"down, nor in an images_*.zip. Expected {_EXPECTED}."
        )
    return {key: dict(sorted(found[key].items())) for key in sorted(found)}


def transform(pictures: np.ndarray, turns: int, flip: bool) -> np.ndarray:
    """Turn [..., s, s] left by `turns` quarters, then flip it left to right."""
    turned = np.rot90(pictures, turns, axes=(-2, -1))
    return turned[..., ::-1] if flip else turned


def fit_pca(x: np.ndarray, dim: int) -> np.ndarray:
    """The `dim` principal directions of x [n, pixels], as [pixels, dim], each with its largest
    loading positive."""
    x = x - x.mean(axis=0)
    basis = np.linalg.eigh(x.T @ x)[1][:, ::-1][:, :dim]
    largest = np.abs(basis).argmax(axis=0)
    return basis * np.sign(basis[largest, np.arange(dim)])


def _check(config: BankConfig) -> None:
    """Refuse what no set of drawings can satisfy, before any is read."""
    if config.kind != "omniglot":
        raise ConfigError(f"omniglot_bank was given a bank of kind {config.kind!r}.")
    k = config.transforms
    for key in ("n_classes", "n_holdout_classes"):
        n = getattr(config, key)
        if n % k:
            below = n // k * k
            near = f"{below} or {below + k}" if below or key == "n_holdout_classes" else below + k
            raise ConfigError(
                f"bank.{key}={n} is not a multiple of transforms={k}: a character gives {k} "
                f"classes, all trained on or all held out. Set it to {near}."
            )
    if config.image_size > SIDE:
        raise ConfigError(f"bank.image_size={config.image_size}: a drawing has {SIDE} pixels per side.")
    fitted = config.n_classes // k * config.n_exemplars
    most = min(config.image_size**2, fitted - 1)
    if config.encoder == "pca" and config.dim > most:
        raise ConfigError(
            f"bank.dim={config.dim}: {fitted} training drawings of {config.image_size}**2 "
            f"pixels have at most {most} principal components."
        )


def _files(root: Path) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of every candidate file. Omniglot's PNGs are 8 MB in all."""
    if root.is_file():
        try:
            with zipfile.ZipFile(root) as archive:
                for name in archive.namelist():
                    if name.endswith(".png"):
                        yield f"{root}/{name}", archive.read(name)
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            raise ConfigError(f"{root}: not a readable zip file ({error}). Download it again.") from error
        return
    for above in ("", "*/", "*/*/"):
        for path in sorted(root.glob(f"{above}*/character*/*.png")):
            yield str(path), path.read_bytes()
        for path in sorted(root.glob(f"{above}images_*.zip")):
            yield from _files(path)


def _choose(
    config: BankConfig, found: dict[tuple[str, str], Drawings], seed: int, data: str | Path | None
) -> list[tuple[str, list[tuple[str, bytes]]]]:
    """(name, drawings) of every character used: shuffled, training first on both axes."""
    k = config.transforms
    wanted = (config.n_classes + config.n_holdout_classes) // k
    if wanted > len(found):
        raise ConfigError(
            f"--data {data} holds {len(found)} characters, which make {len(found) * k} classes with "
            f"transforms={k}, but bank.n_classes={config.n_classes} and n_holdout_classes="
            f"{config.n_holdout_classes} need {wanted} characters: lower them, or add more image sets."
        )
    per_class = config.n_exemplars + config.n_holdout_exemplars
    (alphabet, character), fewest = min(found.items(), key=lambda item: len(item[1]))
    if per_class > len(fewest):
        raise ConfigError(
            f"--data {data} has {len(fewest)} drawings of {alphabet}/{character}, but bank.n_exemplars="
            f"{config.n_exemplars} and n_holdout_exemplars={config.n_holdout_exemplars} need {per_class}: "
            f"lower them to {len(fewest)} in all (whole sets have 20 of every character)."
        )
    rng = np.random.default_rng([seed, 0])  # stream 0 of the data seed is the bank's
    keys, chosen = list(found), []
    for i in rng.permutation(len(keys))[:wanted]:
        drawings = list(found[keys[i]].values())
        picks = rng.permutation(len(drawings))[:per_class]
        chosen.append(("/".join(keys[i]), [drawings[j] for j in picks]))
    return chosen


def _picture(where: str, png: bytes, size: int) -> np.ndarray:
    """One drawing, centred and resized: [s, s] float32, ink 1 on paper 0."""
    try:
        image = Image.open(io.BytesIO(png))
        image.load()
    except Exception as error:  # Pillow raises half a dozen kinds on a damaged file
        raise ConfigError(f"{where}: not a readable PNG ({error}). Download the images again.") from error
    if image.mode not in ("1", "L") or image.size != (SIDE, SIDE):
        raise ConfigError(
            f"{where}: expected a black and white drawing of {SIDE} x {SIDE} pixels, not mode "
            f"{image.mode!r} of {image.width} x {image.height}."
        )
    ink = 255 - np.asarray(image.convert("L"))
    if not ink.any():
        raise ConfigError(f"{where}: the drawing is blank.")
    # Centre of mass to the middle, but never so far that ink would leave the picture.
    at = np.argwhere(ink)
    shift = np.clip(np.rint(at.mean(axis=0) - (SIDE - 1) / 2), at.max(axis=0) - SIDE + 1, at.min(axis=0))
    centred = np.roll(ink, -shift.astype(int), axis=(0, 1))
    small = Image.fromarray(centred).resize((size, size), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255


def _features(config: BankConfig, pictures: np.ndarray) -> np.ndarray:
    """PCA of [c, e, s, s] under every transform: [class, e, d] float32. Only the training classes'
    training exemplars decide the components, the mean and the one scale."""
    sigma = config.image_size / 28
    blurred = gaussian_filter(pictures.astype(np.float64), (0, 0, sigma, sigma), mode="constant")
    trained = blurred[: config.n_classes // config.transforms, : config.n_exemplars]
    basis = fit_pca(trained.reshape(-1, config.image_size**2), config.dim)
    flat = (transform(blurred, *t).reshape(-1, len(basis)) for t in TRANSFORMS[config.transforms])
    x = _as_classes([(pixels @ basis).reshape(*blurred.shape[:2], -1) for pixels in flat])
    x -= x[: config.n_classes, : config.n_exemplars].mean(axis=(0, 1))
    x /= np.sqrt(np.square(x[: config.n_classes, : config.n_exemplars]).sum(axis=-1).mean())
    # Rounded far below the spread of drawings, so that the last bits of another machine's
    # linear algebra do not make it another bank.
    return np.round(x, 4).astype(np.float32)


def _as_classes(per_transform: list[np.ndarray]) -> np.ndarray:
    """One array [c, ...] per transform -> [class, ...], class = c * transforms + transform."""
    return np.stack(per_transform, axis=1).reshape(-1, *per_transform[0].shape[1:])


def suffix(turns: int, flip: bool) -> str:
    """What a name says of a transform: "" for none."""
    return (f" rot{90 * turns}" if turns else "") + (" flip" if flip else "")
