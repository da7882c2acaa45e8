"""Where a run comes from that does not begin at step 0: a branch of another one (training/branching.py).

Its manifest says so under `branch`, and its folder keeps the state that it began with:

    branch.parent, path     the parent's name, and where it was
    branch.step             the step that the branch begins at; it has no earlier one
    branch.sha256           of the parent's weights at that step, as a checkpoint file has them
    branch.kept             the parent's last checkpoint up to that step (step, sha256): by it the parent is known again
    branch.start            sha256 of start.safetensors: weights, both moments of Adam, the step
    branch.interventions    training interventions that the parent does not have, as in config.json
    branch.changes          other fields of the config that differ, by dotted name
    branch.rounded          only of a branch that began with a checkpoint's rounded weights: their dtype

The config says the rest. Trained from step 0 with the interventions alone, it comes to the same bytes at every step,
unless the start was rounded.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechicl.config import Config
from mechicl.errors import SeriesError
from mechicl.schedule import checkpoint_steps
from mechicl.system.commands import command
from mechicl.system.files import bytes_of

if TYPE_CHECKING:
    from mechicl.models.params import Params

START = "start.safetensors"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a branch's manifest says of where it comes from (the module says what the fields are)."""

    parent: str
    path: str
    step: int
    sha256: str
    kept: dict[str, Any]
    start: str
    interventions: list[dict[str, Any]] = field(default_factory=list)
    changes: dict[str, Any] = field(default_factory=dict)
    rounded: str | None = None

    @property
    def is_control(self) -> bool:
        """Whether nothing was changed: such a branch comes to its parent's bytes."""
        return not self.interventions and not self.changes

    def record(self) -> dict[str, Any]:
        """For the manifest."""
        return {name: value for name, value in asdict(self).items() if name != "rounded" or value is not None}


def origin_of(manifest: dict[str, Any]) -> Origin | None:
    """Where a run branched off; None: it was trained from step 0.

    Raises:
        SeriesError: the record is not one.
    """
    given = manifest.get("branch")
    if given is None:
        return None
    try:
        found = Origin(**given)
        if type(found.step) is not int or type(found.kept["step"]) is not int:
            raise TypeError("its steps are not numbers")
        return found
    except (TypeError, KeyError) as error:
        raise SeriesError(
            f"manifest.json: its record of the branch is not valid ({error}): the file was changed."
        ) from None


def first_step(manifest: dict[str, Any]) -> int:
    """The step that a run begins at."""
    origin = origin_of(manifest)
    return 0 if origin is None else origin.step


def planned(config: Config, begins: int) -> list[int]:
    """The steps whose weights a run keeps that begins at a step: that one, and those of the schedule after it."""
    steps = checkpoint_steps(config)
    return [begins, *(step for step in steps if step > begins)] if begins else steps


def start_problem(root: Path, origin: Origin) -> str | None:
    """What is wrong with the state that a branch began with, or None."""
    data = bytes_of(root / START)
    if data is None:
        return f"{START}: missing."
    if hashlib.sha256(data).hexdigest() != origin.start:
        return f"{START}: its sha256 is not the recorded one (altered)."
    return None


def start_state(root: Path, origin: Origin) -> Params:
    """The state that a branch began with.

    Raises:
        SeriesError: it is missing or altered: how the branch can be made again.
    """
    from mechicl.series.storage import state_of

    if problem := start_problem(root, origin):
        raise SeriesError(
            f"{root}: {problem} Without it or a later state, this branch cannot be resumed. Move its folder away and "
            f"start it again with {command('branch', Path(origin.path), '--at', origin.step, '--out', root)} and the "
            "change in its manifest.json."
        )
    return state_of(bytes_of(root / START) or b"")
