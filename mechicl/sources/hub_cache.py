"""Files of the hub on this machine, within a budget: what was read longest ago is dropped, and fetched again on demand.

The folder is mechicl's own (~/.cache/mechicl/hub, or where MECHICL_HUB_CACHE says), so that nothing that other
libraries have fetched is ever dropped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from mechicl.errors import ConfigError
from mechicl.system.paths import given

FOLDER = "MECHICL_HUB_CACHE"  # of the environment
BUDGET = 20 * 10**9  # bytes, unless told otherwise
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def parse_bytes(text: str) -> int:
    """'20GB', '500 MB' or '1000000' in bytes, a GB being 10^9.

    Raises:
        ConfigError: it is written otherwise.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip(), flags=re.IGNORECASE)
    size = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if size < 1:
        raise ConfigError(f"--cache {text}: expected a size, such as 20GB or 500MB.")
    return size


def root() -> Path:
    """The folder of everything that is kept."""
    if said := os.environ.get(FOLDER):
        return given(said)
    return given(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "mechicl" / "hub"


def folder() -> Path:
    """The folder of the files, in the hub client's layout."""
    return root() / "files"


def held(repo: str, commit: str, name: str) -> Path | None:
    """A file of a commit, where it is here."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, name, cache_dir=folder(), revision=commit)
    return Path(found) if isinstance(found, str) else None


def touch(paths: Iterable[Path]) -> None:
    """Note that files were read now: disks often do not."""
    for path in paths:
        with suppress(OSError):
            os.utime(path)


def drop(commit: str) -> None:
    """Take what is here of a commit out of the cache."""
    from huggingface_hub import scan_cache_dir

    if folder().is_dir():
        found = scan_cache_dir(folder())
        if any(revision.commit_hash == commit for each in found.repos for revision in each.revisions):
            found.delete_revisions(commit).execute()


def size() -> int:
    """Bytes that all files take."""
    from huggingface_hub import scan_cache_dir

    return scan_cache_dir(folder()).size_on_disk if folder().is_dir() else 0


def make_room(coming: int, budget: int, keep: str) -> None:
    """Drop commits, those read longest ago first, until `coming` more bytes fit into the budget.

    Args:
        keep: the commit that is coming: what is here of it stays.
    """
    from huggingface_hub import scan_cache_dir

    if not folder().is_dir():
        return
    while True:
        found = scan_cache_dir(folder())
        commits = [
            (max((file.blob_last_accessed for file in revision.files), default=0.0), revision.commit_hash)
            for each in found.repos
            for revision in each.revisions
            if revision.commit_hash != keep
        ]
        if found.size_on_disk + coming <= budget or not commits:
            return
        found.delete_revisions(min(commits)[1]).execute()  # one at a time: commits share files
