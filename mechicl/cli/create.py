"""Commands that make runs, and the banks and tokenizers for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from mechicl.cli.verbs import Device, Log, Run, app
from mechicl.errors import ConfigError
from mechicl.system.commands import command


@app.command
def recipes(
    recipe: Annotated[Positional[str | None], arg(metavar="RECIPE", help="show all settings of this recipe")] = None,
) -> None:
    """List the recipes with what each reproduces and how long it takes, or show all settings of one recipe.

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
    steps: int | None = None,
    device: Device = None,
    log: Log = None,
    changes: Annotated[UseAppendAction[tuple[str, ...]], arg(name="set", metavar="FIELD=VALUE")] = (),
    quiet: bool = False,
) -> None:
    """Train a run, resume an interrupted run, or train a run for more steps.

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
    from mechicl.settings import assignments, changed, named
    from mechicl.system.paths import shown
    from mechicl.training.ensemble import train_seeds
    from mechicl.training.replay import resume as continue_run

    if resume is not None:
        if changes or any(given is not None for given in (recipe, out, seed, seeds)):
            raise ConfigError("give a recipe to start a run, or only --resume RUN to continue one, not both.")
        series = continue_run(resume, steps=steps, data=data, device=device, log=log, progress=not quiet)
        print(f"{shown(series.root)} has {len(series.steps)} checkpoints, to step {series.steps[-1]:,}.")
        return
    if steps is not None:
        raise ConfigError(
            f"--steps needs --resume: --resume RUN --steps {steps} trains an existing run for more steps. "
            f"For a new run use --set steps={steps}."
        )
    if seed is not None and seeds is not None:
        raise ConfigError("give --seed for one run or --seeds for several, not both.")
    if recipe is None:
        raise ConfigError("no recipe was given: use for example `mechicl train demo`. `mechicl recipes` lists them.")
    values = assignments(changes)
    config = changed(known.get(recipe), values, "--set") if values else known.get(recipe)
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


@app.command
def features(
    source: Annotated[
        Positional[Path], arg(metavar="SOURCE", help="a folder with a folder of pictures per class, or Omniglot's")
    ],
    *,
    out: Path,
    encoder: str = "efficientnet-lite0",
    transforms: int = 1,
    exemplars: int | None = None,
    size: int | None = None,
    dim: int | None = None,
    weights: Path | None = None,
    pictures: int = 28,
    jobs: int = 1,
    quiet: bool = False,
) -> None:
    """Compute features of pictures and write them as a bank: one file for `mechicl train RECIPE --data FILE`.

    $ mechicl features ~/omniglot --transforms 8 --out omniglot.safetensors
    $ mechicl features ~/pictures --encoder pixels --size 28 --out pixels.safetensors
    $ mechicl features ~/pictures --encoder my_encoders:my_function --size 64 --out mine.safetensors

    After an interruption, run the same command again: it continues. The file contains raw features in half precision,
    their sha256, and how they were made. The settings `bank.centre` and `bank.scale` of a run centre and scale them.

    Args:
        out: the file to write, .safetensors.
        encoder: efficientnet-lite0, resnet18, pixels, pca, or your own function as module:function.
        transforms: 1, 2, 4 or 8 flips and rotations of every picture; each one is its own class (published for
            Omniglot: 8).
        exemplars: pictures per class, the first ones by file name (default: the size of the smallest class).
        size: side of the encoder's input in pixels (default: the encoder's own).
        dim: for pca: the number of components (default 64).
        weights: for resnet18: the file with its ImageNet weights.
        pictures: side in pixels of the small pictures that the page shows; 0 keeps no pictures.
        jobs: number of threads.
        quiet: no progress bar.
    """
    from mechicl.tasks.exemplar_label.features.encoders import Options
    from mechicl.tasks.exemplar_label.features.extract import extract

    options = Options(size=size, dim=dim, weights=weights, threads=jobs)
    made = extract(
        source,
        out,
        encoder=encoder,
        transforms=transforms,
        n_exemplars=exemplars,
        pictures=pictures,
        options=options,
        progress=not quiet,
    )
    classes, each, numbers = made.exemplars.shape
    print(f"{out}: {classes:,} classes x {each} exemplars x {numbers:,} features ({out.stat().st_size / 1e6:,.0f} MB).")


@app.command
def tokenizer(
    files: Annotated[
        Positional[tuple[Path, ...]],
        arg(metavar="FILES...", help="texts in UTF-8, or folders of them", help_behavior_hint=""),
    ],
    *,
    vocabulary: int,
    out: Path,
    pattern: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="PATTERN")] = (),
    quiet: bool = False,
) -> None:
    """Train a byte-level BPE tokenizer on texts. The same texts always give the same file.

    $ mechicl tokenizer ~/novels --vocabulary 2048 --out ~/novels/tokenizer.json
    $ mechicl tokenizer ~/code --pattern '*.py' --pattern '*.md' --vocabulary 4096 --out tokenizer.json

    `mechicl train text-small --data FOLDER` uses the tokenizer.json in FOLDER. If there is none, it trains one. Hidden
    files, empty files, very large files, duplicates and files that are not UTF-8 text are skipped.

    Args:
        vocabulary: the number of tokens, including the 256 bytes.
        out: the file to write, such as tokenizer.json.
        pattern: which files of a folder to read, such as '*.md' (default: all); may be given several times.
        quiet: no progress bar.
    """
    from mechicl.system.disk import check_writable
    from mechicl.system.files import write_atomic
    from mechicl.system.paths import given, shown
    from mechicl.tasks.text import documents, tokenizing

    if not files:
        raise ConfigError("no texts were given: use `mechicl tokenizer FOLDER --vocabulary 1024 --out tokenizer.json`.")
    place = given(out)
    if place.suffix != ".json":
        raise ConfigError(f"--out {out}: expected a file name that ends in .json, such as tokenizer.json.")
    check_writable(place.parent)
    read = documents.read(files, pattern or ("*",), without=[place])
    made = tokenizing.trained([each.text for each in read.found], vocabulary, progress=not quiet)
    write_atomic(place, made.to_str(pretty=True).encode())
    left = f" (skipped: {documents.counted(read.left_out)})" if read.left_out else ""
    print(
        f"{shown(place)}: {vocabulary:,} tokens, from {len(read.found):,} documents of {read.bytes / 1e6:.1f} MB{left}."
    )


@app.command
def sweep(
    file: Annotated[Positional[Path], arg(metavar="FILE", help="a TOML file: see docs/sweeps.md")],
    *,
    out: Path | None = None,
    jobs: int | None = None,
    data: Path | None = None,
    device: Device = None,
    log: Log = None,
    dry_run: bool = False,
    gather: bool = False,
    retry: bool = False,
    slurm: bool = False,
    quiet: bool = False,
) -> None:
    """Train a grid of settings and seeds that a file describes, and write one table of all runs.

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


@app.command
def densify(
    run: Run,
    *,
    start: Annotated[int, arg(name="from")],
    stop: Annotated[int, arg(name="to")],
    every: int,
    device: Device = None,
    quiet: bool = False,
) -> None:
    """Replay a window of training and save more checkpoints in it. They are exact, bit for bit.

    $ mechicl densify checkpoints/demo --from 400 --to 900 --every 10

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
