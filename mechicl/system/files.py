"""Small files that appear whole or not at all: JSON, lines of JSON, bytes."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechicl.errors import SeriesError as SeriesError
from mechicl.system.disk import explained, is_file, reason
from mechicl.system.disk import locked as locked

if TYPE_CHECKING:
    pass


KINDS = ("weights", "state")
_COUNTS = ("step",)  # what is a whole number in a state


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Lines of an append-only file. If a process was killed while writing, the last line may have no newline. It does
    not count, and the next append removes it.

    Raises:
        SeriesError: a whole line is not a JSON object.
    """
    *lines, _torn = (bytes_of(path) or b"").split(b"\n")
    out = []
    for i, line in enumerate(lines):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise SeriesError(f"{path}, line {i + 1}, is not a JSON object: the file was changed.")
        out.append(value)
    return out


def bytes_of(path: Path) -> bytes | None:
    """A file's content; None where there is none.

    Raises:
        SeriesError: it cannot be read; the message says why.
    """
    if not is_file(path):
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise SeriesError(f"{path} cannot be read: {reason(error)}.") from error


def read_json(path: Path) -> dict[str, Any]:
    """One JSON file.

    Raises:
        SeriesError: it is missing, torn or not an object.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SeriesError(f"{path} cannot be read: {error}.") from None
    if not isinstance(value, dict):
        raise SeriesError(f"{path} is not a JSON object: the file was changed.")
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Pretty JSON, atomically."""
    write_atomic(path, json_bytes(value))


def json_bytes(value: dict[str, Any]) -> bytes:
    """What `write_json` writes."""
    return json.dumps(value, indent=1).encode() + b"\n"


def temporary_of(path: Path) -> Path:
    """Where a file is written before it is moved to `path`."""
    return path.with_name(f".{path.name}.tmp")


def write_atomic(path: Path, data: bytes) -> None:
    """Put `data` at `path`, whole or not at all; it is on the disk when this returns. A link there is replaced; the
    file that it leads to does not change.

    Raises:
        SeriesError: the disk is full, or the system has another reason; nothing was changed.
    """
    temporary = temporary_of(path)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if temporary.is_symlink():
            temporary.unlink()
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append one JSON line. An incomplete last line, left by a killed process, is removed first. A link, as in the
    caches of model hubs, first becomes the run's own file.

    Raises:
        SeriesError: the disk is full, or the system has another reason; the file did not change.
    """
    if path.is_symlink():
        write_atomic(path, bytes_of(path) or b"")
    line = json.dumps(record).encode() + b"\n"
    # Unbuffered: closing a buffered file after a failed write would write its remainder.
    with explained(path), open(path, "ab+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                file.seek(0)
                end = file.read().rfind(b"\n") + 1
                os.ftruncate(file.fileno(), end)
        try:
            while line:
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), end)
            raise


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # so that the rename itself survives a power cut
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
