"""One file of features: a safetensors file that says what it holds and what made it.

    exemplars  [class, exemplar, d]            float16 or float32
    pictures   [class, exemplar, side, side]   uint8, ink or brightness 0..255; optional

Its metadata are strings: `format`, `names` (a JSON list, one per class), `group` (that many neighbouring classes are
the same thing seen in several ways, as one character turned and flipped: they are trained on or held out together),
`provenance` (a JSON object: encoder, source, versions) and `sha256` (of the exemplars' bytes).

The arrays are mapped into memory and not read: several processes that train on one file share it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mechicl.errors import ConfigError
from mechicl.system.paths import given

FORMAT = "mechicl-features-1"
_DTYPES = {"F16": np.float16, "F32": np.float32, "U8": np.uint8}
_MAKE = "make one with `mechicl features SOURCE --encoder NAME --out FILE`"


@dataclass(frozen=True)
class Features:
    """What a file of features holds; `exemplars` and `pictures` as in the module's legend. columns: of a table, those
    that are features."""

    exemplars: np.ndarray
    names: tuple[str, ...]
    group: int = 1
    pictures: np.ndarray | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    columns: tuple[str, ...] = ()


def write(path: Path, features: Features) -> None:
    """Write a file of features; it is there whole or not at all."""
    from safetensors.numpy import save_file

    arrays = {"exemplars": features.exemplars}
    if features.pictures is not None:
        arrays["pictures"] = features.pictures
    metadata = {
        "format": FORMAT,
        "names": json.dumps(features.names),
        "group": str(features.group),
        "provenance": json.dumps(features.provenance),
        "sha256": digest(features.exemplars),
    }
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        save_file(arrays, temporary, metadata)
        temporary.chmod(0o644)  # safetensors leaves it to the owner alone
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: str | Path) -> Features:
    """Open a file of features.

    Raises:
        ConfigError: it is missing, is no such file, or is torn.
    """
    path = given(path)
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if size < 1 << 27 else None
        whole = path.stat().st_size
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): expected a file of features; {_MAKE}.") from None
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("__metadata__", {}).get("format") != FORMAT:
        raise ConfigError(f"{path} is not a file of features: {_MAKE}.")
    metadata = header.pop("__metadata__")
    arrays = {name: _map(path, 8 + size, entry, whole) for name, entry in header.items()}
    names, exemplars = tuple(json.loads(metadata["names"])), arrays["exemplars"]
    if exemplars.ndim != 3 or len(names) != len(exemplars):
        raise ConfigError(
            f"{path}: {len(names)} names for exemplars of shape {exemplars.shape}: expected one name per "
            f"class and [class, exemplar, feature]; {_MAKE} again."
        )
    return Features(
        exemplars,
        names,
        int(metadata["group"]),
        arrays.get("pictures"),
        json.loads(metadata["provenance"]),
        metadata["sha256"],
    )


def check(path: str | Path, features: Features) -> None:
    """Raise unless the exemplars are the bytes that were written (about a second per gigabyte)."""
    if digest(features.exemplars) != features.sha256:
        raise ConfigError(
            f"{path}: the sha256 of its exemplars is not the recorded one (the file was changed): {_MAKE} again."
        )


def digest(exemplars: np.ndarray) -> str:
    """sha256 of an array's bytes, in its order."""
    found = hashlib.sha256()
    for row in range(0, len(exemplars), 256):  # a part at a time: a mapped file need not fit into memory
        found.update(np.ascontiguousarray(exemplars[row : row + 256]).data)
    return found.hexdigest()


def _map(path: Path, start: int, entry: dict[str, Any], whole: int) -> np.ndarray:
    first, last = entry["data_offsets"]
    if entry["dtype"] not in _DTYPES:
        raise ConfigError(f"{path} has numbers of type {entry['dtype']}: expected {', '.join(_DTYPES)}; {_MAKE}.")
    dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])
    if start + last > whole or last - first != math.prod(shape) * dtype.itemsize:
        raise ConfigError(
            f"{path} is incomplete: it has {whole} bytes, but its header says {start + last}; {_MAKE} again."
        )
    return np.memmap(path, dtype, "r", start + first, shape)
