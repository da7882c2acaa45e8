"""What a run writes down of itself at a step, and from which state it goes on."""

from __future__ import annotations

from pathlib import Path

import torch

from mechicl.config import Config, Window
from mechicl.errors import ConfigError, SeriesError
from mechicl.models.params import Params, unpack
from mechicl.series import Series
from mechicl.series.origin import first_step, start_state
from mechicl.series.storage import file_problem, load_latest, load_tensors
from mechicl.system.commands import command
from mechicl.system.devices import CPU
from mechicl.training import graft
from mechicl.training.devices import trainer_on
from mechicl.training.step import Trainer


def own(series: Series) -> Series:
    """The series, where mechicl trained it.

    Raises:
        SeriesError: it did not: how to take up checkpoints that were written since.
    """
    if source := series.manifest.get("source"):
        raise SeriesError(
            f"{series.root} has checkpoints that mechicl did not train. To add new ones, run "
            f"{command('open', source['place'], '--out', series.root)}."
        )
    return series


def restored(series: Series, before: int, device: str) -> Trainer:
    """The trainer at the last whole state at or before a step; else where the run begins."""
    states = [e for e in series.entries if e.kind == "state" and e.step <= before]
    made, latest = trainer_on(device), load_latest(series.root)
    at = -1 if latest is None or int(latest["step"]) > before else int(latest["step"])
    for entry in sorted(states, key=lambda e: -e.step):
        if entry.step >= at and file_problem(series.root, entry) is None:
            return made.from_state(series.config, load_tensors(series.root, entry), device)
    if latest is not None and at >= 0:
        return made.from_state(series.config, latest, device)
    if series.origin is not None:
        return made.from_state(series.config, start_state(series.root, series.origin), device)
    return made(series.config, graft.initial_params(series.config, series.root), device)


def resumes_from(series: Series) -> int:
    """The step from which `resume` would go on; the last, where the run is finished."""
    return series.config.steps if series.complete else last_state(series)


def last_state(series: Series) -> int:
    """The step of the last state that was saved."""
    latest = load_latest(series.root)
    saved = [e.step for e in series.entries if e.kind == "state"]
    begins = first_step(series.manifest)
    return max([*saved, begins if latest is None else int(latest["step"])])


def saved_weights(params: Params, config: Config) -> Params:
    """What goes into a checkpoint file: TransformerLens shapes, in the run's stored dtype, on the CPU."""
    dtype = getattr(torch, config.weights_dtype)
    weights = unpack(params, config.model.n_heads)
    return {name: w.to(CPU, dtype) for name, w in weights.items()}


def check_window(series: Series, window: Window) -> None:
    """Raise unless a run has been where a replay shall go.

    Raises:
        ConfigError: the window lies outside the run.
        SeriesError: the run has not come so far.
    """
    begins, stop = first_step(series.manifest), window.stop
    if window.start < begins:
        assert series.origin is not None
        parent, every = Path(series.origin.path), window.every
        earlier = command("densify", parent, "--from", window.start, "--to", begins, "--every", every)
        raise ConfigError(
            f"--from {window.start}: {series.name} is a branch that begins at step {begins}. Densify its parent for "
            "earlier steps: "
            f"{earlier}."
        )
    if stop > series.config.steps:
        raise ConfigError(f"--to {stop}: {series.name} has steps 0..{series.config.steps}.")
    if stop > max(series.steps, default=0):  # a replay goes where the run has been
        raise SeriesError(
            f"{series.root} has only reached step {max(series.steps, default=0)} of its schedule: run "
            f"{command('train', '--resume', series.root)} first."
        )
