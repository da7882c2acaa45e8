"""Tables that were computed before, kept in the run's own `cache/`, or, where that cannot be written to, in the
user's cache folder (`~/.cache/mechicl`).

A table is found by everything that it depends on: the sha256 of each checkpoint it read, the
run's config and bank, the settings of the call, and the code: mechicl's own, and of the modules that registered
something, with what else lies beside them and was imported. While it is made, what there is of it lies in
files of its own (`Parts`), which are dropped once it is whole. Delete `RUN/cache` whenever you like.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

import mechicl
from mechicl.config import to_dict
from mechicl.doors import foreign
from mechicl.errors import SeriesError
from mechicl.series import Series, elsewhere
from mechicl.system.devices import CPU, kind_of
from mechicl.system.disk import is_file, own_place
from mechicl.system.files import read_json, write_atomic, write_json
from mechicl.system.user_cache import user_cache

_WORTH = 8  # fewer checkpoints are measured sooner than looked up; of large models a quarter as many
Stamps = dict[str, list[Any]]  # a checkpoint's file in the index -> its sha256, and what the system says of its files
Kept = tuple[list[int], pd.DataFrame, Stamps]  # numbers of chunks, their rows, and the stamps of their files


def worth(steps: int, chunks: int = 1) -> bool:
    """Whether a table is kept. chunks: how many pieces its checkpoints are measured in."""
    return steps >= _WORTH or chunks >= max(2, _WORTH // 4)


class NotKept(Exception):
    """A table is not there, and was only to be looked for."""


_looking: ContextVar[bool] = ContextVar("looking", default=False)


def kept(measured: Callable[[], pd.DataFrame]) -> pd.DataFrame | None:
    """What a call of a measure gives if an earlier one left its table, or None: nothing is computed.

    Args:
        measured: calls a measure that keeps its tables (`over_checkpoints`).
    """
    token = _looking.set(True)
    try:
        return measured()
    except NotKept:
        return None
    finally:
        _looking.reset(token)


def only_kept() -> bool:
    """Whether tables are looked for alone (`kept`)."""
    return _looking.get()


def cached(series: Series, name: str, steps: Sequence[int], compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """`compute()`, or the same table from an earlier call.

    A checkpoint file that changed since is noticed and `compute` runs (and will name it). A run
    that cannot be written to is measured all the same.

    Args:
        name: of the table (`named`); steps: which checkpoints are read.
    """
    file, folders = f"{name}.parquet", _folders(series.root)
    for folder in folders:
        with suppress(OSError, ValueError):  # torn by something other than mechicl, or not to be read: make it again
            if is_file(folder / file) and _unchanged(series, steps, folder):
                return pd.read_parquet(folder / file)
    if only_kept():
        raise NotKept(file)
    table = compute()
    for folder in folders:
        with suppress(OSError, SeriesError):  # a full or read-only disk: the next one, or there is just no cache
            write_atomic(folder / file, table.to_parquet())
            break
    return table


def named(series: Series, measure: str, steps: Sequence[int], settings: dict[str, Any]) -> str:
    """The name of a table's file, without its end: the same for the same call on the same checkpoints alone.

    Args:
        measure: a name; settings: all that the table depends on beside the run and its checkpoints, as plain data.
    """
    files = [[step, series.entry(step).sha256] for step in steps]
    known = [
        _code(),
        _code_of_plugins(),
        measure,
        series.name,
        to_dict(series.config),
        series.manifest["bank"],
        files,
        settings,
    ]
    known += [kind_of(series.device)] if series.device != CPU else []  # whose sums come in another order
    return f"{measure}-{hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]}"


@dataclass(frozen=True)
class Parts:
    """What there is of a table that is not whole yet: files of rows, each of some chunks in a row.

    Several processes may add to it. Each writes files of its own, whole or not at all. So a process that is killed
    leaves no half of one, and what it had written counts.
    """

    series: Series
    name: str  # of the table, `named`

    def numbers(self) -> set[int]:
        """Which chunks there are."""
        return {number for path in self._paths() for number in _numbers(path)}

    def read(self, chunks: Sequence[Sequence[int]], wanted: Iterable[int]) -> list[Kept]:
        """What there is of some chunks, each once. A part that cannot be read, or whose checkpoints changed since, is
        deleted.

        Args:
            chunks: the steps of each.
            wanted: the numbers of those to read.
        """
        out, left = [], set(wanted)
        for path in self._paths():
            numbers = sorted(left.intersection(_numbers(path)))  # two processes may have made the same one
            if not numbers:
                continue
            steps = [step for number in numbers for step in chunks[number]]
            with suppress(OSError, ValueError, KeyError):
                table = pd.read_parquet(path)
                stamps = table.attrs.pop("files")
                if _same(self.series, steps, stamps):
                    if len(numbers) < len(_numbers(path)):
                        table = table[table.step.isin(steps)].reset_index(drop=True)
                    out.append((numbers, table, stamps))
                    left.difference_update(numbers)
                    continue
            with suppress(OSError):
                path.unlink()
        return out

    def write(self, numbers: Sequence[int], table: pd.DataFrame, stamps: Stamps) -> bool:
        """Keep the rows of some chunks in a row; False where no folder can be written to.

        Args:
            stamps: of the checkpoints' files, from before they were read (`stamps_of`).
        """
        table.attrs["files"] = stamps
        name = f"{numbers[0]:06d}-{numbers[-1]:06d}-{uuid.uuid4().hex[:12]}.parquet"
        try:
            for folder in self._places():
                with suppress(OSError, SeriesError):
                    write_atomic(folder / name, table.to_parquet())
                    return True
        finally:
            table.attrs.clear()
        return False

    def drop(self, stamps: Stamps) -> None:
        """The table is whole: delete its parts. What is known of the checkpoints' files stays."""
        for folder in self._places():
            shutil.rmtree(folder, ignore_errors=True)
        for folder in _folders(self.series.root):
            with suppress(OSError, SeriesError):
                seen = _seen(folder)
                if not stamps.items() <= seen.items():
                    write_json(folder / "files.json", seen | stamps)
                break

    def _places(self) -> list[Path]:
        return [folder / f"{self.name}.parts" for folder in _folders(self.series.root)]

    def _paths(self) -> Iterator[Path]:
        for folder in self._places():
            with suppress(OSError):
                yield from sorted(folder.glob("[0-9]*.parquet"))


