"""From pictures to a file of features: batched, with progress, and resumable.

What is done so far lies beside the file, in `FILE.part/`: the arrays, mapped into memory, and how many classes are
done. A call that was killed goes on there; the finished file replaces it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import mechicl
from mechicl.errors import ConfigError
from mechicl.system.disk import check_writable, explained
from mechicl.system.files import read_json, write_json
from mechicl.system.paths import given
from mechicl.system.progress import bar
from mechicl.tasks.exemplar_label.banks.omniglot import TRANSFORMS, transform
from mechicl.tasks.exemplar_label.features import encoders, file
from mechicl.tasks.exemplar_label.features.encoders import Encoder, Options
from mechicl.tasks.exemplar_label.features.images import Pictures, class_names, find_pictures, load

_FLUSHED = 16  # picture classes between two notes of what is done
_FITTED = 20_000  # pictures that principal components are fitted on, at most


def extract(
    source: str | Path,
    out: str | Path,
    *,
    encoder: str = "efficientnet-lite0",
    transforms: int = 1,
    n_exemplars: int | None = None,
    pictures: int = 28,
    options: Options | None = None,
    progress: bool = True,
) -> file.Features:
    """Encode every picture under `source` into one file of features, and open it.

    Args:
        source: a folder of class folders, or Omniglot's.
        out: the file, `.safetensors`.
        encoder: one of `encoders.ENCODERS`, or 'module:function'.
        transforms: 1, 2, 4 or 8 flips and turns of every picture, each of them a class.
        n_exemplars: of each class (default: as many as the smallest class has).
        pictures: side of the small pictures that are kept to show; 0 keeps none.

    Raises:
        ConfigError: no pictures, no such encoder, features that are not finite, or a file that is there already.
    """
    out = given(out)
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out {out}: expected a file that ends in .safetensors.")
    if out.exists():
        raise ConfigError(f"{out} exists already: give another --out, or delete it.")
    if transforms not in TRANSFORMS:
        raise ConfigError(f"--transforms {transforms}: expected one of {', '.join(map(str, TRANSFORMS))}.")
    options = options or Options()
    if options.size is not None and options.size < 1:
        raise ConfigError(f"--size {options.size}: expected a side in pixels, from 1.")
    found = find_pictures(source, n_exemplars)
    if options.sample is None:
        options = replace(options, sample=lambda size: _sample(found, size))
    made = encoders.get(encoder, options)
    settings = {
        "encoder": encoder,
        "size": made.size,
        **made.about,
        "transforms": transforms,
        "classes": len(found.files),
        "exemplars": found.n_exemplars,
        "pictures": pictures,
        "source_sha256": _sources(found),
        "mechicl": mechicl.__version__,
    }
    part = out.with_name(f"{out.name}.part")
    check_writable(part, "Give another --out.")
    arrays, done = _begin(part, settings, found, made, transforms)
    _fill(found, made, transforms, arrays, done, lambda n: _note(part, settings, arrays, n), progress)
    with explained(out):
        file.write(
            out,
            file.Features(
                exemplars=arrays["exemplars"],
                pictures=arrays.get("pictures"),
                names=class_names(found, transforms),
                group=transforms,
                provenance=settings,
            ),
        )
    shutil.rmtree(part)
    return file.read(out)


def encode_class(paths: tuple[Any, ...], made: Encoder, transforms: int) -> np.ndarray:
    """Features of one class of pictures under every transform: [transform, exemplar, d] float32.

    Raises:
        ConfigError: the encoder gave another shape, or numbers that are not finite; the user's own failed.
    """
    upright = np.stack([load(path, made.size) for path in paths])
    seen = np.concatenate([transform(upright, *t) for t in TRANSFORMS[transforms]])
    try:
        features = np.asarray(made.encode(np.ascontiguousarray(seen)), dtype=np.float32)
    except Exception as error:
        if isinstance(error, ConfigError) or not made.of_user:
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigError(
            f"the encoder {made.of_user} failed on a numpy array of shape {seen.shape} and type float32: "
            f"{type(error).__name__}: {str(error) or 'without a message'} ({where.filename}, line {where.lineno}). "
            "Expected an array [picture, feature] of numbers."
        ) from error
    if features.ndim == 0:
        raise ConfigError(f"the encoder gave no array: expected it to return one of shape [{len(seen)}, d].")
    if features.ndim != 2 or len(features) != len(seen):
        raise ConfigError(f"the encoder gave shape {features.shape} for {len(seen)} pictures, not [{len(seen)}, d].")
    if not np.isfinite(features).all() or np.abs(features).max() > np.finfo(np.float16).max:
        raise ConfigError("the encoder gave features that are not finite in half precision.")
    return features.reshape(len(TRANSFORMS[transforms]), len(paths), -1)


def _fill(
    found: Pictures,
    made: Encoder,
    transforms: int,
    arrays: dict[str, np.ndarray],
    done: int,
    note: Callable[[int], None],
    progress: bool,
) -> None:
    side = arrays["pictures"].shape[-1] if "pictures" in arrays else 0
    per_class = transforms * found.n_exemplars
    with bar(len(found.files) * per_class, "features", show=progress, unit=" pictures") as shown:
        shown.update(done * per_class)
        for i in range(done, len(found.files)):
            rows = slice(i * transforms, (i + 1) * transforms)
            arrays["exemplars"][rows] = encode_class(found.files[i], made, transforms)
            if side:
                grey = np.stack([load(path, side).mean(0) for path in found.files[i]])
                seen = np.stack([transform(grey, *t) for t in TRANSFORMS[transforms]])
                arrays["pictures"][rows] = np.rint(255 * seen)
            if (i + 1) % _FLUSHED == 0:
                note(i + 1)
            shown.update(per_class)
    note(len(found.files))


def _begin(
    part: Path, settings: dict[str, Any], found: Pictures, made: Encoder, transforms: int
) -> tuple[dict[str, np.ndarray], int]:
    """The arrays to fill, and how many picture classes they hold already."""
    noted = part / "progress.json"
    if noted.exists():
        record = read_json(noted)
        if record.get("settings") != json.loads(json.dumps(settings)):
            raise ConfigError(
                f"{part} contains part of another extraction (other pictures, encoder or settings): delete "
                "the folder, or give another --out."
            )
        arrays = {path.stem: np.load(path, mmap_mode="r+") for path in sorted(part.glob("*.npy"))}
        return arrays, int(record["done"])
    first = encode_class(found.files[0][:1], made, 1)  # before anything is written: it may fail
    part.mkdir(parents=True, exist_ok=True)
    shape = (len(found.files) * transforms, found.n_exemplars)
    wanted: dict[str, tuple[type, tuple[int, ...]]] = {"exemplars": (np.float16, (first.shape[-1],))}
    if settings["pictures"]:
        wanted["pictures"] = (np.uint8, (settings["pictures"], settings["pictures"]))
    arrays: dict[str, np.ndarray] = {
        name: np.lib.format.open_memmap(part / f"{name}.npy", "w+", dtype, (*shape, *inside))
        for name, (dtype, inside) in wanted.items()
    }
    _note(part, settings, arrays, 0)
    return arrays, 0


def _note(part: Path, settings: dict[str, Any], arrays: dict[str, Any], done: int) -> None:
    for array in arrays.values():
        array.flush()  # first the numbers, then that they are there
    write_json(part / "progress.json", {"settings": settings, "done": done})


def _sample(found: Pictures, size: int) -> np.ndarray:
    every = max(1, len(found.files) * found.n_exemplars // _FITTED)
    return np.stack([load(path, size) for path in [path for files in found.files for path in files][::every]])


def _sources(found: Pictures) -> str:
    """sha256 over every picture's bytes, in order."""
    digest = hashlib.sha256()
    for files in found.files:
        for picture in files:
            digest.update(picture.read_bytes() if isinstance(picture, Path) else picture[1])
    return digest.hexdigest()
