"""Pictures as classes: a folder with a folder per class, or Omniglot's alphabets.

Omniglot's characters become `transforms` classes each, one for every turn and flip, as the published runs have it
(class = character * transforms + transform; docs/references.md#classes-of-drawings says how the released files differ).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mechicl.errors import ConfigError
from mechicl.system.paths import given
from mechicl.tasks.exemplar_label.banks.omniglot import TRANSFORMS, find_drawings, suffix

_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
_EXPECTED = (
    "expected a folder that holds one folder of pictures per class, or Omniglot's drawings "
    "(images_background.zip, images_evaluation.zip or their folders)"
)


@dataclass(frozen=True)
class Pictures:
    """Classes of pictures, each with as many as the others. A picture is a file, or its bytes and where they lay."""

    names: tuple[str, ...]
    files: tuple[tuple[Path | tuple[str, bytes], ...], ...]

    @property
    def n_exemplars(self) -> int:
        return len(self.files[0])


def find_pictures(source: str | Path, n_exemplars: int | None = None) -> Pictures:
    """Every class of pictures under `source`, in alphabetical order.

    Args:
        n_exemplars: pictures kept of each class, the first by name (default: as many as the smallest class has).

    Raises:
        ConfigError: no such folder, no pictures, or a class with fewer than `n_exemplars`.
    """
    root = given(source)
    if not root.exists():
        raise ConfigError(f"{source}: no such file or folder; {_EXPECTED}.")
    try:
        drawings = find_drawings(root)
        found = {"/".join(key): tuple(files.values()) for key, files in drawings.items()}
    except ConfigError as none_or_damaged:
        found = _class_folders(root) if root.is_dir() else {}
        if not found:
            damaged = "not a readable zip" in str(none_or_damaged)
            loose = sum(map(_is_picture, root.iterdir())) if root.is_dir() else 0
            what = f"{loose} pictures, but no folder of a class" if loose else "no pictures"
            raise none_or_damaged if damaged else ConfigError(f"{source}: found {what}; {_EXPECTED}.") from None
    smallest, fewest = min(((name, len(files)) for name, files in found.items()), key=lambda item: item[1])
    kept = fewest if n_exemplars is None else n_exemplars
    if not 1 <= kept <= fewest:
        raise ConfigError(f"--exemplars {kept}: class {smallest} has {fewest} pictures; give 1 to {fewest}.")
    return Pictures(tuple(found), tuple(files[:kept] for files in found.values()))


def _class_folders(root: Path) -> dict[str, tuple[Path, ...]]:
    found = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        files = tuple(sorted(filter(_is_picture, folder.iterdir())))
        if files:
            found[folder.name] = files
    return found


def _is_picture(path: Path) -> bool:
    return not path.name.startswith(".") and path.suffix.lower() in _ENDINGS


def unused(source: str | Path, found: Pictures) -> str:
    """Which pictures and folders of a folder of classes are not used, in a sentence; '' where all are.

    Args:
        source: as of `find_pictures`.
        found: what that gave.
    """
    root = given(source)
    folders = [path for path in sorted(root.iterdir()) if path.is_dir()] if root.is_dir() else []
    classes = _class_folders(root) if root.is_dir() else {}
    if set(classes) != set(found.names):  # Omniglot's
        return ""
    parts = []
    more = sum(len(files) for files in classes.values()) - len(found.names) * found.n_exemplars
    if more:
        smallest = min(classes, key=lambda name: len(classes[name]))
        parts.append(f"the smallest, {smallest}, has {len(classes[smallest])}, and {more:,} pictures are not used")
    empty = [path.name for path in folders if path.name not in classes and not path.name.startswith(".")]
    if empty:
        some = ", ".join(empty[:3]) + (", ..." if len(empty) > 3 else "")
        parts.append(f"{some} {'has' if len(empty) == 1 else 'have'} no pictures")
    return f"{len(classes):,} classes: {'; '.join(parts)}." if parts else ""


def load(picture: Path | tuple[str, bytes], size: int) -> np.ndarray:
    """One picture, [3, size, size] float32 in 0..1: its shorter side brought to `size` (bilinear), and the middle of
    that. A grey picture has three equal channels.

    Raises:
        ConfigError: a damaged file.
    """
    where, content = (picture, picture) if isinstance(picture, Path) else (picture[0], io.BytesIO(picture[1]))
    try:
        with Image.open(content) as opened:
            image = opened.convert("RGB")
    except Exception as error:  # Pillow raises half a dozen kinds on a damaged file
        raise ConfigError(f"{where}: not a readable picture ({error}). Copy it again, or delete it.") from error
    width, height = image.size
    scale = size / min(width, height)
    image = image.resize((max(size, round(width * scale)), max(size, round(height * scale))), Image.Resampling.BILINEAR)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.float32) / 255
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def class_names(pictures: Pictures, transforms: int) -> tuple[str, ...]:
    """One name per class, in the order of the file: every transform of a picture's class side by side."""
    return tuple(name + suffix(*t) for name in pictures.names for t in TRANSFORMS[transforms])
