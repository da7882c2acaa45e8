"""The tensors of many files of a run at once, stacked, about as fast as their bytes can be read and checked.

Loaded one by one, the small tensors of a checkpoint take a third of a millisecond. Python's lock is held meanwhile, so
a second thread hardly helps. Here each file is read straight to its final place in memory, and one call converts a
tensor in all files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mechicl.errors import SeriesError
from mechicl.models import dtypes
from mechicl.series.storage import Entry, place, read_into

if TYPE_CHECKING:
    from torch import Tensor

    from mechicl.models.params import Params

_LINE = 64  # bytes; a row begins a cache line


def stack_tensors(root: Path, entries: Sequence[Entry], check: Callable[[Params, Entry], None]) -> Params:
    """Tensors of several files of the same names and shapes, as float32, stacked along a first axis.

    Args:
        check: called with the tensors of a file, once for all files that share a header; raises if the tensors are
            wrong.

    Raises:
        SeriesError: a file is missing, torn or altered, by name.
    """
    import torch

    from mechicl.system.work_queue import Piece, share

    if not entries:
        return {}
    longest = max(entry.bytes for entry in entries)
    rows = np.empty((len(entries), -(-longest // _LINE) * _LINE), np.uint8)
    _wanted_soon(root, entries)
    share([partial(read_into, root, entry, row.data) for entry, row in zip(entries, rows, strict=True)], rows.size)
    alike: dict[tuple[bytes, int], list[int]] = {}  # the files of each header: one, unless several versions wrote them
    for i, (row, entry) in enumerate(zip(rows, entries, strict=True)):
        header = row[: 8 + int.from_bytes(row[:8].tobytes(), "little")].tobytes()
        alike.setdefault((header, entry.bytes), []).append(i)
    out: Params = {}
    work: list[Piece] = []
    whole = len(alike) == 1
    for (header, size), which in alike.items():
        first = entries[which[0]]
        views = _views(rows if whole else rows[which], header, size, f"{root}: {first.file}")
        check({name: x[0] for name, x in views.items()}, first)
        for name, x in views.items():
            into = out.setdefault(name, torch.empty(len(entries), *x.shape[1:]))
            parts = [(slice(None), x)] if whole else zip(which, x, strict=True)
            work += [partial(into.__setitem__, *each) for each in parts]
    share(work, rows.size)
    return out


def _wanted_soon(root: Path, entries: Sequence[Entry]) -> None:
    """Ask the system, where it can do this, to read the files while the first of them are checked."""
    sound = [path for path, problem in (place(root, entry) for entry in entries) if problem is None]
    for path in sound if hasattr(os, "posix_fadvise") else ():
        with suppress(OSError), open(path, "rb") as file:  # whoever reads the file says what is wrong with it
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def _views(rows: np.ndarray, header: bytes, size: int, where: str) -> dict[str, Tensor]:
    """The tensors of safetensors files with the same header and size, without a copy: [row, ...], one row per file."""
    import safetensors
    import torch

    try:
        found = dict(safetensors.deserialize(header + bytes(max(0, size - len(header)))))  # whether it is sound
        offsets = {name: x["data_offsets"] for name, x in json.loads(header[8:]).items() if name != "__metadata__"}
        kinds = {name: found[name]["dtype"] for name in offsets}  # in the file's order, which `found` has not
        dtypes.check(kinds.items())
    except (safetensors.SafetensorError, dtypes.ForeignDtype) as error:
        raise SeriesError(f"{where} is not a file of weights ({error}).") from None
    bytes_ = torch.from_numpy(rows[:, len(header) :])
    out = {}
    for name, kind in kinds.items():
        dtype, part = getattr(torch, dtypes.FLOATS[kind]), bytes_[:, slice(*offsets[name])]
        if part.storage_offset() % dtype.itemsize:  # another library's header need not end where numbers may begin
            part = part.clone()
        out[name] = part.view(dtype).view(len(rows), *found[name]["shape"])
    return out
