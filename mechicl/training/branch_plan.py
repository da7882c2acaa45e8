"""What a branch is to be, before anything is done: its config, what is done to it, and its name (branching.py)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mechicl.config import Config, ScheduleConfig, to_dict
from mechicl.errors import ConfigError
from mechicl.interventions.heads import head_pairs
from mechicl.models.params import shapes
from mechicl.schedule import evaluated_steps
from mechicl.series import Series
from mechicl.series.extend import log_points_of, longer
from mechicl.series.origin import first_step
from mechicl.settings import changed, named
from mechicl.training_interventions import TrainingIntervention


@dataclass(frozen=True, kw_only=True)
class Parent:
    """What must be known of a run to plan a branch of it; the run itself may not be there yet.

    called: the run in messages; begins: its first step; log_points: those that its schedule was begun with.
    """

    called: str
    config: Config
    begins: int
    log_points: int


def parent_like(series: Series) -> Parent:
    """A run that is there, as a parent."""
    return Parent(
        called=str(series.root),
        config=series.config,
        begins=first_step(series.manifest),
        log_points=log_points_of(series),
    )


MEMORY = ("embeddings",)  # what `reset_memory` draws anew: where the weights hold classes and labels, or words
REFUSED = {
    "name": "a branch is called as its folder: --out DIR",
    "steps": "say --steps N",
    "batch_size": "sequences are counted as steps x batch size, over the parent's steps too",
    "training_interventions": "say --without, --clamp, --reset-memory or --intervene",
}


def default_name(
    parent: str, at: int, interventions: Sequence[TrainingIntervention], changes: Mapping[str, Any]
) -> str:
    """The folder's name of a branch that was given none, as 'demo-at1500-ablate-L0H5'."""
    said = ["-".join(str(each).split()) for each in interventions]
    said += [named(changes)] if changes else []
    what = "_".join(said) or "as-before"
    name = "".join(ch if ch.isalnum() or ch in "-_." else "-" for ch in f"{parent}-at{at}-{what}")
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return name if len(name) <= 100 else f"{name[:92].rstrip('-_.')}-{digest}"


def shorthands(
    begins: int, at: int, without: Sequence[tuple[int, int]], reset_memory: bool, fresh_moments: bool
) -> list[TrainingIntervention]:
    """The options that have a name of their own, as training interventions from the branch's first step on. begins: the
    parent's first step."""
    out = []
    if without:
        heads = head_pairs(without, "without")
        out.append(TrainingIntervention(kind="ablate", heads=heads, start=at))
    if reset_memory:
        if at <= begins == 0:
            raise ConfigError("--reset-memory at step 0: there is no memory yet. Branch at a later step.")
        out.append(TrainingIntervention(kind="reset", groups=MEMORY, start=at))
    if fresh_moments:
        out.append(TrainingIntervention(kind="fresh_moments", start=at))
    return out


def beginning(intervention: TrainingIntervention, at: int) -> TrainingIntervention:
    """The intervention, from the branch's first step on unless it says when."""
    if intervention.kind == "graft":
        raise ConfigError(
            "a graft sets initial weights, but a branch begins with its parent's weights: train a new run instead."
        )
    if intervention.start == 0 < at:
        return replace(intervention, start=at)
    if intervention.start < at:
        raise ConfigError(
            f"training intervention '{intervention}' starts at {intervention.start}, before the branch: use "
            f"start={at} or later."
        )
    return intervention


def settled(
    parent: Parent,
    at: int,
    steps: int | None,
    added: list[TrainingIntervention],
    changes: dict[str, Any],
    where: str = "--set",
) -> tuple[Config, list[TrainingIntervention], dict[str, Any]]:
    """The branch's config; what is done to it, with changed sequences among it; and which other fields differ.

    Args:
        where: the changes are written there, for messages.

    Raises:
        ConfigError: such a branch is impossible; the message says why.
    """
    for name in changes:
        refused = REFUSED.get(name) or ("the same model goes on" if name.startswith("model.") else None)
        if refused:
            raise ConfigError(f"{name} cannot be changed in a branch: {refused}.")
    config = _with_steps(parent, steps)
    if config.steps <= at:
        raise ConfigError(
            f"{parent.called} has {config.steps} steps, so nothing is left to train from step {at}: give --steps N "
            f"with N above {at}."
            if steps is None
            else f"--steps {steps}: it includes the parent's steps, so it must be above --at {at}."
        )
    data = {name: value for name, value in changes.items() if name.startswith("sequences.")}
    changes = {name: value for name, value in changes.items() if name not in data}
    if data and config.task is None:  # what it is tested on stays, so that its curves compare with its parent's
        sequences = changed(config, data, where).sequences
        added = [*added, TrainingIntervention(kind="data", sequences=sequences, start=at)]
    else:
        changes |= data
    if changes:
        config = changed(config, changes, where)
    config = replace(config, training_interventions=(*config.training_interventions, *added))
    now, before = shapes(config), shapes(parent.config)
    if now != before:
        name = next(name for name in {**before, **now} if now.get(name) != before.get(name))
        raise ConfigError(
            f"{where} ({', '.join(changes)}): {name} would have shape {now.get(name)}, but the parent's has "
            f"{before.get(name)}. A branch begins with its parent's weights: choose data of the same size."
        )
    return config, added, changes


def called(config: Config, name: str) -> Config:
    """The config under its folder's name, where a run can have that name."""
    try:
        return replace(config, name=name)
    except ConfigError:
        return config


def _with_steps(parent: Parent, steps: int | None) -> Config:
    """The parent's config with so many steps, at whose checkpoints the branch is comparable: its schedule is the
    parent's as far as that goes."""
    config = parent.config
    if steps is None or steps == config.steps:
        return config
    if type(steps) is not int or steps < 1:
        raise ConfigError(f"--steps {steps}: expected a number of steps, from 1.")
    if steps > config.steps:
        return longer(config, steps, parent.log_points)
    shared = tuple(step for step in evaluated_steps(config) if step <= steps)
    return replace(config, steps=steps, checkpoint_steps=ScheduleConfig(steps=shared))


def plain(intervention: TrainingIntervention) -> dict[str, Any]:
    """As config.json has it, without what is as by default."""
    default = to_dict(TrainingIntervention(kind="clamp_layer"))
    return {name: value for name, value in to_dict(intervention).items() if value != default[name] or name == "kind"}
