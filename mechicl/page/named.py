"""Which runs a reader named together: runs of one folder, or the folder of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mechicl.errors import ConfigError, SeriesError
from mechicl.series import open_series
from mechicl.system.paths import given


def named_together(paths: Sequence[Path]) -> list[Path]:
    """The runs, in the order given; of a folder of runs, all that are no branches, sorted. Where all of them are
    branches, as of a sweep that begins from runs elsewhere, it is all of them.

    Raises:
        ConfigError: none is named, a folder holds none, or they do not lie in one folder.
    """
    if not paths:
        raise ConfigError("no run was given: use for example `mechicl app checkpoints/demo`.")
    found: list[Path] = []
    for path in map(given, paths):
        found += [path] if (path / "manifest.json").exists() or not path.is_dir() else _runs_in(path)
    folders = dict.fromkeys(str(path.parent.resolve()) for path in found)
    if len(folders) > 1:
        raise ConfigError(
            f"the runs are in {' and '.join(folders)}, but all runs of a page must be in one folder. Link them: `ln "
            "-s`."
        )
    return list(dict.fromkeys(found))


def _runs_in(folder: Path) -> list[Path]:
    roots = [manifest.parent for manifest in sorted(folder.glob("*/manifest.json"))]
    runs = [root for root in roots if not _is_branch(root)] or roots
    if not runs:
        raise ConfigError(
            f"{folder} is not a run and contains no run: expected a run's folder, such as checkpoints/demo, or the "
            "folder "
            "of a sweep. `mechicl train demo` trains one."
        )
    return runs


def _is_branch(root: Path) -> bool:
    """Branches that a page trains lie beside their parents, and are no seeds."""
    try:
        return open_series(root).origin is not None
    except SeriesError:
        return False  # broken: the page says so
