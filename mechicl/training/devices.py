"""On which device a run is trained, and what its manifest says of that (system/devices.py).

A run goes on where it was begun. Elsewhere its sums come in another order, so the bytes of an unbroken run are not to
be had: that is done only where asked, only from the run's last checkpoint on, which no replay then contradicts, and the
manifest's `moved` says from which step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mechicl.errors import ConfigError, SeriesError
from mechicl.series import Series
from mechicl.series.storage import locked
from mechicl.system import devices
from mechicl.system.commands import command
from mechicl.system.files import read_json, write_json
from mechicl.training.step import Trainer

_CPU = {"kind": devices.CPU}  # of runs from before there was a choice


def trainer_on(device: str) -> type[Trainer]:
    """Who makes the steps there."""
    if device == devices.CPU:
        return Trainer
    from mechicl.training.on_device import DeviceTrainer

    return DeviceTrainer


def trained_on(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The records (`devices.record`) of all devices that a run was trained on, the last one last."""
    return [manifest.get("device", _CPU), *(entry["device"] for entry in manifest.get("moved", ()))]


def to_go_on(series: Series, device: str | None) -> str:
    """The device on which a run goes on: the one asked for, else that of its last steps.

    Raises:
        ConfigError: this machine does not have it: how the run can go on here, or where.
    """
    last = trained_on(series.manifest)[-1]
    if device is not None:
        return devices.chosen(device)
    try:
        return devices.chosen(last["kind"])
    except ConfigError as error:
        here = command("train", "--resume", series.root, "--device", devices.CPU)
        raise ConfigError(
            f"{series.root} was trained on {_said(last)}. {error} On this machine it can continue with {here}, from "
            "its last "
            "checkpoint, but its bytes will differ from those of a run on its own device."
        ) from None


def moved(series: Series, device: str, at: int) -> None:
    """Record that a run goes on at step `at` on this device, where its last steps were made otherwise.

    Raises:
        SeriesError: it has checkpoints after that step, which it would come to again, with other bytes.
    """
    last, now = trained_on(series.manifest)[-1], devices.record(device)
    if _way(last) == _way(now):
        return
    if series.steps and at < series.steps[-1]:
        raise SeriesError(
            f"{series.root} was trained on {_said(last)} to step {series.steps[-1]}, but the last saved state is "
            f"that of step {at}: on {_said(now)} the steps between would differ from the saved ones. Resume "
            f"it on its own device, without --device."
        )
    with locked(series.root):
        _note(series.root, at, now)


def left_by_others(root: Path, device: str, at: int, stacked: int) -> None:
    """Record that a run goes on at step `at` with only `stacked` runs in each step, because others that were trained
    with it stopped. Nothing where that changes no bits, as on the CPU. The caller holds the run's lock."""
    now = devices.record(device, stacked)
    if _way(trained_on(read_json(root / "manifest.json"))[-1]) != _way(now):
        _note(root, at, now)


def _note(root: Path, at: int, now: dict[str, Any]) -> None:
    """Add to the manifest on which device the steps from `at` on were made."""
    path = root / "manifest.json"
    manifest = read_json(path)
    write_json(path, manifest | {"moved": [*manifest.get("moved", ()), {"from": at, "device": now}]})


def check_replay(series: Series, device: str) -> None:
    """Check that a replay on a device comes to the bytes that a run saved.

    Raises:
        SeriesError: it would come to other bytes.
    """
    now = devices.record(device)
    other = [each for each in trained_on(series.manifest) if _way(each) != _way(now)]
    if other:
        raise SeriesError(
            f"{series.root} was trained on {_said(other[0])}: a replay on {_said(now)} gives different bytes from the "
            "saved ones. Replays are exact only on the device that the run was trained on."
        )


def _way(record: dict[str, Any]) -> tuple[Any, ...]:
    """What must be equal for equal bytes, as far as it can be told before the replay."""
    return record["kind"], record.get("stacked", 1)


def _said(record: dict[str, Any]) -> str:
    name = f" ({record['name']})" if record.get("name") else ""
    many = record.get("stacked", 1)
    return f"{record['kind']}{name}" + (f", with {many} seeds in each step" if many > 1 else "")
