"""A series that `mechicl publish` put on the hub: `hub:USER/NAME`, fetched whole and checked against its own index.

It becomes a run as any other. `hub.json` in it says which repository and commit it is. What is there already with the
right bytes is not fetched again, so that an interrupted call goes on; the manifest, which makes it a run, comes last.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mechicl.errors import ConfigError, SeriesError
from mechicl.series import Series, open_series
from mechicl.series.elsewhere import ORIGIN
from mechicl.series.origin import START
from mechicl.series.storage import file_problem, locked
from mechicl.sources import hub_api, hub_cache
from mechicl.sources.base import step_in
from mechicl.system.disk import check_writable, explained, is_file, own_place
from mechicl.system.files import read_json, write_atomic, write_json
from mechicl.system.paths import shown
from mechicl.system.progress import each
from mechicl.tasks.text.corpus import FILES
from mechicl.training.graft import INITIAL

MANIFEST = "manifest.json"
SMALL = ("config.json", "index.jsonl", "metrics.jsonl", *FILES, INITIAL, START)  # of a run, beside its checkpoints
LARGE = r"(weights|state)/step_\d+\.safetensors"


def is_published(place: str) -> bool:
    """Whether it is the address of a whole series, not of revisions."""
    return place.startswith(hub_api.PREFIX) and hub_api.parsed(place)[1] is None


def fetch(place: str, root: Path, progress: bool) -> Series:
    """The series at an address, in `root`: fetched, gone on with, brought up to date, or used as it is.

    Raises:
        ConfigError: there is no such series.
        SeriesError: the directory holds another run, the hub cannot be reached, or a file is not the one that the index
            records.
    """
    repo = hub_api.parsed(place)[0]
    have = _origin(root)
    if is_file(root / MANIFEST) and have.get("repository") != repo:
        raise SeriesError(f"{shown(root)} contains another run: choose another folder with --out DIR.")
    try:
        commit, files = _listed(repo)
    except hub_api.Unreachable:
        if not have.get("whole"):
            raise
        return open_series(root)
    if have == {"repository": repo, "commit": commit, "whole": True}:
        return open_series(root)
    check_writable(root, "Open it elsewhere with --out DIR.")
    with explained(root):
        root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        write_json(root / ORIGIN, {"repository": repo, "commit": commit, "whole": False})
        for file in each(files, f"fetch {repo}", show=progress, unit=" files"):
            _put(repo, commit, file, root)
        series = open_series(root)
        if wrong := [problem for entry in series.entries if (problem := file_problem(root, entry))]:
            raise SeriesError(f"{place} does not match its index: {wrong[0]} ({len(wrong)} files in all).")
        write_json(root / ORIGIN, {"repository": repo, "commit": commit, "whole": True})
    return series


def _origin(root: Path) -> dict[str, Any]:
    return read_json(root / ORIGIN) if is_file(root / ORIGIN) else {}


def _listed(repo: str) -> tuple[str, list[hub_api.File]]:
    """The newest commit, and the files of a run that it has, the manifest last.

    Raises:
        ConfigError: it has no run.
    """
    refs = hub_api.refs(repo)
    files = hub_api.files(repo, refs["main"]) if "main" in refs else []
    found = [file for file in files if file.name in SMALL or re.fullmatch(LARGE, file.name)]
    manifest = [file for file in files if file.name == MANIFEST]
    if not manifest or not {"config.json", "index.jsonl"} <= {file.name for file in found}:
        some = ", ".join(name for name in refs if step_in(name) is not None)
        revisions = f" It has revisions: hub:{repo}@PATTERN opens those, as @{some.split(', ')[0]}." if some else ""
        raise ConfigError(
            f"hub:{repo} was not made by `mechicl publish`: it has no {MANIFEST}, config.json and index.jsonl."
            f"{revisions}"
        )
    return refs["main"], [*found, *manifest]


def _put(repo: str, commit: str, file: hub_api.File, root: Path) -> None:
    """One file, unless it is there with these bytes.

    Raises:
        SeriesError: other bytes came than the hub says.
    """
    from mechicl.sources.reading import digest

    target = own_place(root, root / file.name)
    if file.sha256 is not None and is_file(target) and digest([target]) == (file.bytes, file.sha256):
        return
    path = hub_api.fetched(repo, commit, file.name)
    came = digest([path])
    if came[0] != file.bytes or file.sha256 not in (None, came[1]):
        hub_cache.drop(commit)
        raise SeriesError(
            f"hub:{repo}: the downloaded {file.name} does not have the hub's sha256. Run the same command again."
        )
    write_atomic(target, path.read_bytes())
    hub_cache.drop(commit)  # the run has it
