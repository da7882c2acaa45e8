"""What training recorded of a run, in metrics.jsonl, as lines and as tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechicl.errors import SeriesError
from mechicl.schedule import evaluated_steps
from mechicl.series.origin import first_step
from mechicl.system.commands import command
from mechicl.system.files import read_jsonl

if TYPE_CHECKING:
    import pandas as pd

    from mechicl.series.series import Series


def lines(root: Path) -> list[dict[str, Any]]:
    """By step. A replay writes a step again. The first line counts, because its training loss is the mean over the
    interval of the original schedule."""
    found: dict[int, dict[str, Any]] = {}
    for line in read_jsonl(root / "metrics.jsonl"):
        found.setdefault(line["step"], line)
    return [found[step] for step in sorted(found)]


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
