"""Your own exemplars from a file: .npy, .npz, .safetensors or .parquet, read as a file of features is (file.py).

    .npy          one array [class, exemplar, d]
    .npz          arrays `exemplars`, and perhaps `names` [class] and `pictures` [class, exemplar, side, side]
    .safetensors  tensors `exemplars` and `pictures`; names as JSON in the metadata `names`. What `mechicl features` and
                  `bank_file` write is read as such
    .parquet      a row per exemplar: a column `class` (a number or a name) and either one column of lists or a column
                  per feature, in their order; `exemplar`, if it is there, sorts the rows of a class

Pictures are uint8 (0 to 255, brightness) or floats from 0 to 1 (1 is ink). In a file with one array its name is free.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mechicl.errors import ConfigError
from mechicl.models import dtypes
from mechicl.system.paths import given
from mechicl.tasks.exemplar_label.features import file
from mechicl.tasks.exemplar_label.features.file import Features

if TYPE_CHECKING:
    import pandas as pd

_EXPECTED = "expected exemplars [class, exemplar, d] in a .npy, .npz, .safetensors or .parquet file"


def bank_file(
    exemplars: Any,
    path: str | Path,
    *,
    names: Any = None,
    pictures: Any = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write your own array as a file that `bank.kind='file'` trains on: `--data FILE`, or `bank.path`.

    Args:
        exemplars: [class, exemplar, d], numbers; kept as float32 (float16 stays).
        path: the file, .safetensors.
        names: a name for each class; default: its number.
        pictures: [class, exemplar, side, side], a picture of each exemplar: uint8, or floats from 0 to 1.
        provenance: how the exemplars were made, as plain data.

    Returns:
        The absolute path.

    Raises:
        ConfigError: the arrays do not fit one another, or have numbers that are not finite.

    Examples:
        >>> import numpy as np
        >>> array = np.random.default_rng(0).standard_normal((20, 5, 8))  # 20 classes, 5 exemplars, 8 numbers
        >>> mechicl.bank_file(array, "mine.safetensors").name
        'mine.safetensors'
    """
    path = given(path)
    if path.suffix != ".safetensors":
        raise ConfigError(f"{path}: expected a name that ends in .safetensors.")
    found = _features({"exemplars": exemplars, "names": names, "pictures": pictures}, str(path))
    finite(found.exemplars, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.write(path, Features(found.exemplars, found.names, 1, found.pictures, dict(provenance or {})))
    return path


def read(path: str | Path) -> Features:
    """The exemplars of a file, with names and pictures where it has them.

    Raises:
        ConfigError: it cannot be read, is of another kind, or its arrays do not fit one another.
    """
    path = given(path)
    readers = {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors, ".parquet": _parquet}
    if path.suffix not in readers:
        raise ConfigError(
            f"{path}: {_EXPECTED}. In Python, mechicl.bank_file(array, PATH) writes an array as such a file."
        )
    try:
        return readers[path.suffix](path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror or error}): {_EXPECTED}.") from None


def finite(exemplars: np.ndarray, path: str | Path) -> None:
    """Raise unless all exemplars [class, exemplar, d] are numbers."""
    for c, each in enumerate(exemplars):
        bad = np.flatnonzero(~np.isfinite(each).all(-1))
        if len(bad):
            raise ConfigError(
                f"{path}: class {c} has {len(bad)} exemplar{'s' if len(bad) > 1 else ''} with numbers that are not "
                f"finite, the first is exemplar {bad[0]}: remove them."
            )


def _npy(path: Path) -> Features:
    try:
        x = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise ConfigError(f"{path} is not an array of numbers ({error}): {_EXPECTED}.") from None
    return _features({"exemplars": x}, path)


def _npz(path: Path) -> Features:
    try:
        with np.load(path) as arrays:
            return _features(dict(arrays), path)
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is not a file of arrays of numbers and text ({error}): {_EXPECTED}.") from None


