"""Training a sweep: finished runs are skipped, interrupted ones continued, and failures recorded.

    <out>/<condition>-s<seed>/   every run, a series as any other
    <out>/failures.jsonl         one line per failure: run, error, whether it diverged
    <out>/table.parquet          every run x checkpoint x evaluator x metric (gather.py)
    <out>/summary.parquet        phases per condition, over seeds

A condition that branches from another one waits until that run has ended. Where its parent failed before the step, it
fails too, alone, and the next call tries both.

There is no other state. If the process is killed, the same call continues from what the runs' own directories hold. A
run that diverged would diverge again, so it is only tried again if `retry` asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mechicl.errors import ConfigError
from mechicl.series import open_series
from mechicl.series.ending import has_ended
from mechicl.series.storage import locked
from mechicl.sweeps.conditions import Plan, Run
from mechicl.sweeps.estimate import Pace, paces
from mechicl.sweeps.executor import Executor, Job, Local
from mechicl.system.devices import CPU, chosen
from mechicl.system.disk import check_writable, is_file
from mechicl.system.files import append_line, read_jsonl
from mechicl.system.paths import given, given_or_none
from mechicl.system.progress import bar
from mechicl.training import logs
from mechicl.training.loop import Diverged, resumes_from

FAILURES = "failures.jsonl"
Status = Literal["finished", "interrupted", "diverged", "new"]


@dataclass
class Outcome:
    """What a call of `sweep` did. failed: run name -> why."""

    finished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def statuses(plan: Plan, out: Path) -> dict[Run, Status]:
    """How far every run is.

    Raises:
        ConfigError: a directory holds a run with other settings than the plan's.
    """
    diverged = {line["run"] for line in read_jsonl(out / FAILURES) if line["diverged"]}
    return {run: _status(run, run.folder(out), diverged) for run in plan.runs}


def _status(run: Run, root: Path, diverged: set[str]) -> Status:
    if not is_file(root / "manifest.json"):
        return "new"
    series = open_series(root)
    if series.config != run.config:
        raise ConfigError(
            f"{root} was trained with other settings than the sweep's file has now: move it away, "
            "or sweep elsewhere with --out DIR."
        )
    begins, wanted = series.origin.step if series.origin else 0, run.condition.begins
    if begins != wanted:  # a control has its parent's config, wherever it begins
        raise ConfigError(
            f"{root} begins at step {begins}{f' of {series.origin.parent}' if series.origin else ''}, but the sweep's "
            f"file says step {wanted}: move it away, or sweep elsewhere with --out DIR."
        )
    if has_ended(series):
        return "finished"
    return "diverged" if run.name in diverged else "interrupted"


def left(found: dict[Run, Status], retry: bool = False) -> list[Run]:
    """What is still to be trained, in the plan's order; interrupted runs first."""
    wanted = ("interrupted", "new", "diverged") if retry else ("interrupted", "new")
    return sorted((run for run, status in found.items() if status in wanted), key=lambda r: found[r] == "new")


def sweep(
    plan: Plan,
    out: str | Path,
    *,
    data: str | Path | None = None,
    device: str | None = None,
    log: str | None = None,
    executor: Executor | None = None,
    retry: bool = False,
    progress: bool = True,
) -> Outcome:
    """Train every run of a plan that is not finished.

    Args:
        plan: `read_plan(file)`.
        out: the sweep's directory; each run is a series inside it.
        data: folder of images, for recipes that need one.
        device: as in `train`; of jobs that run elsewhere, a device that is there.
        log: as in `train`; each run is one of the logger's.
        executor: where (default: `Local()`, a process per core).
        retry: also the runs that diverged.

    Raises:
        ConfigError: nothing was trained, because the file describes an impossible run, a run on disk has other
            settings, or this machine has no such device.
        SeriesError: another process works on this sweep, or the disk is full.
    """
    out, data, executor = given(out), given_or_none(data), executor or Local()
    logs.check(log)
    here = chosen(device) if isinstance(executor, Local) else CPU
    found = statuses(plan, out)
    todo = left(found, retry)
    outcome = Outcome(finished=[run.name for run, status in found.items() if status == "finished"])
    if not todo:
        return outcome
    for root in (out, *(out / run.name for run in todo if found[run] != "new")):
        check_writable(root, "Sweep elsewhere with --out DIR.")
    pace = paces(list({run.condition.name: run.condition for run in todo}.values()), data, progress, here, failing=True)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out), _Progress(plan.name, todo, out, pace, len(outcome.finished), progress) as shown:
        jobs = [_job(run, out, found[run] == "new", data, device, log) for run in todo]
        for number, error in executor(jobs, shown.heard):
            run = todo[number]
            if error is None:
                outcome.finished.append(run.name)
            else:
                outcome.failed[run.name] = str(error)
                record = {"run": run.name, "diverged": isinstance(error, Diverged), "error": str(error)}
                append_line(out / FAILURES, record)
            shown.ended(number, failed=error is not None)
    return outcome


