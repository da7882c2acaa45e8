"""Whether a series is what it says it is. Some published series were not (pythia#205)."""

from __future__ import annotations

import itertools
from pathlib import Path

from mechicl.errors import ConfigError, SeriesError
from mechicl.series import Series, elsewhere, open_series, settings_file
from mechicl.series.ending import has_states, lost_states
from mechicl.series.extend import disagreement
from mechicl.series.family import family_problems
from mechicl.series.origin import first_step, start_problem
from mechicl.series.origin import planned as planned_from
from mechicl.series.recorded import altered, without_line
from mechicl.series.reevaluate import disagreements, sample
from mechicl.series.storage import Entry
from mechicl.system.commands import command


def verify(
    root: str | Path, *, again: int | None = 5, data: str | Path | None = None, notes: list[str] | None = None
) -> list[str]:
    """Every problem of a run, one sentence each; empty when it is sound.

    Checked: the config and manifest load and agree, and config.json and each line of metrics.jsonl are what was
    written, where the run has their sha256; each indexed file is there with its size
    and sha256, and holds the config's parameters; no two checkpoints are the same; every
    scheduled step is there; a branch began with what it says, and a control is equal to its parent, if
    that is there; every checkpoint has its metrics; a sample of them, evenly spaced,
    scores what was recorded (mechicl/series/reevaluate.py has the tolerance); there are no other files.

    Args:
        again: how many checkpoints to evaluate again; None: all.
        data: where the images are, for banks made of images.
        notes: gets what could not be checked here.
    """
    series = open_series(root, data)
    root, notes = series.root, [] if notes is None else notes
    entries = [] if elsewhere.is_light(series) else _kept(series, notes)
    problems = [p for e in entries if (p := elsewhere.problem(series, e))]  # files elsewhere: once, as they are read
    problems += _manifest(series, notes)
    problems += _origin(series, notes)
    problems += _twins(series)
    broken = {p.split(":")[0] for p in problems}
    sound = [step for step in series.steps if series.entry(step).file not in broken]
    contents = {step: problem for step in sound if (problem := _contents(series, step))}
    problems += [*contents.values(), *_metrics(series, notes)]
    damaged = [step for step in series.steps if step not in sound]
    if damaged and "source" not in series.manifest:
        notes.append(_repair(series, damaged[0]))
    whole = {step for step in sound if step not in contents} & set(series.evaluated)
    problems += _scores(series, sample(whole, again), notes)
    return problems + _strays(series)


def _repair(series: Series, step: int) -> str:
    """What writes a checkpoint again whose file is missing or damaged."""
    begins = first_step(series.manifest)
    window = ("--from", max(step - 1, begins), "--to", max(step, begins + 1), "--every", 1)
    return (
        f"On a machine like the one that trained it, a replay writes the checkpoint of step {step} again: "
        f"{command('densify', series.root, *window)}. Otherwise copy the file from another copy of the run."
    )


def _kept(series: Series, notes: list[str]) -> list[Entry]:
    """The files that must be there: not states of a run that somebody passed on without any, to save space."""
    weights = [entry for entry in series.entries if entry.kind == "weights"]
    if len(weights) == len(series.entries) or has_states(series.root):
        return list(series.entries)
    notes.append("it is without states: a run is resumed or densified by a replay from step 0.")
    return weights


def _manifest(series: Series, notes: list[str]) -> list[str]:
    planned, source = series.manifest["schedule"], series.manifest.get("source")
    begins = first_step(series.manifest)
    wanted = planned_from(series.config, begins) if source is None else planned  # somebody else planned those
    if source is None and (problem := disagreement(series)):
        return [problem]
    if planned != wanted:
        return ["manifest.json: its schedule is not the one that config.json describes."]
    if not settings_file.is_recorded(series):
        notes.append("config.json cannot be checked: an earlier mechicl wrote this run, and recorded no sha256 of it.")
    if problem := settings_file.problem(series):
        return [problem]
    missing = sorted(set(planned) - set(series.steps))
    if missing:
        again = command("train", "--resume", series.root)
        if source is not None:
            again = command("open", source["place"], "--out", series.root)
        return [
            f"{len(missing)} of {len(planned)} scheduled checkpoints are missing, the first at step {missing[0]}: "
            f"{again}."
        ]
    if lost := lost_states(series):
        again = command("train", "--resume", series.root)
        return [f"the state of step {lost[0]} is missing ({len(lost)} in all): {again} writes it."]
    return []


