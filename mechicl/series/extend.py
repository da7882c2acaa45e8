"""More steps for a run. Its files keep their bytes, and the new ones are those of one longer run.

Batches, learning rate and training interventions do not depend on how many steps follow. Only the schedule does (log
points, which states are kept). So the extended run has the old schedule up to its old last step, and then the schedule
of the longer run. `config.json` then says this, with explicit steps where needed: trained from step 0, it gives the
same bytes at every step.

The manifest is written before the config. Its entry in `extended` has from, to, at (the state from which training
continues), log_points (of the first schedule) and versions. If the process is killed between the two, `settled`
finishes the extension.
"""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import Any

import numpy as np

import mechicl
from mechicl.config import Config, to_dict
from mechicl.errors import ConfigError, SeriesError
from mechicl.schedule import evaluated_steps
from mechicl.series import Series, open_series
from mechicl.series.origin import first_step, planned
from mechicl.series.settings_file import record as record_of
from mechicl.series.storage import locked
from mechicl.system.devices import CPU, record
from mechicl.system.files import write_json


def made_with(device: str | None = None, stacked: int = 1) -> dict[str, Any]:
    """What decides the last bits of a run, for its manifest. device: that it is trained on, `stacked` runs in each
    step; None: mechicl does not train it."""
    import torch

    trained = {} if device is None else {"device": record(device, stacked)}
    versions = {
        "mechicl": mechicl.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }
    return {"versions": versions, "machine": platform.machine(), **trained}


def extend(series: Series, steps: int, at: int, device: str = CPU) -> Series:
    """Plan more steps for a run, finished or not; train nothing.

    Args:
        steps: how many it will have in all.
        at: the step of the state from which training continues; device: where.

    Raises:
        ConfigError: it has as many or more; or this is not a number of steps.
        SeriesError: config.json is not what the run was trained with.
    """
    series = _finished_writing(series)
    last, begins = _planned(series), first_step(series.manifest)
    if type(steps) is not int or steps < last:
        raise ConfigError(f"--steps {steps}: {series.root} is planned for {last} steps: give more.")
    before = replace(series.config, steps=last)  # config.json may have been edited to more steps already
    if planned(before, begins) != series.manifest["schedule"]:
        raise SeriesError(
            f"{series.root / 'config.json'} has a different schedule from the one that the run was trained with "
            "(manifest.json): restore it. To train for more steps, give only --steps."
        )
    if steps == last:
        return settled(series)
    done = series.manifest.get("extended", [])
    entry = {"from": last, "to": steps, "at": at, "log_points": log_points_of(series), **made_with(device)}
    after = longer(before, steps, entry["log_points"])
    manifest = series.manifest | {"schedule": planned(after, begins), "extended": [*done, entry]} | record_of(after)
    with locked(series.root):
        write_json(series.root / "manifest.json", manifest)
        write_json(series.root / "config.json", to_dict(after))
    return open_series(series.root, series.data)


def settled(series: Series) -> Series:
    """The run, ready to continue. If the process was killed during an extension, the extension is finished.

    Raises:
        SeriesError: config.json asks for other steps than the run was begun with; the message says what helps.
    """
    series = _finished_writing(series)
    if problem := disagreement(series):
        raise SeriesError(problem)
    return series


def disagreement(series: Series) -> str | None:
    """How config.json and the manifest disagree on the number of steps and what to do; None if they agree."""
    given, last, resume = series.config.steps, _planned(series), f"mechicl train --resume {series.root}"
    if given == last:
        return None
    if _cut_short(series):
        return f"{series.root} was being extended from {given} to {last} steps: `{resume}` continues."
    found = f"{series.root / 'config.json'} asks for {given} steps, but the run was begun with {last}"
    return f"{found}: " + (f"`{resume} --steps {given}` extends it." if given > last else "put steps back.")


def former_ends(series: Series) -> set[int]:
    """Last steps that a run had before it was extended: their weights are kept, whatever `keep` says."""
    return {entry["from"] for entry in series.manifest.get("extended", ())} & set(series.steps)


def _planned(series: Series) -> int:
    return max(series.manifest["schedule"])


def _cut_short(series: Series) -> bool:
    """Whether an extension is in the manifest, but not yet in the config."""
    last = (series.manifest.get("extended") or [{}])[-1]
    return series.config.steps != _planned(series) and series.config.steps == last.get("from")


def _finished_writing(series: Series) -> Series:
    if not _cut_short(series):
        return series
    last = series.manifest["extended"][-1]
    with locked(series.root):
        write_json(series.root / "config.json", to_dict(longer(series.config, last["to"], last["log_points"])))
    return open_series(series.root, series.data)


def log_points_of(series: Series) -> int:
    """The log points that a run's schedule was begun with."""
    first = series.manifest.get("extended", [])[:1]
    return first[0]["log_points"] if first else series.config.checkpoint_steps.log_points


def longer(config: Config, steps: int, log_points: int) -> Config:
    """The config with more steps; its schedule up to the present last step does not change."""
    plan = config.checkpoint_steps
    regular = replace(config, steps=steps, checkpoint_steps=replace(plan, log_points=0))
    spaced = replace(regular, checkpoint_steps=replace(plan, log_points=log_points))
    now, later = evaluated_steps(config), [s for s in evaluated_steps(spaced) if s > config.steps]
    plan = regular.checkpoint_steps
    explicit = {*now, *later} - set(evaluated_steps(replace(regular, checkpoint_steps=replace(plan, steps=()))))
    return replace(regular, checkpoint_steps=replace(plan, steps=tuple(sorted(explicit))))
