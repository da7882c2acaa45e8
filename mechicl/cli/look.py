"""Commands that show a run, and check it."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import arg

from mechicl.cli.arguments import Anywhere, File, Run, Runs
from mechicl.cli.reading import ALL, Read
from mechicl.cli.verbs import Group, app
from mechicl.errors import ConfigError


@app.command(Group.LOOK)
def show(runs: Runs) -> None:
    """Summarise a run, several seeds or a sweep in the terminal.

    The curves are small. For several seeds, it shows each one and the spread. For a sweep's folder, it shows the tree
    of its runs and their branches, with its summary.

    $ mechicl show checkpoints/demo
    $ mechicl show checkpoints/demo-s*
    $ mechicl show checkpoints/my-sweep

    Args:
        runs: the runs' folders, or one folder of runs.
    """
    from mechicl.reporting.summary import one, several
    from mechicl.series import open_series
    from mechicl.series.tree import is_folder_of_runs
    from mechicl.sweeps.look import show_folder

    if not runs:
        raise ConfigError("no run was given: use for example `mechicl show checkpoints/demo`.")
    if len(runs) == 1 and is_folder_of_runs(runs[0]):
        print(show_folder(runs[0]))
        return
    opened = [open_series(run) for run in runs]
    print(one(opened[0]) if len(opened) == 1 else several(opened))


@app.command(Group.LOOK)
def report(
    run: Run,
    *,
    reading: Read = ALL,
    out: File | None = None,
    quiet: bool = False,
) -> None:
    """Write a report of a run: one HTML file that opens offline.

    It has the curves, the phases and the analyses.

    $ mechicl report checkpoints/demo
    $ mechicl report checkpoints/demo --out report.html

    Args:
        run: the run's folder.
        out: the file (default: RUN/report.html), for example if the run is read-only.
        quiet: no progress bar.
    """
    from mechicl.reporting.report import report as write
    from mechicl.system.paths import shown

    path = write(reading.series(run), out, progress=not quiet)
    print(f"{shown(path)} ({path.stat().st_size / 1e6:.1f} MB): open it in a browser.")


@app.command(Group.LOOK)
def verify(
    run: Run,
    *,
    all_: Annotated[bool, arg(name="all", aliases=("--every",))] = False,
    data: Anywhere | None = None,
) -> None:
    """Check that a run is complete and unchanged.

    The exit code is 1 if there is a problem.

    $ mechicl verify checkpoints/demo

    It checks the sha256 of every checkpoint and state, of config.json and of each line of metrics.jsonl (runs of an
    earlier mechicl have none of the last two, and it says so), the checkpoint schedule, that no two checkpoints are
    equal, and the recorded scores of five checkpoints.

    $ mechicl verify checkpoints/demo
    $ mechicl verify checkpoints/my-sweep

    Of a sweep's folder every run is checked, and the tree of its branches is printed.

    Args:
        run: the run's folder, or a folder of runs.
        all_: evaluate every checkpoint again, not only five (--every is the old name).
        data: folder or zip of the images, for recipes that need them.
    """
    from mechicl.series import open_series
    from mechicl.series.tree import is_folder_of_runs, runs_in, tree, tree_lines
    from mechicl.series.verify import verify as check
    from mechicl.sweeps.look import verify_folder

    notes: list[str] = []
    several = is_folder_of_runs(run)
    problems = (verify_folder if several else check)(run, again=None if all_ else 5, data=data, notes=notes)
    print("".join(f"{line}\n" for line in (*problems, *notes)), end="")
    if problems:
        raise SystemExit(1)
    if several:
        runs = runs_in(run)
        print("\n".join(tree_lines(tree(runs))))
        print(f"{run}: {len(runs)} runs, {sum(len(each.steps) for each in runs)} checkpoints, all unchanged.")
        return
    print(f"{run}: {len(open_series(run).steps)} checkpoints, all unchanged.")
