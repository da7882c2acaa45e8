"""What `mechicl sweep` does, in order, and what it prints."""

from __future__ import annotations

from pathlib import Path

from mechicl.errors import SeriesError
from mechicl.sweeps.estimate import paces
from mechicl.sweeps.executor import Local
from mechicl.sweeps.gather import SUMMARY, TABLE, as_text, gather
from mechicl.sweeps.plan import read_plan
from mechicl.sweeps.run import FAILURES, describe, left, statuses, sweep
from mechicl.system.commands import command
from mechicl.system.cores import cores
from mechicl.system.devices import CPU, chosen
from mechicl.system.paths import given, shown
from mechicl.system.slurm import Slurm


def run(
    file: Path,
    out: Path | None,
    *,
    jobs: int | None,
    data: Path | None,
    device: str | None,
    log: str | None,
    dry_run: bool,
    only_gather: bool,
    retry: bool,
    slurm: bool,
    progress: bool,
) -> bool:
    """Returns whether a run failed, now or before. Arguments are those of the command line."""
    plan = read_plan(file)
    out = given(out or Path("checkpoints") / plan.name)
    if dry_run:
        found = statuses(plan, out)
        todo = {run.condition.name: run.condition for run in left(found, retry)}
        here = CPU if slurm else chosen(device)
        pace = paces(list(todo.values()), data, progress, here)
        print(describe(plan, found, pace, jobs or (cores() if device in (None, CPU) else 1), retry))
        return False
    failed: dict[str, str] = {}
    if not only_gather:
        executor = Slurm(out / "slurm", plan.slurm, jobs) if slurm else Local(jobs)
        failed = sweep(
            plan, out, data=data, device=device, log=log, executor=executor, retry=retry, progress=progress
        ).failed
    if not out.is_dir():
        beside = [] if out == Path("checkpoints") / plan.name else ["--out", out]
        raise SeriesError(f"{shown(out)} has no runs to gather: {command('sweep', file, *beside)} trains them.")
    table, summary = gather(plan, out, progress)
    print(as_text(summary))
    given_up = [run.name for run, status in statuses(plan, out).items() if status == "diverged"]
    if given_up:
        print(f"Diverged, and left alone (--retry trains them again): {', '.join(given_up)}.")
    for name, error in failed.items():
        lines = error.strip().splitlines()
        print(f"{name} failed: {lines[-1 if lines[0].startswith('Traceback') else 0]}")
    if failed:
        print(f"{shown(out / FAILURES)} has each failure in full. The same command tries again what did not diverge.")
    print(
        f"{shown(out / TABLE)} has {len(table):,} rows; {shown(out / SUMMARY)} has every phase, with its interval "
        "over seeds."
    )
    return bool(failed) or (bool(given_up) and not only_gather)  # as the call in which they diverged
