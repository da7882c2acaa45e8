"""Commands that make runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from mechicl.cli.arguments import Anywhere, Changes, Device, Folder, Log, N, Run, Step
from mechicl.cli.verbs import Group, app
from mechicl.errors import ConfigError
from mechicl.system.commands import command


@app.command(Group.TRAIN)
def recipes(
    recipe: Annotated[Positional[str | None], arg(metavar="RECIPE", help="show all settings of this recipe")] = None,
) -> None:
    """List the recipes, or show all settings of one.

    The list says what each recipe reproduces and how long it takes.

    $ mechicl recipes
    $ mechicl recipes demo

    Args:
        recipe: one recipe; its settings are printed as `mechicl train RECIPE --set` and sweeps take them.
    """
    from mechicl.recipes import RECIPES, get
    from mechicl.settings import as_lines

    if recipe is not None:
        print("\n".join(as_lines(get(recipe))))
        return
    for name, function in RECIPES.items():
        lines = (function.__doc__ or "").strip().splitlines()
        print(f"{name}\n    " + "\n    ".join(line.strip() for line in lines if line.strip()) + "\n")
    print("Train one with `mechicl train NAME`; `mechicl recipes NAME` shows its settings.")


@app.command(Group.TRAIN)
def train(
    recipe: Annotated[Positional[str | None], arg(metavar="RECIPE", help="see `mechicl recipes`")] = None,
    *,
    out: Folder | None = None,
    seed: Annotated[int | None, arg(metavar="SEED")] = None,
    seeds: Annotated[str | None, arg(metavar="SEEDS")] = None,
    jobs: N | None = None,
    data: Anywhere | None = None,
    resume: Annotated[Path | None, arg(metavar="RUN")] = None,
    steps: N | None = None,
    device: Device = None,
    log: Log = None,
    changes: Changes = (),
    quiet: bool = False,
) -> None:
    """Train a recipe, resume a run, or train a run for more steps.

    $ mechicl train demo
    $ mechicl train demo --set model.n_layers=3 --set bank.dim=16
    $ mechicl train demo --seeds 0..4
    $ mechicl train demo --seeds 0..4 --device cuda
    $ mechicl train omniglot-small --data ~/data/omniglot
    $ mechicl train --resume checkpoints/demo
    $ mechicl train --resume checkpoints/demo --steps 48000

    Args:
        recipe: which recipe.
        out: the run's folder (default: checkpoints/RECIPE, followed by the changed fields, and by -sN for seed N).
        seed: seed of the initial weights and of the data; it does not change the evaluation sets.
        seeds: train several seeds, such as 0..4 or 0,3,7. Finished runs are skipped and interrupted ones resumed.
        jobs: with --seeds, the number of processes (default: one per available core).
        data: folder, zip or file of the data, for recipes that need one; with --resume, its new path if it has moved.
        resume: resume this run. The result has the same bytes as an uninterrupted run.
        steps: with --resume, the total number of steps, if it is more than first planned.
        changes: change a field of the recipe; may be given several times. `mechicl recipes RECIPE` shows the fields.
            Values are TOML: 3, 1e-3, true, [0, 1]; text needs no quotes; none means no value.
        quiet: no progress bar.
    """
    from mechicl import recipes as known
    from mechicl import train as trainer  # the function
    from mechicl.loading import parse_seeds
    from mechicl.schedule import within
    from mechicl.settings import assignments, changed, named
    from mechicl.system.paths import shown
    from mechicl.training.ensemble import train_seeds
    from mechicl.training.replay import resume as continue_run

    if resume is not None:
        if changes or any(given is not None for given in (recipe, out, seed, seeds, jobs)):
            given = {"--set": changes or None, "--seed": seed, "--seeds": seeds, "--out": out, "a recipe": recipe}
            given |= {"--jobs": jobs}
            others = " and ".join(name for name, value in given.items() if value is not None)
            branch = command("branch", resume, "--at", "STEP", "--set", "FIELD=VALUE")
            raise ConfigError(
                f"--resume continues a run as it was begun, so it cannot be combined with {others}. To train on with "
                f"other settings, make a branch: {branch}."
            )
        series = continue_run(resume, steps=steps, data=data, device=device, log=log, progress=not quiet)
        longer = command("train", "--resume", series.root, "--steps", "N")
        tail = f" It is complete; {longer} trains it longer." if steps is None else ""
        print(f"{shown(series.root)} has {len(series.steps)} checkpoints, to step {series.steps[-1]:,}.{tail}")
        return
    if steps is not None:
        raise ConfigError(
            f"--steps needs --resume: --resume RUN --steps {steps} trains an existing run for more steps. "
            f"For a new run use {command('train', recipe or 'RECIPE', '--set', f'steps={steps}', *_set(changes))}."
        )
    if jobs is not None and seeds is None:
        raise ConfigError(f"--jobs {jobs} needs --seeds: one run is trained by one process.")
    if seed is not None and seeds is not None:
        raise ConfigError("give --seed for one run or --seeds for several, not both.")
    if recipe is None:
        raise ConfigError("no recipe was given: use for example `mechicl train demo`. `mechicl recipes` lists them.")
    values = assignments(changes)
    base = known.get(recipe)
    if type(end := values.get("steps")) is int and within(base.checkpoint_steps, end) != base.checkpoint_steps:
        base = replace(base, checkpoint_steps=within(base.checkpoint_steps, end))
        print(f"note: the checkpoints that {recipe} names after step {end:,} are left out.")
    config = changed(base, values, "--set") if values else base
    name = "_".join(filter(None, (values.pop("name", recipe), named(values))))
    if seeds is None:
        name = name if seed is None else f"{name}-s{seed}"
        settings, root = config if seed is None else config.with_seed(seed), out or Path("checkpoints") / name
        runs = [trainer(settings, root, data=data, device=device, log=log, progress=not quiet)]
    else:
        out = out or Path("checkpoints") / name
        runs = train_seeds(
            config, parse_seeds(seeds), out, data=data, jobs=jobs, device=device, log=log, progress=not quiet
        )
    for series in runs:
        print(f"{shown(series.root)}: {len(series.steps)} checkpoints, to step {series.steps[-1]:,}.")
    roots = [series.root for series in runs]
    print(f"Look at it with {command('show', *roots)}; analyse it with {command('report', roots[0])}.")


def _set(changes: Iterable[str]) -> list[str]:
    """The words of a command line that make these changes."""
    return [word for change in changes for word in ("--set", change)]


@app.command(Group.TRAIN)
def sweep(
    file: Annotated[Positional[Path], arg(metavar="FILE", help="a TOML file: see docs/sweeps.md")],
    *,
    out: Folder | None = None,
    jobs: N | None = None,
    data: Anywhere | None = None,
    device: Device = None,
    log: Log = None,
    dry_run: bool = False,
    gather: bool = False,
    retry: bool = False,
    slurm: bool = False,
    quiet: bool = False,
) -> None:
    """Train a grid of settings and seeds, and write one table.

    The file describes the grid.

    $ mechicl sweep research/sweeps/dimension.toml --dry-run
    $ mechicl sweep research/sweeps/dimension.toml

    After an interruption, run the same command again: it skips finished runs and resumes the others. OUT/table.parquet
    has every run, and OUT/summary.parquet summarises each condition over its seeds.

    Args:
        out: the sweep's folder (default: checkpoints/NAME, where NAME is the file's name).
        jobs: number of processes (default: one per available core); with --slurm, of jobs at a time.
        data: folder (or zip) of images, for recipes that need one.
        dry_run: list the runs and estimate the time; train nothing.
        gather: train nothing; only write the tables from the results so far.
        retry: also train diverged runs again.
        slurm: train the runs as jobs of a Slurm cluster, with the settings in the file's [slurm] table.
        quiet: no progress bar.
    """
    from mechicl.sweeps.command import run

    failed = run(
        file,
        out,
        jobs=jobs,
        data=data,
        device=device,
        log=log,
        dry_run=dry_run,
        only_gather=gather,
        retry=retry,
        slurm=slurm,
        progress=not quiet,
    )
    if failed:
        raise SystemExit(1)


@app.command(Group.TRAIN)
def densify(
    run: Run,
    *,
    start: Annotated[Step, arg(name="from")],
    stop: Annotated[Step, arg(name="to")],
    every: N,
    device: Device = None,
    quiet: bool = False,
) -> None:
    """Replay a window of training and save more checkpoints in it.

    They are exact, bit for bit. So this needs a machine like the one that trained the run; checkpoints/demo was trained
    elsewhere.

    $ mechicl train demo --seeds 0
    $ mechicl densify checkpoints/demo-s0 --from 400 --to 900 --every 10

    Args:
        run: the run's folder.
        start: first step of the window.
        stop: last step of the window.
        every: distance between checkpoints, in steps.
        quiet: no progress bar.
    """
    from mechicl.system.paths import shown
    from mechicl.training.replay import densify as replay

    series = replay(run, start, stop, every, device=device, progress=not quiet)
    inside = sum(start <= step <= stop for step in series.steps)
    print(f"{shown(series.root)} now has {inside} checkpoints in {start}..{stop}, {len(series.steps)} in all.")
