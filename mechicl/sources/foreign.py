"""Whether a place is of other software: what mechicl trained needs no `mechicl open`."""

from __future__ import annotations

from pathlib import Path

from mechicl.errors import ConfigError
from mechicl.series.opening import check_single
from mechicl.system.commands import command
from mechicl.system.disk import is_file
from mechicl.system.files import read_json
from mechicl.system.paths import shown


def check_foreign(place: Path) -> None:
    """See that a folder is no run of mechicl's, nor a run's weights, nor a folder of runs.

    Raises:
        ConfigError, SeriesError: it is; how it is looked at.
    """
    run = place.parent if place.name == "weights" and is_file(place.parent / "index.jsonl") else place
    if is_file(run / "manifest.json") and "format" in (there := read_json(run / "manifest.json")):
        if there.get("source", {}).get("place") == str(place):  # a series that was made in the source's own folder
            return
        raise ConfigError(
            f"{shown(place)} {'belongs to' if run != place else 'is'} a mechicl run already, which needs no `open`: "
            f"{command('show', run)}."
        )
    check_single(run)
