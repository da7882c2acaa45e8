"""Verbs that make runs, and what they are made from."""

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
    """List the recipes, with what each reproduces and how long it takes; or show one with all of its settings.

    $ mechicl recipes
    $ mechicl recipes demo

    Args:
        recipe: one recipe, as the lines that `mechicl train RECIPE --set` and sweeps take.
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
    """Train a checkpoint series; continue an interrupted one; or train one for more steps.

    $ mechicl train demo
    $ mechicl train demo --set model.n_layers=3 --set bank.dim=16
    $ mechicl train demo --seeds 0..4
    $ mechicl train demo --seeds 0..4 --device cuda
    $ mechicl train omniglot-small --data ~/data/omniglot
    $ mechicl train --resume checkpoints/demo
    $ mechicl train --resume checkpoints/demo --steps 48000

    Args:
        recipe: which recipe.
        out: the run's directory (default checkpoints/RECIPE, with what was set, and -sN for a seed).
        seed: seed of the initial weights and of the data; evaluation sets keep theirs.
        seeds: several seeds at once, such as 0..4 or 0,3,7; finished runs are skipped, interrupted ones continued.
        jobs: with --seeds, how many processes (default: one per core that may be used).
        data: folder, zip or file of the data, for recipes that need one; with --resume, where it is now.
        resume: continue this run to the same bytes as an unbroken one.
        steps: with --resume, train until the run has this many steps in all, more than it was planned with.
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
            raise ConfigError("give a recipe to start a run, or --resume RUN alone to continue one, not both.")
        series = continue_run(resume, steps=steps, data=data, device=device, log=log, progress=not quiet)
        print(f"{shown(series.root)} has {len(series.steps)} checkpoints, to step {series.steps[-1]:,}.")
        return
    if steps is not None:
        raise ConfigError(
            f"--steps gives more steps to a run that exists: --resume RUN --steps {steps}. "
            f"For a new run: --set steps={steps}."
        )
    if seed is not None and seeds is not None:
        raise ConfigError("give --seed for one run or --seeds for several, not both.")
    if recipe is None:
        raise ConfigError("say which recipe to train: `mechicl train demo`; `mechicl recipes` lists them.")
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
    """Turn pictures into a bank of features: one file, which recipes read with `--data FILE`.

    $ mechicl features ~/omniglot --transforms 8 --out omniglot.safetensors
    $ mechicl features ~/pictures --encoder pixels --size 28 --out pixels.safetensors
    $ mechicl features ~/pictures --encoder my_encoders:my_function --size 64 --out mine.safetensors

    After an interruption the same command continues. The file keeps raw features in half precision, how they were made,
    and their sha256. A run's settings say whether it centres or scales them (`bank.centre`, `bank.scale`).

    Args:
        out: the file to write, .safetensors.
        encoder: efficientnet-lite0, resnet18, pixels, pca, or your own as module:function.
        transforms: 1, 2, 4 or 8 flips and turns of every picture, each of them a class (8 as published for Omniglot).
        exemplars: pictures of each class, the first by name (default: as many as the smallest class has).
        size: pixels per side that the encoder sees (default: the encoder's).
        dim: pca: how many components (default 64).
        weights: resnet18: the file of its ImageNet weights.
        pictures: side of the small pictures kept to show on the page; 0 keeps none.
        jobs: threads.
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
    """Train a tokenizer on texts: byte-level BPE, the same file from the same texts.

    $ mechicl tokenizer ~/novels --vocabulary 2048 --out ~/novels/tokenizer.json
    $ mechicl tokenizer ~/code --pattern '*.py' --pattern '*.md' --vocabulary 4096 --out tokenizer.json

    `mechicl train text-small --data FOLDER` uses the tokenizer.json in FOLDER, and trains one where there is none.
    Hidden files are left out, and so are files that are no text in UTF-8, empty, very large, or there twice.

    Args:
        vocabulary: how many tokens it shall have, the 256 bytes among them.
        out: the file to write, tokenizer.json.
        pattern: which files of folders, such as '*.md' (default: all); may be given several times.
        quiet: no progress bar.
    """
    from mechicl.system.disk import check_writable
    from mechicl.system.files import write_atomic
    from mechicl.system.paths import given, shown
    from mechicl.tasks.text import documents, tokenizing

    if not files:
        raise ConfigError("say which texts: `mechicl tokenizer FOLDER --vocabulary 1024 --out tokenizer.json`.")
    place = given(out)
    if place.suffix != ".json":
        raise ConfigError(f"--out {out}: expected the name of a file that ends in .json, such as tokenizer.json.")
    check_writable(place.parent)
    read = documents.read(files, pattern or ("*",), without=[place])
    made = tokenizing.trained([each.text for each in read.found], vocabulary, progress=not quiet)
    write_atomic(place, made.to_str(pretty=True).encode())
    left = f" (left out: {documents.counted(read.left_out)})" if read.left_out else ""
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
    """Train a grid of settings and seeds that a file describes, and gather one table.

    $ mechicl sweep research/sweeps/dimension.toml --dry-run
    $ mechicl sweep research/sweeps/dimension.toml

    After an interruption the same command continues; it skips finished runs. OUT/table.parquet has every run,
    OUT/summary.parquet the summary of each condition over its seeds.

    Args:
        out: the sweep's directory (default checkpoints/NAME, NAME being the file's).
        jobs: processes (default: one per core that may be used); with --slurm, jobs at a time.
        data: folder (or zip) of images, for recipes that need one.
        dry_run: print what would be trained, and how long it would take; train nothing.
        gather: train nothing, only gather what the runs have recorded so far.
        retry: also train diverged runs again.
        slurm: train the runs as jobs of a Slurm cluster, with the settings of the file's [slurm] table.
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
    """Replay a window of training and keep more checkpoints in it; they are bit for bit those of the run.

    $ mechicl densify checkpoints/demo --from 400 --to 900 --every 10

    Args:
        run: the run's directory.
        start: first step of the window.
        stop: its last step.
        every: distance between checkpoints, in steps.
        quiet: no progress bar.
    """
    from mechicl.system.paths import shown
    from mechicl.training.replay import densify as replay

    series = replay(run, start, stop, every, device=device, progress=not quiet)
    inside = sum(start <= step <= stop for step in series.steps)
    print(f"{shown(series.root)} now has {inside} checkpoints in {start}..{stop}, {len(series.steps)} in all.")
