"""Documents: the text that a model is trained on, one file each, from files, folders, or the library of the Python that
runs this.

Not every file is a document. Left out, and counted, are hidden files and folders, files that are no text in UTF-8, are
empty or larger than LARGEST, and files with the same content as one before: if one copy were trained on and the other
held out, the split would leak.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import platform
import sysconfig
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mechicl.errors import ConfigError
from mechicl.system.disk import reason
from mechicl.system.paths import given, shown

LARGEST = 16 * 2**20  # bytes of a file: what is larger is mostly a data dump, and would be one single document
# Folders of Python's library that are no part of it or not always installed: what others installed beside it, its own
# tests; and tables of character sets.
_NOT_PYTHON = frozenset({"site-packages", "dist-packages", "test", "encodings", "__pycache__"})


@dataclass(frozen=True)
class Document:
    """One text. file: its name, from the folder that was named on, with '/' between its parts."""

    file: str
    data: bytes = field(repr=False)

    @property
    def text(self) -> str:
        return self.data.decode("utf-8")

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Documents:
    """What was read, by name, and what was left out: reason -> how many files. origin: where from, in words."""

    found: tuple[Document, ...]
    left_out: dict[str, int]
    origin: str

    @property
    def bytes(self) -> int:
        return sum(len(each.data) for each in self.found)

    def __repr__(self) -> str:
        return f"Documents({len(self.found):,} of {self.origin}, {self.bytes / 1e6:.1f} MB)"


def read(places: Sequence[str | Path], patterns: Sequence[str] = ("*",), without: Sequence[Path] = ()) -> Documents:
    """The documents in files and folders.

    Args:
        places: files, which count whatever they are called, and folders, searched with all that is in them.
        patterns: of files in folders, as '*.md'; a pattern with '/' is matched with the path inside the folder.
        without: files in folders that are no documents, such as their tokenizer.json.

    Raises:
        ConfigError: a place is not there or cannot be read, or there is no document in all of them.
    """
    left_out: Counter[str] = Counter()
    files: dict[Path, str] = {}  # a file that two places name is one
    for place in map(given, places):
        if place.is_dir():
            found = {path: name for path, name in _inside(place, patterns, left_out) if path not in without}
        elif place.exists():
            found = {place: place.name}
        else:
            raise ConfigError(f"{shown(place)}: no such file or folder.")
        files = found | files
    origin = ", ".join(given(place).name for place in places)
    return _documents(files, left_out, origin, shown(given(places[0])) if len(places) == 1 else "the files named")


def of_python() -> Documents:
    """The library of the Python that runs this: its modules, which hold their documentation, without its tests."""
    root = Path(sysconfig.get_paths()["stdlib"])
    left_out: Counter[str] = Counter()
    files = dict(_inside(root, ("*.py",), left_out, _NOT_PYTHON))
    return _documents(files, left_out, f"the library of Python {platform.python_version()}", str(root))


def _inside(
    root: Path, patterns: Sequence[str], left_out: Counter[str], without: frozenset[str] = frozenset()
) -> Iterator[tuple[Path, str]]:
    """The files of a folder that match, each with its name."""

    def unreadable(error: OSError) -> None:
        raise ConfigError(f"{error.filename}: cannot be read: {reason(error)}.")

    for folder, inner, files in os.walk(root, onerror=unreadable):
        left_out["hidden"] += sum(name.startswith(".") for name in inner)
        inner[:] = sorted(name for name in inner if not name.startswith(".") and name not in without)
        for name in sorted(files):
            path = Path(folder, name)
            inside = path.relative_to(root).as_posix()
            if not any(fnmatch.fnmatchcase(inside if "/" in each else name, each) for each in patterns):
                continue
            if name.startswith("."):
                left_out["hidden"] += 1
            elif path.is_file():  # not a pipe or a device, which would never end
                yield path, inside


def _documents(files: dict[Path, str], left_out: Counter[str], origin: str, place: str) -> Documents:
    found, seen = [], set()
    for path, name in sorted(files.items(), key=lambda item: item[1]):
        try:
            size = path.stat().st_size
            data = b"" if size > LARGEST else path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{shown(path)}: cannot be read: {reason(error)}.") from None
        document = Document(name, data)
        if problem := _no_document(size, data):
            left_out[problem] += 1
        elif document.sha256 in seen:
            left_out["the same again"] += 1
        else:
            seen.add(document.sha256)
            found.append(document)
    kept = {why: count for why, count in sorted(left_out.items()) if count}
    if not found:
        raise ConfigError(
            f"{place}: found no documents: expected files of UTF-8 text of at most {LARGEST // 2**20} MB"
            f"{f' (skipped: {counted(kept)})' if kept else ''}."
        )
    return Documents(tuple(found), kept, origin)


def _no_document(size: int, data: bytes) -> str | None:
    """Why a file is left out; None: it is not."""
    if size > LARGEST:
        return f"larger than {LARGEST // 2**20} MB"
    if not data.strip():
        return "empty"
    try:
        return "no text in UTF-8" if "\0" in data.decode("utf-8") else None
    except UnicodeDecodeError:
        return "no text in UTF-8"


def counted(left_out: dict[str, int]) -> str:
    """'3 hidden, 1 empty'."""
    return ", ".join(f"{count:,} {why}" for why, count in left_out.items())
