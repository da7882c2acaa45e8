"""What training recorded of a run, in metrics.jsonl, as lines and as tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechicl.errors import SeriesError
from mechicl.schedule import evaluated_steps
from mechicl.series.origin import first_step
from mechicl.system.commands import command
from mechicl.system.files import read_jsonl, write_atomic

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from mechicl.series.series import Series


def lines(root: Path) -> list[dict[str, Any]]:
    """By step. In runs of an earlier mechicl a replay wrote a step again. The first line counts, because its training
    loss is the mean over the interval of the original schedule."""
    found: dict[int, dict[str, Any]] = {}
    for line in read_jsonl(root / "metrics.jsonl"):
        found.setdefault(line["step"], line)
    return [found[step] for step in sorted(found)]


def curve(series: Series, evaluator: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """`Series.curve`."""
    table = series.metrics
    if not len(table):
        raise SeriesError(f"{series.root} has no metrics yet: {command('train', '--resume', series.root)}.")
    recorded = table.metric[table.evaluator == evaluator].unique().tolist()
    if not recorded:
        known = ", ".join(table.evaluator.unique())
        raise SeriesError(f"{series.root} recorded no evaluator {evaluator!r}; it has {known}.")
    if metric not in recorded:
        raise SeriesError(f"{series.root} recorded no {metric!r} of {evaluator!r}; it has {', '.join(recorded)}.")
    rows = table[(table.evaluator == evaluator) & (table.metric == metric)]
    return rows.sequences.to_numpy(), rows.value.to_numpy()


def lost(series: Series, meant: int, saved: int) -> SeriesError:
    """That a moment of a curve is at a step whose weights are not there (`Series.step_at`), and what brings them."""
    last = series.saved[-1]
    every = max(1, last // 100)
    replay = command("densify", series.root, "--from", meant % every, "--to", last, "--every", every)
    finish = f"First finish it: {command('train', '--resume', series.root)}"
    helps = finish if meant > last else f"{replay} brings others back"
    return SeriesError(
        f"{series.root} has a curve's onset, peak or end at step {meant}, but the nearest weights that it kept are "
        f"of step {saved}. {helps}; `mechicl show` and the analysis transience need no weights."
    )


SIGNED = "sha256"  # the field of a line that has the sha256 of the others; runs of an earlier mechicl lack it


def signed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A line with its own sha256, so that a number that was changed later is found."""
    return {**record, SIGNED: _digest(record)}


def replace_line(path: Path, record: Mapping[str, Any]) -> None:
    """Put a line in the place of that of its step, of which it keeps the training loss: the mean since the step before
    it in the original schedule."""
    out = []
    for line in read_jsonl(path):
        if line["step"] == record["step"]:
            line = signed({**record, "training_loss": line["training_loss"]})
        out.append(json.dumps(line).encode() + b"\n")
    write_atomic(path, b"".join(out))


def altered(series: Series) -> tuple[list[int], int]:
    """The steps whose line is not what was written, and how many lines have no sha256 to compare with."""
    wrong, unsigned = [], 0
    for line in series.recorded():
        digest = line.pop(SIGNED, None)
        if digest is None:
            unsigned += 1
        elif digest != _digest(line):
            wrong.append(line["step"])
    return wrong, unsigned


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def without_line(series: Series) -> list[int]:
    """Steps that have a checkpoint, or in a complete run an evaluation, but no line of metrics, ascending. Training
    writes the line first, so this is a file that was cut short, as by an interrupted copy."""
    begins, trained = first_step(series.manifest), series.complete and "source" not in series.manifest
    wanted = {*series.saved, *(s for s in evaluated_steps(series.config) if trained and s > begins)}
    return sorted(wanted - {line["step"] for line in series.recorded()})


def lacking(series: Series) -> str | None:
    """In a sentence, how many steps have no metrics, which, and what helps; None where all have."""
    missing = without_line(series)
    if not missing or not series.recorded():  # of none at all, whoever needs them says so
        return None
    if (source := series.manifest.get("source")) is not None:
        again = f"{command('open', source['place'], '--out', series.root)} measures them"
    else:
        start = max((step for step in series.saved if step < missing[0]), default=first_step(series.manifest))
        stop = max(missing[-1], start + 1)
        replay = command("densify", series.root, "--from", start, "--to", stop, "--every", stop - start)
        again = f"copy metrics.jsonl again if this run is a copy; else {replay} measures them again"
    checkpoint = "checkpoint has" if len(missing) == 1 else "checkpoints have"
    which = ", ".join(map(str, missing[:3])) + (f", ..., {missing[-1]}" if len(missing) > 3 else "")
    return f"{len(missing)} {checkpoint} no metrics: steps {which}. To mend this, {again}."


def check_whole(series: Series) -> None:
    """Raise SeriesError where metrics are missing: what is said of a curve would be said of a part of it."""
    if problem := lacking(series):
        raise SeriesError(f"{series.root}: {problem}")


def metrics(series: Series) -> pd.DataFrame:
    """One row per step, evaluator and metric."""
    import pandas as pd

    rows = [
        {
            "run": series.name,
            "seed": series.config.seeds.init,
            "step": line["step"],
            "sequences": line["sequences"],
            **row,
        }
        for line in series.recorded()
        for row in line["evaluators"]
    ]
    return pd.DataFrame(rows)


def training_loss(series: Series) -> pd.DataFrame:
    """Columns step, sequences, loss, where there is one."""
    import pandas as pd

    rows = ((x["step"], x["sequences"], x["training_loss"]) for x in series.recorded())
    return pd.DataFrame(rows, columns=["step", "sequences", "loss"]).dropna(ignore_index=True)


def behind_losses(series: Series) -> pd.Series:
    """Over how many sequences each row of `training_loss` is the mean: since the row before; the first since the run
    began, which a branch did at its own first step."""
    seen = training_loss(series).sequences
    return seen.diff().fillna(seen - series.sequences_seen(first_step(series.manifest)))
