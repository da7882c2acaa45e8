"""Tables that were computed before, kept in the run's own `cache/`, or, where that cannot be written to, in the
user's cache folder (`~/.cache/mechicl`).

A table is found by everything that it depends on: the sha256 of each checkpoint it read, the
run's config and bank, the settings of the call, and mechicl's own code. Delete `RUN/cache`
whenever you like.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

import mechicl
from mechicl.config import to_dict
from mechicl.errors import SeriesError
from mechicl.series import Series, elsewhere
from mechicl.system.devices import CPU, kind_of
from mechicl.system.disk import is_file, own_place
from mechicl.system.files import read_json, write_atomic, write_json
from mechicl.system.user_cache import user_cache

_WORTH = 8  # fewer checkpoints are measured sooner than looked up


def cached(
    series: Series, measure: str, steps: Sequence[int], settings: dict[str, Any], compute: Callable[[], pd.DataFrame]
) -> pd.DataFrame:
    """`compute()`, or the same table from an earlier call.

    A checkpoint file that changed since is noticed and `compute` runs (and will name it). A run
    that cannot be written to is measured all the same.

    Args:
        measure: a name; steps: which checkpoints are read; settings: all else the table
            depends on, as plain data.
    """
    if len(steps) < _WORTH:
        return compute()
    files = [[step, series.entry(step).sha256] for step in steps]
    known = [_code(), measure, series.name, to_dict(series.config), series.manifest["bank"], files, settings]
    known += [kind_of(series.device)] if series.device != CPU else []  # whose sums come in another order
    key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]
    name, folders = f"{measure}-{key}.parquet", _folders(series.root)
    for folder in folders:
        with suppress(OSError, ValueError):  # torn by something other than mechicl, or not to be read: make it again
            if is_file(folder / name) and _unchanged(series, steps, folder):
                return pd.read_parquet(folder / name)
    table = compute()
    for folder in folders:
        with suppress(OSError, SeriesError):  # a full or read-only disk: the next one, or there is just no cache
            write_atomic(folder / name, table.to_parquet())
            break
    return table


def _folders(root: Path) -> list[Path]:
    """Where a run's tables may be kept, the first choice first."""
    own: list[Path] = []
    with suppress(SeriesError):  # a link to elsewhere
        own.append(own_place(root, root / "cache" / "x").parent)
    home = user_cache(hashlib.sha256(os.fsencode(root)).hexdigest()[:16])
    return own if home is None else [*own, home]


def _unchanged(series: Series, steps: Sequence[int], folder: Path) -> bool:
    """Whether each file still has its recorded sha256. A file is read again only if its size or
    one of its times is not what it was when it last had, as noted in `folder`."""
    path = folder / "files.json"
    try:
        seen = read_json(path)
    except SeriesError:
        seen = {}
    before = dict(seen)
    for entry in map(series.entry, steps):
        stamp = [entry.sha256, *(x for path in elsewhere.files(series, entry) for x in _stamp(path))]
        if seen.get(entry.file) == stamp:
            continue
        if elsewhere.problem(series, entry) is not None:
            return False
        seen[entry.file] = stamp
    if seen != before:
        with suppress(OSError, SeriesError):
            write_json(path, seen)
    return True


def _stamp(path: Path) -> list[int]:
    """Size, inode and times: a change of content always changes the last of them."""
    try:
        found = path.stat()
    except OSError:
        return []
    return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]


@cache
def _code() -> str:
    """sha256 of all of mechicl's source: other code may measure otherwise."""
    root = Path(mechicl.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