def _job(run: Run, out: Path, new: bool, data: str | Path | None, device: str | None, log: str | None) -> Job:
    parent, root = run.parent, run.folder(out)
    after = parent.folder(out).name if parent is not None and new else None  # what was begun has what it began with
    return Job(root, run.config, data, device, log, run.condition.branch, run.parent_folder(out), after)


class _Progress:
    """One bar over the sweep, in estimated seconds of work, so that a long run counts for more than a short one."""

    def __init__(self, name: str, todo: list[Run], out: Path, pace: dict[str, Pace], finished: int, progress: bool):
        self.todo, self.finished, self.failed = todo, finished, 0
        self.all = finished + len(todo)
        self.per_sequence, self.remaining = [], []
        for run in todo:
            config, root, begins = run.config, run.folder(out), run.condition.begins
            whole, steps = pace[run.condition.name].of(run.condition, run.seed), config.steps - begins
            done = resumes_from(open_series(root)) - begins if (root / "manifest.json").exists() else 0
            self.per_sequence.append(whole / (steps * config.batch_size))
            self.remaining.append(whole * (1 - done / steps))
        form = "{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
        self.bar = bar(
            sum(self.remaining),
            name,
            show=progress,
            smoothing=0.02,
            bar_format=form,
            log_format=form.replace("|{bar}|", ""),
        )

    def __enter__(self) -> _Progress:
        self._say("")
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def heard(self, number: int, told: int | str) -> None:
        """What a job reports."""
        if isinstance(told, str):
            self._say(f"{self.todo[number].name}: {told}")
        else:
            self._advance(number, told * self.per_sequence[number])

    def ended(self, number: int, failed: bool) -> None:
        """A job has ended and no longer counts as running."""
        self.failed += failed
        self.finished += not failed
        self._advance(number, self.remaining[number])
        self._say("")

    def _advance(self, number: int, seconds: float) -> None:
        seconds = min(seconds, self.remaining[number])
        self.remaining[number] -= seconds
        self.bar.update(seconds)

    def _say(self, text: str) -> None:
        failed = f", {self.failed} failed" if self.failed else ""
        self.bar.set_postfix_str(f"{self.finished} of {self.all} runs done{failed}  {text}")


def describe(plan: Plan, found: dict[Run, Status], pace: dict[str, Pace], workers: int, retry: bool = False) -> str:
    """The plan in words, with how long it will take: what `--dry-run` prints."""
    todo = left(found, retry)
    lines = [f"{plan.name}: {len(plan.conditions)} conditions x {len(plan.seeds)} seeds = {len(found)} runs"]
    width = max(len(c.name) for c in plan.conditions)
    for condition in plan.conditions:
        states = [found[run] for run in found if run.condition is condition]
        counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
        seconds = pace[condition.name].of(condition, plan.seeds[0]) if condition.name in pace else None
        took = "" if seconds is None else f"{_duration(seconds)} a run; "
        begins = f"; from {condition.branch.parent_name} at step {condition.branch.at:,}" if condition.branch else ""
        lines.append(f"  {condition.name:<{width}}  {took}{counts}{begins}")
    each = [pace[run.condition.name].of(run.condition, run.seed) for run in todo]
    workers = max(1, min(workers, len(todo)))
    if todo:
        whole = max(sum(each) / workers, max(each))
        lines.append(
            f"{len(todo)} to train: about {_duration(whole)} with {workers} processes, at the speed measured just now."
        )
    else:
        lines.append("nothing left to train.")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    if seconds < 99:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99 * 60 else f"{seconds / 3600:.1f} h"