def _numbers(path: Path) -> range:
    try:
        first, last, _ = path.stem.split("-")
        return range(int(first), int(last) + 1)
    except ValueError:
        return range(0)


def _folders(root: Path) -> list[Path]:
    """Where a run's tables may be kept, the first choice first."""
    own: list[Path] = []
    with suppress(SeriesError):  # a link to elsewhere
        own.append(own_place(root, root / "cache" / "x").parent)
    home = user_cache(hashlib.sha256(os.fsencode(root)).hexdigest()[:16])
    return own if home is None else [*own, home]


def stamps_of(series: Series, steps: Iterable[int]) -> Stamps:
    """What tells that checkpoints' files are still those that were read, if it is taken before they are."""
    out = {}
    for entry in map(series.entry, steps):
        out[entry.file] = [entry.sha256, *(x for path in elsewhere.files(series, entry) for x in _stamp(path))]
    return out


def _seen(folder: Path) -> Stamps:
    try:
        return read_json(folder / "files.json")
    except SeriesError:
        return {}


def _unchanged(series: Series, steps: Sequence[int], folder: Path) -> bool:
    """Whether each file still has its recorded sha256, by what is noted in `folder`."""
    before = _seen(folder)
    seen = dict(before)
    same = _same(series, steps, seen)
    if same and seen != before:
        with suppress(OSError, SeriesError):
            write_json(folder / "files.json", seen)
    return same


def _same(series: Series, steps: Iterable[int], seen: Stamps) -> bool:
    """Whether each file still has its recorded sha256. A file is read again only if its size or one of its times is not
    what it was when it last had, as `seen` says; that is brought up to date. One that is not on this machine, since it
    is fetched when it is needed, has not changed."""
    for entry in map(series.entry, steps):
        stamp = stamps_of(series, [entry.step])[entry.file]
        known = seen.get(entry.file)
        if known == stamp or (known and known[0] == entry.sha256 and len(stamp) == 1):
            continue
        if elsewhere.problem(series, entry) is not None:
            return False
        seen[entry.file] = stamp
    return True


def _stamp(path: Path) -> list[int]:
    """Size, inode and times: a change of content always changes the last of them."""
    try:
        found = path.stat()
    except OSError:
        return []
    return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]


def _code_of_plugins() -> list[str]:
    """sha256 of the sources of modules that registered something of their own: an evaluator, a task, a bank. What was
    registered in a notebook has no file: its tables are never found again."""
    named = [getattr(sys.modules.get(name), "__file__", None) for name in foreign()]
    if None in named:
        return [uuid.uuid4().hex]
    folders = {Path(str(file)).parent for file in named}
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())} if folders else set()
    mine = sorted(path for path in map(Path, filter(None, files)) if folders.intersection(path.parents))
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in mine if "site-packages" not in path.parts]


@cache
def _code() -> str:
    """sha256 of all of mechicl's source: other code may measure otherwise."""
    root = Path(mechicl.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
