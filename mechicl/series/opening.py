"""Opening a run by its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mechicl import plugins
from mechicl.config import from_run
from mechicl.errors import ConfigError, SeriesError
from mechicl.series import elsewhere
from mechicl.series.origin import origin_of
from mechicl.series.series import Series
from mechicl.series.storage import read_index
from mechicl.system.commands import UPDATE
from mechicl.system.devices import chosen
from mechicl.system.disk import is_file
from mechicl.system.executor import Executor, executor_of
from mechicl.system.files import read_json
from mechicl.system.paths import given, given_or_none, shown

FORMAT = 1


def open_series(
    path: str | Path,
    data: str | Path | None = None,
    device: str | None = None,
    workers: int | Executor = 1,
) -> Series:
    """Open a run directory. Reads only its small text files. `mechicl.open_series("checkpoints/demo")`.

    For checkpoints that mechicl did not write, such as a folder of Hugging Face's Trainer or `hub:USER/NAME@step*`, it
    first makes a light series in checkpoints/NAME, like `mechicl open` (`sources.opening.open_source` has all
    settings). If this series exists already, it is used. A published series, `hub:USER/NAME`, is downloaded to
    checkpoints/NAME.

    Args:
        path: the run's directory, or such a folder or address. `~` and relative paths are resolved here, once.
        data: path of the images, for banks made of images (default: as in training).
        device: where to compute, by torch's name: cpu (the default), cuda, cuda:1 or mps. It may differ from the
            training device.
        workers: number of processes that compute a table over checkpoints, each within the memory budget. The numbers
            are the same. Or an executor (`mechicl.system.slurm.Slurm`).

    Returns:
        The series, opened read-only.

    Raises:
        ConfigError: this machine has no such device, or `workers` is not a number from 1.
        SeriesError: this is not a run, its format is newer, its config is broken, a plugin is not loaded, or this user
            may not read it.
    """
    device, executor = chosen(device), executor_of(workers)
    if elsewhere.is_address(path):
        return replace(elsewhere.opened(path), device=device, executor=executor)
    root, data = given(path), given_or_none(data)
    elsewhere.check_fetched(root)
    check_single(root)
    if not is_file(root / "manifest.json") and elsewhere.is_source(root):
        return replace(elsewhere.opened(path), device=device, executor=executor)
    if not is_file(root / "manifest.json"):
        near = sorted(p.parent.name for p in root.parent.glob("*/manifest.json"))
        hint = f" Runs beside it: {', '.join(near)}." if near else ""
        raise SeriesError(f"{root} is not a run: it has no manifest.json.{hint} Make one with `mechicl train demo`.")
    manifest = read_json(root / "manifest.json")
    if "format" not in manifest:
        raise SeriesError(f"{root / 'manifest.json'} has no format: it was not written by mechicl.")
    if manifest["format"] != FORMAT:
        raise SeriesError(
            f"{root} has format {manifest['format']!r}; this mechicl reads "
            f"format {FORMAT}. Another mechicl wrote it: {UPDATE}."
        )
    lacking = [key for key in ("schedule", "bank", "versions") if key not in manifest]
    if lacking:
        raise SeriesError(f"{root / 'manifest.json'} lacks {', '.join(lacking)}: it was not written by mechicl.")
    try:
        origin_of(manifest)
    except SeriesError as error:
        raise SeriesError(f"{root}: {error}") from None
    plugins.check(root, manifest)
    try:
        config = from_run(read_json(root / "config.json"))
    except ConfigError as error:
        raise SeriesError(f"{root / 'config.json'}: {error}") from error
    recorded = manifest.get("data")
    if data is None and isinstance(recorded, str) and not recorded.startswith("~"):
        data = given(recorded)  # runs from before paths were kept whole: relative to where we are now
    return Series(root, config, manifest, tuple(read_index(root)), data, device, executor=executor)


def check_single(root: Path) -> None:
    """See that a folder does not hold several runs, such as a sweep's. Looked for before layouts of other trainers,
    which name folders as conditions may be named.

    Raises:
        SeriesError: it does, and is no run itself; which runs.
    """
    if is_file(root / "manifest.json"):
        return
    runs = sorted(path.parent for path in root.glob("*/manifest.json"))
    if runs:
        some = ", ".join(shown(run) for run in runs[:3]) + (", ..." if len(runs) > 3 else "")
        many = f"{len(runs)} runs" if len(runs) > 1 else "one run"
        raise SeriesError(f"{shown(root)} is a folder of {many}, such as a sweep's. Give one run: {some}.")
