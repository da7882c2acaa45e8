"""The loop again, from a saved state: resume and densify.

Every batch is a function of the data seed and the step number alone, so a run continues
from any saved state with exactly the updates it would have made.
"""

from __future__ import annotations

from pathlib import Path

from mechicl.config import Window
from mechicl.series import Series, open_series
from mechicl.series.ending import keep_states
from mechicl.series.extend import extend, former_ends, settled
from mechicl.series.origin import first_step
from mechicl.series.source import note_place
from mechicl.series.storage import drop_latest, locked
from mechicl.system.devices import deterministic
from mechicl.system.disk import check_writable
from mechicl.system.surroundings import own_settings
from mechicl.training import logs
from mechicl.training.devices import check_replay, moved, to_go_on
from mechicl.training.loop import Member, Progress, bar, training_loop
from mechicl.training.states import check_window, last_state, own, restored
from mechicl.training.step import Trainer


@own_settings()
def resume(
    root: str | Path,
    *,
    steps: int | None = None,
    data: str | Path | None = None,
    device: str | None = None,
    log: str | None = None,
    progress: bool | Progress = True,
) -> Series:
    """Continue an interrupted run from its last whole state, to the same bytes as an unbroken one; or give a run,
    finished or not, more steps.

    Steps between that state and the interruption are replayed, and must agree with what was
    saved. A finished run is returned as it is.

    Args:
        root: the run's directory.
        steps: how many the run shall have in all (default: as many as it was begun with). A run with `keep='metrics'`
            has no state at its end: it is replayed from step 0.
        data: where the data are now, if they moved. The run keeps the new place.
        device: where to compute (default: as before). Elsewhere it goes on from its last checkpoint, to other bytes
            than an unbroken run's, and the manifest says so.
        log: as in `train`. What the logger lacks of the run's points, it gets first; no point twice.
        progress: show a bar; or the bar to use.

    Returns:
        The series, with every scheduled checkpoint.

    Raises:
        ConfigError: `steps` is less than the run has; this machine has no such device.
        SeriesError: it cannot go on elsewhere, for want of a state at its last checkpoint; config.json was edited to
            other steps; the replay differs; the disk is full.
    """
    series = own(open_series(root, data))
    device = to_go_on(series, device)
    logs.check(log)
    if steps is not None:
        check_writable(series.root)
    series = settled(series) if steps is None else extend(series, steps, last_state(series), device)
    if data is not None:
        note_place(series, data)
    if series.complete:
        drop_latest(series.root)  # a kill may have left it
        with logs.logged(log, series.root, series.config):
            return series
    check_writable(series.root)
    keep_states(series.root, series.config)
    keep = {*series.manifest["schedule"], *former_ends(series)}
    trainer = restored(series, series.config.steps, device)
    with deterministic(device):
        moved(series, device, trainer.step)
    _replay(series, trainer, series.config.steps, keep, progress, log)
    return open_series(series.root, data)


@own_settings()
def densify(
    root: str | Path, start: int, stop: int, every: int, *, device: str | None = None, progress: bool = True
) -> Series:
    """Replay steps `start`..`stop` and keep a checkpoint every `every` steps.

    The replay starts at the last state before `start`; every checkpoint it passes must come
    out with the bytes that the run saved.

    Args:
        root: the run's directory.
        start: the first step of the window.
        stop: its last step.
        every: the distance between checkpoints, in steps.
        device: where to compute (default: where the run was trained, and nowhere else are replays exact).
        progress: show a bar.

    Returns:
        The series, with the new checkpoints.

    Raises:
        ConfigError: the window lies outside the run.
        SeriesError: the replay differs from the run (another machine, device or torch version).
    """
    series = own(open_series(root))
    device = to_go_on(series, device)
    check_replay(series, device)
    window = Window(start=start, stop=stop, every=every)
    check_window(series, window)
    check_writable(series.root)
    keep = {*range(window.start, window.stop + 1, window.every), window.stop}
    keep |= {step for step in series.steps if step <= stop}
    trainer = restored(series, start, device)
    _replay(series, trainer, stop, keep, progress)
    return open_series(series.root)


def _replay(
    series: Series, trainer: Trainer, stop: int, keep: set[int], progress: bool | Progress, log: str | None = None
) -> None:
    member = Member(series.root, series.config, series.source, log, first_step(series.manifest))
    with locked(series.root), bar(series.name, series.config, trainer.step, stop, progress) as shown:
        training_loop([member], trainer, stop, keep, shown)
