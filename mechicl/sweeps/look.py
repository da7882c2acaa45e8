"""A folder of runs, such as a sweep's, in the terminal: its family tree, and the sweep's summary where one was made."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mechicl.errors import ConfigError, SeriesError
from mechicl.series.tree import runs_in, tree, tree_lines
from mechicl.series.verify import verify
from mechicl.sweeps.gather import SUMMARY, as_text
from mechicl.system.disk import is_file
from mechicl.system.paths import given, shown


def show_folder(folder: str | Path) -> str:
    """What `mechicl show FOLDER` prints of a folder of runs.

    Raises:
        SeriesError: there is none in it.
    """
    folder = given(folder)
    runs = runs_in(folder)
    left = sum(not series.complete for series in runs)
    lines = [f"{shown(folder)}: {len(runs)} run{'s' * (len(runs) != 1)}{f', {left} not finished' if left else ''}", ""]
    lines += [f"  {line}" for line in tree_lines(tree(runs))]
    if is_file(folder / SUMMARY):
        lines += ["", as_text(pd.read_parquet(folder / SUMMARY))]
    return "\n".join(lines)


def verify_folder(
    folder: str | Path, *, again: int | None = 5, data: str | Path | None = None, notes: list[str] | None = None
) -> list[str]:
    """Every problem of every run in a folder, with the run's name before it; arguments as of `verify`.

    Raises:
        SeriesError: it holds no run.
    """
    problems: list[str] = []
    folder = given(folder)
    runs_in(folder)  # there is one that opens
    for path in sorted(folder.glob("*/manifest.json")):
        said: list[str] = []
        name = path.parent.name
        try:
            found = verify(path.parent, again=again, data=data, notes=said)
        except (SeriesError, ConfigError) as error:  # it cannot be opened
            found = [str(error)]
        problems += [f"{name}: {line}" for line in found]
        if notes is not None:
            notes += [f"{name}: {line}" for line in said]
    return problems
