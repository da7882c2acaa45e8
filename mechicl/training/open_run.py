"""A new run's directory: locked, with its config and manifest written before step 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechicl import doors
from mechicl.config import Config, to_dict
from mechicl.errors import SeriesError
from mechicl.protocol.known import task_of
from mechicl.registry import applying
from mechicl.series import settings_file
from mechicl.series.ending import keep_states
from mechicl.series.extend import made_with
from mechicl.series.opening import FORMAT
from mechicl.series.origin import START, Origin, planned
from mechicl.series.storage import locked
from mechicl.system.commands import command
from mechicl.system.devices import CPU, deterministic
from mechicl.system.disk import check_writable, explained, is_file
from mechicl.system.files import write_atomic, write_json
from mechicl.system.paths import given, shown
from mechicl.training import graft


@dataclass(frozen=True)
class Start:
    """What a branch begins with. state: the bytes of start.safetensors; grafts: its parent's record of them."""

    origin: Origin
    state: bytes
    grafts: list[dict[str, Any]]


@contextmanager
def open_run(
    root: Path,
    config: Config,
    source: Any,
    data: str | Path | None,
    device: str = CPU,
    stacked: int = 1,
    start: Start | None = None,
) -> Iterator[None]:
    """A new run's directory, locked, with its config and manifest written. device: that it is trained on, `stacked`
    runs in each step; start: of a branch."""
    fresh(root)
    with explained(root):
        root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        write_json(root / "config.json", to_dict(config))
        if start is None:
            grafts = graft.begin(config, root)
        else:
            grafts = start.grafts
            write_atomic(root / START, start.state)
        task_of(config).keep(root, source)
        keep_states(root, config)
        schedule = planned(config, start.origin.step if start else 0)
        with deterministic(device):
            manifest = manifest_of(config, schedule, source, data, grafts, made_with(device, stacked))
        branch = {"branch": start.origin.record()} if start else {}
        write_json(root / "manifest.json", manifest | branch)
        try:
            yield
        except KeyboardInterrupt as stopped:  # from here on the same command finds a run already
            stopped.add_note(f"{command('train', '--resume', root)} continues.")
            raise


def fresh(root: Path) -> None:
    """See that a new run can be put here.

    Raises:
        SeriesError: it holds one already, or cannot be written to.
    """
    if is_file(root / "manifest.json"):
        raise SeriesError(
            f"{shown(root)} contains a run already. Continue it with "
            f"{command('train', '--resume', root)}, or choose another folder with --out DIR."
        )
    check_writable(root, "Train elsewhere with --out DIR.")


def manifest_of(
    config: Config,
    schedule: list[int],
    source: Any,
    data: str | Path | None,
    grafts: list[dict[str, Any]],
    made: dict[str, Any] | None = None,
    uses: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """What manifest.json holds. schedule: the steps whose weights are kept; grafts: as `graft.begin` gives them; made:
    as `made_with`; uses: what the run needs beside `needed_by`, as (what, name)."""
    found = task_of(config).given(config) if data is None else data
    return {
        "format": FORMAT,
        "run": config.name,
        "schedule": schedule,
        "bank": source.fingerprint,
        **task_of(config).record(source),
        "data": None if found is None else str(given(found)),  # wherever the run is opened from
        "weights_dtype": config.weights_dtype,
        **settings_file.record(config),
        **({"grafts": grafts} if grafts else {}),
        **({"plugins": needed} if (needed := doors.foreign([*needed_by(config), *uses])) else {}),
        **(made_with() if made is None else made),
    }


def needed_by(config: Config) -> list[tuple[str, str]]:
    """(What, name) of everything registered that the run cannot be opened without."""
    return [task_of(config).uses(config), *(("evaluator", name) for name in applying(config))]