def _origin(series: Series, notes: list[str]) -> list[str]:
    """Of a branch: the state that it began with, its first checkpoint, and its parent, if that is there."""
    origin = series.origin
    if origin is None:
        return []
    problems, states = [], has_states(series.root)
    if (problem := start_problem(series.root, origin)) and (states or "missing" not in problem):
        problems.append(problem)
    elif problem:
        notes.append("it is without the state that it began with: it cannot be resumed or densified.")
    first = next((e for e in series.entries if e.kind == "weights" and e.step == origin.step), None)
    if first is not None and first.sha256 != origin.sha256 and "weights_dtype" not in origin.changes:
        problems.append(f"{first.file}: not the weights that its parent had at step {origin.step}.")
    return problems + family_problems(series, notes)


def _twins(series: Series) -> list[str]:
    """Steps with the same bytes. This is a fault unless nothing is trained. (One file that holds several steps, of a
    source's, has one sha256: there sources/odd.py compares the numbers.)"""
    alike: dict[str, list[int]] = {}
    for step in series.steps:
        alike.setdefault(series.entry(step).sha256, []).append(step)
    return [
        f"steps {a} and {b}: the same weights (sha256) at both, though {b - a} updates lie between."
        for steps in alike.values()
        for a, b in itertools.pairwise(steps)
        if series.entry(a).file != series.entry(b).file and series.config.optim.lr > 0 and not _all_frozen(series, a, b)
    ]


def _all_frozen(series: Series, a: int, b: int) -> bool:
    from mechicl.models.params import shapes
    from mechicl.training_interventions import frozen

    interventions = series.config.training_interventions
    return bool(interventions) and all(
        frozen(interventions, update, name) for name in shapes(series.config) for update in range(a, b)
    )


def _contents(series: Series, step: int) -> str | None:
    try:
        series.weights(step)
    except (SeriesError, ConfigError) as error:
        return str(error).removeprefix(f"{series.root}: ")
    return None


def _scores(series: Series, steps: list[int], notes: list[str]) -> list[str]:
    try:
        return disagreements(series, steps) if steps else []
    except ConfigError as error:
        notes.append(f"not evaluated again, since the data cannot be rebuilt here: {error}")
        return []
    except SeriesError as error:
        return [str(error).removeprefix(f"{series.root}: ")]


def _metrics(series: Series, notes: list[str]) -> list[str]:
    missing, (wrong, unsigned) = without_line(series), altered(series)
    if unsigned:
        notes.append(
            f"metrics.jsonl has {unsigned} lines without a sha256, of an earlier mechicl: they are only compared with "
            "the checkpoints that are evaluated again (--all: all)."
        )
    lines = [f"metrics.jsonl: the line of step {step} is not what was written (altered)." for step in wrong]
    return lines + [f"metrics.jsonl: no line for step {missing[0]} ({len(missing)} steps in all)." for _ in missing[:1]]


def _strays(series: Series) -> list[str]:
    known = {e.file for e in series.entries}
    found = [p for kind in ("weights", "state") for p in sorted((series.root / kind).glob("*"))]
    return [
        f"{p.relative_to(series.root)}: not in the index; a write that a kill cut short. "
        f"{command('train', '--resume', series.root)} writes it again."
        for p in found
        if p.relative_to(series.root).as_posix() not in known
    ]
