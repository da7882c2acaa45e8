"""The command line. Imports nothing heavy until a verb runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from tyro.conf import DisallowNone, Positional, arg

import mechicl
from mechicl.commands import command
from mechicl.config import ConfigError
from mechicl.storage import SeriesError
from mechicl.verbs import Verbs

Run = Annotated[Positional[Path], arg(metavar="RUN", help="the run's directory, as checkpoints/demo")]
Runs = Annotated[
    Positional[tuple[Path, ...]], arg(metavar="RUN...", help="one or more runs", help_behavior_hint="")
]

app = Verbs()


@app.command
def recipes() -> None:
    """List the recipes: what each reproduces and how long it takes."""
    from mechicl.recipes import RECIPES

    for name, function in RECIPES.items():
        lines = (function.__doc__ or "").strip().splitlines()
        print(f"{name}\n    " + "\n    ".join(line.strip() for line in lines if line.strip()) + "\n")
    print("Train one with `mechicl train NAME`.")


@app.command
def train(
    recipe: Annotated[Positional[str | None], arg(metavar="RECIPE", help="see `mechicl recipes`")] = None,
    *,
    out: Path | None = None,
    seed: int | None = None,
    seeds: str | None = None,
    jobs: int | None = None,
    data: Path | None = None,
    resume: Annotated[Path | None, arg(metavar="RUN")] = None,
    quiet: bool = False,
) -> None:
    """Train a checkpoint series, or continue one that was interrupted.

    $ mechicl train demo
    $ mechicl train demo --seeds 0..4
    $ mechicl train omniglot-small --data ~/data/omniglot
    $ mechicl train --resume checkpoints/demo

    Args:
        recipe: which recipe.
        out: the run's directory (default checkpoints/RECIPE, with -sN for a seed).
        seed: seed of the initial weights and of the data; evaluation sets keep theirs.
        seeds: several seeds at once, as 0..4 or 0,3,7; finished ones are skipped, interrupted ones continued.
        jobs: with --seeds, how many processes (default: one per core).
        data: folder (or zip) of images, for recipes that need one; with --resume, where it is now.
        resume: continue this run to the same bytes as an unbroken one.
        quiet: no progress bar.
    """
    from mechicl import recipes as known
    from mechicl import train as trainer  # the function
    from mechicl.ensemble import train_seeds
    from mechicl.loading import parse_seeds
    from mechicl.train import resume as continue_run

    if resume is not None:
        if any(given is not None for given in (recipe, out, seed, seeds)):
            raise ConfigError("give a recipe to start a run, or --resume RUN alone to continue one, not both.")
        series = continue_run(resume, data=data, progress=not quiet)
        print(f"{series.root} has {len(series.steps)} checkpoints, to step {series.steps[-1]:,}.")
        return
    if seed is not None and seeds is not None:
        raise ConfigError("give --seed for one run or --seeds for several, not both.")
    if recipe is None:
        raise ConfigError("say which recipe to train: `mechicl train demo`; `mechicl recipes` lists them.")
    config = known.get(recipe)
    if seeds is None:
        name = recipe if seed is None else f"{recipe}-s{seed}"
        settings, root = config if seed is None else config.with_seed(seed), out or Path("checkpoints") / name
        runs = [trainer(settings, root, data=data, progress=not quiet)]
    else:
        runs = train_seeds(config, parse_seeds(seeds), out, data=data, jobs=jobs, progress=not quiet)
    for series in runs:
        print(f"{series.root}: {len(series.steps)} checkpoints, to step {series.steps[-1]:,}.")
    roots = [series.root for series in runs]
    print(f"Look at it with {command('show', *roots)}; analyse it with {command('report', roots[0])}.")


@app.command
def sweep(
    file: Annotated[Positional[Path], arg(metavar="FILE", help="a TOML file: see docs/sweeps.md")],
    *,
    out: Path | None = None,
    jobs: int | None = None,
    data: Path | None = None,
    dry_run: bool = False,
    gather: bool = False,
    retry: bool = False,
    slurm: bool = False,
    quiet: bool = False,
) -> None:
    """Train a grid of settings x seeds that a file describes, and gather one table.

    $ mechicl sweep sweeps/dimension.toml --dry-run
    $ mechicl sweep sweeps/dimension.toml

    The same line goes on after an interruption: finished runs are skipped. The table is
    OUT/table.parquet, and what the seeds of each condition agree on OUT/summary.parquet.

    Args:
        out: the sweep's directory (default checkpoints/NAME, NAME being the file's).
        jobs: processes (default: one per core); with --slurm, jobs at a time.
        data: folder (or zip) of images, for recipes that need one.
        dry_run: print what would be trained, and how long it would take; train nothing.
        gather: train nothing, only gather what the runs have recorded so far.
        retry: train diverged runs again, too.
        slurm: as jobs of a Slurm cluster, with the settings of the file's [slurm] table.
        quiet: no progress bar.
    """
    from mechicl.sweep.command import run

    failed = run(
        file, out, jobs=jobs, data=data, dry_run=dry_run, only_gather=gather, retry=retry, slurm=slurm,
        progress=not quiet,
    )  # fmt: skip
    if failed:
        raise SystemExit(1)


@app.command
def analyze(
    run: Run,
    name: Annotated[Positional[str | None], arg(metavar="NAME", help="default: all of them")] = None,
    *,
    quiet: bool = False,
) -> None:
    """Analyse a series: transience, induction_heads, attention_over_time, head_ablations and circuits.

    Writes a parquet table, plotly pages and a summary for each under RUN/analysis. circuits takes longest.

    Args:
        run: the run's directory.
        name: one analysis.
        quiet: no progress bar.
    """
    import analyses
    from mechicl.series import open_series

    series = open_series(run)
    chosen = analyses.NAMES if name is None else (name,)
    for each in chosen:
        found = analyses.get(each)(series, progress=not quiet)
        paths = found.save(series.root / "analysis")
        print(f"\n{found.question}")
        for line in found.text:
            print(f"  - {line}")
        print(f"  {paths[0]} ({len(found.table):,} rows) and {len(found.figures)} figures beside it.")


@app.command
def report(run: Run, *, out: Path | None = None, quiet: bool = False) -> None:
    """Write one self-contained HTML page about a series; it opens offline.

    Args:
        run: the run's directory.
        out: the page (default RUN/report.html).
        quiet: no progress bar.
    """
    from mechicl.report import report as write
    from mechicl.series import open_series

    path = write(open_series(run), out, progress=not quiet)
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB): open it in a browser.")


@app.command(name="app")
def open_app(
    run: Run = Path("checkpoints/demo"),
    *,
    port: int | None = None,
    host: str = "127.0.0.1",
    browser: bool = True,
) -> None:
    """Open a page to scrub through training, ablate heads and watch ICL change. Ctrl-C ends it.

    $ mechicl app
    $ mechicl app checkpoints/demo-s1 --port 9000 --no-browser

    Args:
        run: the run's directory; the runs beside it can be compared with.
        port: default 8050, or any free one if that is taken.
        host: where to listen; other than this machine alone, the page asks for the token that
            its address carries.
        browser: open it in the browser.
    """
    import torch

    from mechicl.app.server import open_server

    torch.set_num_threads(1)  # numbers come in small pieces, of which several users may ask at once
    server = open_server(run, host, port)
    print(f"{run} is open at {server.url}  (Ctrl-C ends it)", flush=True)
    if browser:
        import webbrowser

        webbrowser.open(server.url)
    try:
        server.serve()
    except KeyboardInterrupt:
        print()


@app.command
def densify(
    run: Run,
    *,
    start: Annotated[int, arg(name="from")],
    stop: Annotated[int, arg(name="to")],
    every: int,
    quiet: bool = False,
) -> None:
    """Replay a window of training and keep more checkpoints in it, bit for bit the run's own.

    $ mechicl densify checkpoints/demo --from 400 --to 900 --every 10

    Args:
        run: the run's directory.
        start: first step of the window.
        stop: its last step.
        every: distance between checkpoints, in steps.
        quiet: no progress bar.
    """
    from mechicl.train import densify as replay

    series = replay(run, start, stop, every, progress=not quiet)
    inside = sum(start <= step <= stop for step in series.steps)
    print(f"{series.root} now has {inside} checkpoints in {start}..{stop}, {len(series.steps)} in all.")


@app.command
def verify(run: Run) -> None:
    """Check a series: every file's sha256, the schedule, neighbours that differ. Exit 1 if not sound.

    Args:
        run: the run's directory.
    """
    from mechicl.series import open_series
    from mechicl.verify import verify as check

    problems = check(run)
    for problem in problems:
        print(problem)
    if problems:
        raise SystemExit(1)
    print(f"{run}: {len(open_series(run).steps)} checkpoints, all as they were written.")


@app.command
def show(runs: Runs) -> None:
    """Summarise a run in the terminal, with small curves; several runs as seeds, with their spread.

    $ mechicl show checkpoints/demo
    $ mechicl show checkpoints/demo-s*

    Args:
        runs: run directories.
    """
    from mechicl.series import open_series
    from mechicl.summary import one, several

    if not runs:
        raise ConfigError("say which run: `mechicl show checkpoints/demo`.")
    opened = [open_series(run) for run in runs]
    print(one(opened[0]) if len(opened) == 1 else several(opened))


def main(args: list[str] | None = None) -> None:
    """Entry point: errors a user can act on are one message and exit code 2."""
    if (sys.argv[1:] if args is None else args) == ["--version"]:
        print(f"mechicl {mechicl.__version__}")
        return
    try:
        app.cli(
            prog="mechicl", args=args, config=(DisallowNone,),
            description="Train small transformers as dense checkpoint series and see why in-context "
            "learning appears and fades. Start with `mechicl train demo`, then `mechicl report "
            "checkpoints/demo`; `mechicl VERB --help` explains each verb; `mechicl --version` says which one this is.",
        )  # fmt: skip
        sys.stdout.flush()  # here, where what goes wrong is said
    except (ConfigError, SeriesError) as error:
        print(f"mechicl: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:  # `mechicl show RUN | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more as it ends
        raise SystemExit(141) from None
    except KeyboardInterrupt:
        print("\nmechicl: stopped; what was saved is whole. Go on with `mechicl train --resume RUN`.", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
