"""Writing a run so that no file is lost or incomplete, and checking every file that is read.

A file is written under another name, flushed to the disk and then renamed, so it is there whole or not at all.
Append-only files are flushed line by line: if the process is killed, only the last line can be incomplete. A tensor
file counts once its line, with its sha256, is in `index.jsonl`.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mechicl.errors import SeriesError as SeriesError
from mechicl.models import dtypes
from mechicl.system.commands import command
from mechicl.system.disk import is_file, own_place, reason
from mechicl.system.disk import locked as locked
from mechicl.system.files import append_line, bytes_of, read_jsonl, temporary_of, write_atomic

if TYPE_CHECKING:
    from mechicl.models.params import Params


KINDS = ("weights", "state")
_COUNTS = ("step",)  # what is a whole number in a state


@dataclass(frozen=True)
class Entry:
    """One line of index.jsonl."""

    kind: str  # 'weights' or 'state'
    step: int
    sequences: int
    file: str
    bytes: int
    sha256: str


def read_index(root: Path) -> list[Entry]:
    """The saved files of a run, by kind and step.

    Raises:
        SeriesError: a line is not an entry.
    """
    path = root / "index.jsonl"
    found: dict[tuple[str, int], Entry] = {}
    for i, line in enumerate(read_jsonl(path)):
        try:
            entry = Entry(**line)
        except TypeError as error:
            raise SeriesError(f"{path}, line {i + 1}, is not an index entry ({error}).") from None
        wrong = [k for k, v in asdict(entry).items() if type(v).__name__ != Entry.__annotations__[k]]
        if wrong or entry.kind not in KINDS:
            raise SeriesError(f"{path}, line {i + 1}, is not an index entry (see {wrong or ['kind']}).")
        found[entry.kind, entry.step] = entry
    return [found[key] for key in sorted(found)]


def serialised(tensors: Params) -> bytes:
    """The bytes of a file of tensors: the same tensors are the same bytes."""
    import safetensors.torch

    return safetensors.torch.save({k: v.contiguous() for k, v in sorted(tensors.items())})


class Writer:
    """Adds tensor files to a run."""

    def __init__(self, root: Path):
        self.root = root
        self._known = {(e.kind, e.step): e for e in read_index(root)}

    def has(self, kind: str, step: int) -> bool:
        """Whether the index has this file."""
        return (kind, step) in self._known

    def save(self, kind: str, step: int, sequences: int, tensors: Params) -> None:
        """Save one file and its index line. If the index has the step already, check that a replay (resume, densify)
        gave the same bytes.

        Raises:
            SeriesError: the replay differs, or the disk is full.
        """
        data = serialised(tensors)
        file = f"{kind}/step_{step:08d}.safetensors"
        entry = Entry(kind, step, sequences, file, len(data), hashlib.sha256(data).hexdigest())
        known = self._known.get((kind, step))
        if known is not None and known.sha256 != entry.sha256:
            raise SeriesError(
                f"{self.root}: the replay gives different {kind} at step {step} from the saved ones. "
                "Replays are exact on the same machine and device, torch version and thread count "
                "(see the run's manifest.json). Nothing was overwritten."
            )
        if known is None or file_problem(self.root, known):
            write_atomic(own_place(self.root, self.root / file), data)
        if known is None:
            append_line(self.root / "index.jsonl", asdict(entry))
            self._known[kind, step] = entry


def load_tensors(root: Path, entry: Entry) -> Params:
    """Read one file of the index and check its sha256. Tensors are float32, except the step of a state.

    Raises:
        SeriesError: names a file that is missing, incomplete or altered, or has numbers that float32 cannot hold.
    """
    import safetensors

    data, problem = _read(root, entry)
    if problem:
        raise _damaged(root, problem)
    try:
        return dtypes.load(bytes(data), counts=_COUNTS if entry.kind == "state" else ())
    except (safetensors.SafetensorError, dtypes.ForeignDtype) as error:
        raise SeriesError(f"{root}: {entry.file} is not a file of {entry.kind} ({error}).") from None


def read_into(root: Path, entry: Entry, memory: memoryview) -> None:
    """Read one file of the index into the first `entry.bytes` of `memory`, checking its sha256.

    Raises:
        SeriesError: names a file that is missing, incomplete or altered.
    """
    _, problem = _read(root, entry, memory[: entry.bytes])
    if problem:
        raise _damaged(root, problem)


def _damaged(root: Path, problem: str) -> SeriesError:
    return SeriesError(f"{root}: {problem} {command('verify', root)} checks the whole run.")


LATEST = "latest.safetensors"  # the one state of a run with `keep='metrics'`, until it ends


def save_latest(root: Path, state: Params) -> None:
    """Keep this state and no earlier one, to resume from.

    Raises:
        SeriesError: the disk is full; the earlier state is still there.
    """
    write_atomic(root / LATEST, serialised(state))


def load_latest(root: Path) -> Params | None:
    """The state that `save_latest` keeps; None if there is none or it cannot be read."""
    import safetensors

    data = bytes_of(root / LATEST)
    try:
        return None if data is None else state_of(data)
    except (safetensors.SafetensorError, dtypes.ForeignDtype):
        return None


def latest_step(root: Path) -> int:
    """The step of that state; -1 if there is none or it cannot be read."""
    latest = load_latest(root)
    return -1 if latest is None else int(latest["step"])


def state_of(data: bytes) -> Params:
    """The state that a file's bytes hold."""
    return dtypes.load(data, counts=_COUNTS)


def drop_latest(root: Path) -> None:
    """Delete that state, because the run has ended and will not be resumed. In a read-only run it stays and does no
    harm."""
    for path in (root / LATEST, temporary_of(root / LATEST)):  # or what a kill left of it
        with suppress(OSError):
            path.unlink(missing_ok=True)


def file_problem(root: Path, entry: Entry) -> str | None:
    """What is wrong with one file of the index, or None."""
    return _read(root, entry)[1]


def place(root: Path, entry: Entry) -> tuple[Path, str | None]:
    """Where one file of the index lies, and the reason if it must not or cannot be opened.

    It may be a link to another place, as in the caches of model hubs. What is read counts only if it has the recorded
    size and sha256 (`_read`). Writing replaces the link (`write_atomic`).
    """
    path = root / entry.file
    if Path(entry.file).parts[:-1] != (entry.kind,) or path.name == "..":
        return path, f"{entry.file}: lies outside the run."
    try:
        return path, None if is_file(path) else f"{entry.file}: missing."
    except SeriesError as error:
        return path, f"{entry.file}: {error}"


def _read(root: Path, entry: Entry, memory: memoryview | None = None) -> tuple[memoryview, str | None]:
    """The bytes of one file of the index (in `memory`, which has its size, if given), and what is wrong with them."""
    path, problem = place(root, entry)
    if problem:
        return memoryview(b""), problem
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == entry.bytes:
                memory = memoryview(bytearray(size)) if memory is None else memory
                size = file.readinto(memory)
    except OSError as error:
        return memoryview(b""), f"{entry.file}: cannot be read: {reason(error)}."
    if memory is None or size != entry.bytes:
        problem = f"{entry.file}: {size} bytes, but {entry.bytes} were written (torn or truncated)."
    elif hashlib.sha256(memory).hexdigest() != entry.sha256:
        problem = f"{entry.file}: its sha256 is not the recorded one (altered)."
    if problem and path.is_symlink():  # do not even tell the size of a file that is not the run's
        problem = f"{entry.file}: a link to a file that is not the recorded one."
    return memory or memoryview(b""), problem
