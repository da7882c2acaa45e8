"""Series whose checkpoints other software wrote (sources/). Their files stay where they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mechicl.errors import SeriesError
from mechicl.series.storage import Entry, file_problem, load_tensors
from mechicl.system.commands import command
from mechicl.system.disk import is_file
from mechicl.system.files import read_json

if TYPE_CHECKING:
    from mechicl.models.params import Params
    from mechicl.series.series import Series


ORIGIN = "hub.json"  # in a series that was fetched from a hub: which, and whether it is whole


def check_fetched(root: Path) -> None:
    """See that a folder is not a published series that has come only in part.

    Raises:
        SeriesError: it is; how to go on.
    """
    if not is_file(root / "manifest.json") and is_file(root / ORIGIN):
        again = command("open", f"hub:{read_json(root / ORIGIN).get('repository')}", "--out", root)
        raise SeriesError(f"{root} is not a complete run yet: its download was interrupted. Continue it with {again}.")


def is_source(root: Path) -> bool:
    """Whether a folder holds checkpoints that mechicl did not write and can open."""
    from mechicl.sources.base import SOURCES

    return root.is_dir() and any(source.claims(str(root)) for source in SOURCES.values())


def is_address(path: object) -> bool:
    """Whether it names a repository on the Hugging Face hub, hub:USER/NAME or hub:USER/NAME@PATTERN."""
    return str(path).startswith("hub:")


def opened(path: str | Path) -> Series:
    """The series of such a folder or address; it is made now if there is none yet."""
    from mechicl.sources.opening import open_source

    return open_source(path)


def is_light(series: Series) -> bool:
    """Whether its checkpoints lie elsewhere."""
    return not series.manifest.get("source", {"copied": True})["copied"]


def assumed(series: Series) -> str | None:
    """Where nobody said how many sequences a step has: how many are assumed, and why that may be wrong. Else None."""
    return series.manifest.get("source", {}).get("assumed")


def problem(series: Series, entry: Entry) -> str | None:
    """What is wrong with one file of the index, or None."""
    if not is_light(series):
        return file_problem(series.root, entry)
    from mechicl.sources.reading import problem

    return problem(series.manifest["source"], entry)


def files(series: Series, entry: Entry) -> list[Path]:
    """Where a checkpoint lies on this machine: one file, or several if other software wrote it."""
    if not is_light(series):
        return [series.root / entry.file]
    from mechicl.sources.base import SOURCES

    record = series.manifest["source"]
    return SOURCES.find(record["kind"]).here(record, entry.step)


def weights(series: Series, entry: Entry) -> Params:
    """A checkpoint's tensors, under the names of HookedTransformer."""
    if not is_light(series):
        return load_tensors(series.root, entry)
    from mechicl.sources.reading import weights

    return weights(series.root, series.manifest["source"], entry)
