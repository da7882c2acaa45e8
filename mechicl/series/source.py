"""What a run's sequences are drawn from, built again from its config and checked against what it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechicl.config import Config
from mechicl.errors import ConfigError, SeriesError
from mechicl.own_code import is_yours, maker, whose
from mechicl.protocol.known import task_of
from mechicl.series.storage import locked
from mechicl.system.commands import command
from mechicl.system.files import read_json, write_json
from mechicl.system.paths import given

if TYPE_CHECKING:
    from mechicl.series import Series


def built(config: Config, data: str | Path | None, **more: int | None) -> Any:
    """What a run's sequences are drawn from, as its task builds it. more: `threads`, as of `Task.source`.

    Raises:
        ConfigError: a plugin's task returned something else.
    """
    task = task_of(config)
    source = task.source(config, data, **more)
    if is_yours(*task.uses(config)):
        found = getattr(source, "fingerprint", None)
        if not isinstance(found, str) or not found:
            said = "None" if source is None else f"a {type(source).__name__} whose fingerprint is {found!r}"
            raise ConfigError(
                f"{whose(*task.uses(config))}: source returned {said}: expected an object whose `fingerprint` is a "
                "hexadecimal digest of its contents, a str."
            )
    return source


def rebuilt(series: Series) -> Any:
    """The source of a run's task.

    Raises:
        ConfigError: it cannot be built here; where its data are gone, how a new place is noted.
        SeriesError: it differs from the one that the manifest names.
    """
    task, recorded = series.task, series.manifest["bank"]
    kept = task.kept(series.root)  # first: what it was made from may be gone, or other files by now
    data = kept or series.data or series.manifest.get("data")
    try:
        source = built(series.config, data)
    except ConfigError as error:
        place = data or task.given(series.config)
        if place is None or given(place).exists():
            raise
        again = command("train", "--resume", series.root, "--data", "FILE")
        raise ConfigError(f"{series.root}: {error} If it has moved: {again} notes its new place.") from None
    if source.fingerprint != recorded:  # written before banks were built on one thread?
        source = built(series.config, data, threads=None)
    if source.fingerprint != recorded and kept is not None:
        raise SeriesError(
            f"{series.root}: what it keeps of the text is not what it was trained on: put the files back as they were."
        )
    if source.fingerprint != recorded:
        what = "bank" if task.has_bank else "data source"
        made = maker(*task.uses(series.config))
        own = f", or {made}, has changed or draws from something else than its seed" if made else ""
        raise SeriesError(
            f"{series.root}: the {what} rebuilt here differs from the one it was trained on "
            f"({source.fingerprint[:12]}, recorded {recorded[:12]}): the files that it is made of are others, or numpy "
            f"is{own}. Evaluations would be of other data."
        )
    return source


def check_repeats(config: Config, data: str | Path | None, source: Any) -> None:
    """Raise unless a plugin's bank or data source, built again, is the same: otherwise no run on it could be opened.

    Args:
        source: what was built from this config and data. mechicl's own are not built again.

    Raises:
        ConfigError: they differ.
    """
    task = task_of(config)
    if not is_yours(*task.uses(config)) or built(config, data).fingerprint == source.fingerprint:
        return
    what = "bank" if task.has_bank else "data source"
    raise ConfigError(
        f"{whose(*task.uses(config))} gave another {what} when it was called a second time "
        f"({maker(*task.uses(config))}): a run on it could never be opened. Draw all random numbers from the seed "
        "that it is given, as with rng = numpy.random.default_rng(seed), and none from numpy.random itself."
    )


def note_place(series: Series, data: str | Path) -> None:
    """Record where a run's data are now, so that it opens from there without being told again.

    Raises:
        SeriesError: they are not what it was trained on.
    """
    place, path = str(given(data)), series.root / "manifest.json"
    if place == series.manifest.get("data") or series.task.reads_no_data(series.config):
        return
    _ = series.source  # built from them, and compared
    with locked(series.root):
        write_json(path, read_json(path) | {"data": place})
