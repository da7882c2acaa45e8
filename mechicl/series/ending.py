"""When a run is complete: the one meaning of it, for training, sweeps, the page and verify.

A checkpoint's weights are written before its state. So a process that is killed between the two leaves every scheduled
weight, but not the last state. Such a run is not complete: without that state it cannot be given more steps.

A run that keeps states has its folder `state/` before step 0. Where there is no such folder, the states were left out
on purpose: by `keep = "metrics"`, by `mechicl publish`, or by somebody who passed the run on. Such a run is complete.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mechicl.schedule import state_steps
from mechicl.series.origin import first_step
from mechicl.series.storage import LATEST
from mechicl.system.disk import explained

if TYPE_CHECKING:
    from mechicl.config import Config
    from mechicl.series.series import Series

STATES = "state"  # the folder, and the kind in the index


def has_states(root: Path) -> bool:
    """Whether a run has a folder of states."""
    return (root / STATES).exists()


def keep_states(root: Path, config: Config) -> None:
    """Make the folder of states, where the config says that any are kept, before the first of them.

    Raises:
        SeriesError: the disk is full.
    """
    if state_steps(config):
        with explained(root):
            (root / STATES).mkdir(exist_ok=True)


def wanted_states(series: Series) -> set[int]:
    """Steps whose state a finished run has, if it keeps states. An extended run keeps its earlier ones."""
    since = max((entry["at"] for entry in series.manifest.get("extended", ())), default=first_step(series.manifest))
    return {step for step in state_steps(series.config) if step > since}


def lost_states(series: Series) -> list[int]:
    """Steps whose state was to be kept and is not in the index, ascending."""
    if "source" in series.manifest or not has_states(series.root):
        return []
    return sorted(wanted_states(series) - {entry.step for entry in series.entries if entry.kind == STATES})


def is_complete(series: Series) -> bool:
    """Whether every scheduled checkpoint is there, with every state that the run keeps."""
    weights = {entry.step for entry in series.entries if entry.kind == "weights"}
    return set(series.manifest["schedule"]) <= weights and not lost_states(series)


def has_ended(series: Series) -> bool:
    """Whether `resume` has nothing left to do, not even to clear away what a kill left."""
    return series.complete and not (series.root / LATEST).exists()