def _safetensors(path: Path) -> Features:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as opened:
            metadata = opened.metadata() or {}
        if metadata.get("format") == file.FORMAT:
            found = file.read(path)
            file.check(path, found)
            return found
        arrays: dict[str, Any] = {k: v.numpy() for k, v in dtypes.load(path.read_bytes(), dtypes.NUMBERS).items()}
        names = json.loads(metadata["names"]) if "names" in metadata else None
    except (SafetensorError, dtypes.ForeignDtype, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is not a file of tensors of numbers ({error}): {_EXPECTED}.") from None
    return _features({**arrays, "names": names}, path)


def _parquet(path: Path) -> Features:
    import pandas as pd
    from pyarrow import ArrowInvalid

    try:
        table = pd.read_parquet(path)
    except ArrowInvalid as error:
        raise ConfigError(f"{path} is not a parquet table ({error}): {_EXPECTED}.") from None
    if "class" not in table:
        raise ConfigError(
            f"{path} has columns {', '.join(map(str, table.columns))}: expected a row per exemplar, with "
            "a column 'class'."
        )
    if bare := int(table["class"].isna().sum()):
        raise ConfigError(
            f"{path}: {bare} row has no class: add it, or remove the row."
            if bare == 1
            else f"{path}: {bare} rows have no class: add it, or remove the rows."
        )
    if "exemplar" in table:
        _check_once(table, path)
        table = table.sort_values("exemplar", kind="stable")
    table = table.reset_index(drop=True)
    numbers = table.drop(columns=["class", "exemplar"], errors="ignore")
    counts = table["class"].value_counts(sort=False)
    if not len(counts) or not len(numbers.columns) or counts.min() != counts.max():
        few, many = (counts.idxmin(), counts.idxmax()) if len(counts) else ("", "")
        held = f"class {few} has {counts.min()} rows and {many} has {counts.max()}" if len(counts) else "no rows"
        raise ConfigError(
            f"{path}: {held}, in {len(numbers.columns)} columns of features: expected as many exemplars "
            "in each class, and at least one feature."
        )
    groups = {name: part.index.to_numpy() for name, part in table.groupby("class", sort=True)}
    try:
        lists = len(numbers.columns) == 1 and numbers.iloc[:, 0].map(lambda x: isinstance(x, np.ndarray)).all()
        wide = np.float32 if (numbers.dtypes == np.float32).all() else np.float64
        values = np.stack(list(numbers.iloc[:, 0])) if lists else numbers.to_numpy(wide)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{path}: expected features that are numbers, with the same count in each row ({error})."
        ) from None
    x = np.stack([values[rows] for rows in groups.values()])
    found = _features({"exemplars": x, "names": [str(name) for name in groups]}, path)
    return found if lists else replace(found, columns=tuple(map(str, numbers.columns)))


def _check_once(table: pd.DataFrame, path: Path) -> None:
    """Raise if a class has an exemplar twice: it could be trained on and held out."""
    twice = table[table.duplicated(["class", "exemplar"])]
    if len(twice):
        first, more = twice.iloc[0], "s" if len(twice) > 1 else ""
        raise ConfigError(
            f"{path}: class {first['class']} has exemplar {first['exemplar']} twice: remove one row, give it a "
            f"number of its own, or leave out the column 'exemplar'. ({len(twice)} such row{more})"
        )


def _features(arrays: Mapping[str, Any], path: str | Path) -> Features:
    """Arrays by name as Features, checked against one another."""
    arrays = {k: v for k, v in arrays.items() if v is not None}
    others = [k for k in arrays if k not in ("names", "pictures")]
    key = "exemplars" if "exemplars" in arrays else others[0] if len(others) == 1 else None
    if key is None:
        raise ConfigError(
            f"{path} holds {', '.join(arrays) or 'nothing'}: expected an array `exemplars` "
            "[class, exemplar, d], and optionally `names` and `pictures`."
        )
    x = np.asarray(arrays[key])
    if x.dtype.kind not in "fiub" or x.ndim != 3 or 0 in x.shape:
        raise ConfigError(
            f"{path}: {key} has shape {x.shape} and type {x.dtype}: expected numbers [class, exemplar, d]."
        )
    x = x if x.dtype in (np.float16, np.float32) else _narrowed(x, key, path)
    names = arrays.get("names", range(len(x)))
    names = tuple(f"class {name}" if isinstance(names, range) else str(name) for name in names)
    if len(names) != len(x):
        raise ConfigError(f"{path}: {len(names)} names for {len(x)} classes: expected one for each.")
    return Features(x, names, 1, _pictures(arrays.get("pictures"), x, path))


def _narrowed(x: np.ndarray, key: str, path: str | Path) -> np.ndarray:
    """As float32.

    Raises:
        ConfigError: a number is too large for it.
    """
    with np.errstate(over="ignore"):
        out = x.astype(np.float32)
    beyond = np.isinf(out) & np.isfinite(x)
    if beyond.any():
        raise ConfigError(
            f"{path}: {key} has numbers as large as {np.abs(x[beyond]).max():.3g}: expected at most "
            f"{np.finfo(np.float32).max:.3g}, as float32 holds. Divide them by their scale."
        )
    return out


def _pictures(given: Any, x: np.ndarray, path: str | Path) -> np.ndarray | None:
    if given is None:
        return None
    pictures = np.asarray(given)
    square = pictures.ndim == 4 and pictures.shape[:2] == x.shape[:2] and pictures.shape[2] == pictures.shape[3]
    if not square or not (pictures.dtype.kind == "f" or pictures.dtype == np.uint8):
        raise ConfigError(
            f"{path}: pictures have shape {pictures.shape} and type {pictures.dtype}: expected "
            f"({x.shape[0]}, {x.shape[1]}, side, side), of uint8 or of floats from 0 to 1."
        )
    if pictures.dtype == np.uint8:
        return pictures
    if not (pictures.min() >= 0 and pictures.max() <= 1):  # NaN too
        raise ConfigError(
            f"{path}: pictures of floats have numbers from {pictures.min():g} to {pictures.max():g}: "
            "expected 0 to 1, where 1 is ink; or uint8 from 0 to 255."
        )
    return pictures.astype(np.float32)
