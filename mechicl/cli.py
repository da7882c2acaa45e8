"""The command line. Imports nothing heavy until a verb runs."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, get_type_hints

import tyro
from tyro.conf import DisallowNone, Positional, UseAppendAction, arg

import mechicl
from mechicl.commands import command
from mechicl.config import ConfigError
from mechicl.output import never_crash
from mechicl.storage import SeriesError

Run = Annotated[Positional[Path], arg(metavar="RUN", help="the run's directory, as checkpoints/demo")]
Runs = Annotated[
    Positional[tuple[Path, ...]], arg(metavar="RUN...", help="one or more runs", help_behavior_hint="")
]


class _Verbs(tyro.extras.SubcommandApp):
    """Their help shows what may be left out as such: a positional in brackets, and nothing as '(default: None)'."""

    def command(self, func: Callable | None = None, *, name: str | None = None):
        if func is None:
            return functools.partial(self.command, name=name)
        hints = get_type_hints(func, include_extras=True)
        for key, parameter in inspect.signature(func).parameters.items():
            metavar = next((m.metavar for m in getattr(hints[key], "__metadata__", ()) if hasattr(m, "metavar")), None)
            needed = parameter.default is parameter.empty
            if parameter.kind is not parameter.KEYWORD_ONLY and not needed and metavar and metavar[0] != "[":
                hints[key] = Annotated[hints[key], arg(metavar=f"[{metavar}]")]
            if parameter.default is None or parameter.default is False:
                hints[key] = Annotated[hints[key], arg(help_behavior_hint="")]
        func.__annotations__ = hints
        return super().command(func, name=name)


app = _Verbs()


@app.command
def recipes(
    recipe: Annotated[Positional[str | None], arg(metavar="RECIPE", help="show all of its settings")] = None,
) -> None:
    """List the recipes: what each reproduces and how long it takes; or show one with all of its settings.

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
    changes: Annotated[UseAppendAction[tuple[str, ...]], arg(name="set", metavar="FIELD=VALUE")] = (),
    quiet: bool = False,
) -> None:
    """Train a checkpoint series, continue one that was interrupted, or give one more steps.

    $ mechicl train demo
    $ mechicl train demo --set model.n_layers=3 --set bank.dim=16
    $ mechicl train demo --seeds 0..4
    $ mechicl train omniglot-small --data ~/data/omniglot
    $ mechicl train --resume checkpoints/demo
    $ mechicl train --resume checkpoints/demo --steps 48000

    Args:
        recipe: which recipe.
        out: the run's directory (default checkpoints/RECIPE, with what was set, and -sN for a seed).
        seed: seed of the initial weights and of the data; evaluation sets keep theirs.
        seeds: several seeds at once, as 0..4 or 0,3,7; finished ones are skipped, interrupted ones continued.
        jobs: with --seeds, how many processes (default: one per core that may be used).
        data: folder (or zip) of images, for recipes that need one; with --resume, where it is now.
        resume: continue this run to the same bytes as an unbroken one.
        steps: with --resume, how many steps the run shall have in all: more than it was begun with.
        changes: change a field of the recipe; may be given several times. `mechicl recipes RECIPE` shows the fields.
            Values are TOML: 3, 1e-3, true, [0, 1]; text needs no quotes; none is None.
        quiet: no progress bar.
    """
    from mechicl import recipes as known
    from mechicl import train as trainer  # the function
    from mechicl.ensemble import train_seeds
    from mechicl.loading import parse_seeds
    from mechicl.paths import shown
    from mechicl.settings import assignments, changed, named
    from mechicl.train import resume as continue_run

    if resume is not None:
        if changes or any(given is not None for given in (recipe, out, seed, seeds)):
            raise ConfigError("give a recipe to start a run, or --resume RUN alone to continue one, not both.")
        series = continue_run(resume, steps=steps, data=data, progress=not quiet)
        print(f"{shown(series.root)} has {len(series.steps)} checkpoints, to step {series.steps[-1]:,}.")
        return
    if steps is not None:
        raise ConfigError(f"--steps gives a run that is there more steps: --resume RUN --steps {steps}. "
                          f"For a new run: --set steps={steps}.")  # fmt: skip
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
        runs = [trainer(settings, root, data=data, progress=not quiet)]
    else:
        out = out or Path("checkpoints") / name
        runs = train_seeds(config, parse_seeds(seeds), out, data=data, jobs=jobs, progress=not quiet)
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

    The same line goes on after an interruption. Features are kept raw, in half precision, with what made them and their
    sha256; a run says whether it centres or scales them (`bank.centre`, `bank.scale`).

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
    from mechicl.features.encoders import Options
    from mechicl.features.extract import extract

    options = Options(size=size, dim=dim, weights=weights, threads=jobs)
    made = extract(source, out, encoder=encoder, transforms=transforms, n_exemplars=exemplars, pictures=pictures,
                   options=options, progress=not quiet)  # fmt: skip
    classes, each, numbers = made.exemplars.shape
    print(f"{out}: {classes:,} classes x {each} exemplars x {numbers:,} features ({out.stat().st_size / 1e6:,.0f} MB).")


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
        jobs: processes (default: one per core that may be used); with --slurm, jobs at a time.
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
    out: Path | None = None,
    quiet: bool = False,
) -> None:
    """Analyse a series: transience, induction_heads, attention_over_time, head_ablations and circuits.

    Writes a parquet table, plotly pages and a summary for each. circuits takes longest.

    Args:
        run: the run's directory.
        name: one analysis.
        out: the folder to write to (default RUN/analysis), as for a run that is read-only.
        quiet: no progress bar.
    """
    import analyses
    from mechicl.disk import check_writable, own_place
    from mechicl.paths import given, shown
    from mechicl.series import open_series

    series = open_series(run)
    chosen = analyses.NAMES if name is None else (name,)
    folder = own_place(series.root, series.root / "analysis" / "x").parent if out is None else given(out)
    check_writable(folder, "Write elsewhere with --out DIR.")
    for each in chosen:
        found = analyses.get(each)(series, progress=not quiet)
        paths = found.save(folder)
        print(f"\n{found.question}")
        for line in found.text:
            print(f"  - {line}")
        print(f"  {shown(paths[0])} ({len(found.table):,} rows) and {len(found.figures)} figures beside it.")


@app.command
def ablate(
    run: Run, *,
    heads: str = "", kind: str = "zero", hold: str = "", mlp: str = "",
    step: int | None = None, n: int | None = None, out: Path | None = None,
) -> None:  # fmt: skip
    """Take heads or MLPs out of a checkpoint and see what each evaluator loses, beside random other heads.

    $ mechicl ablate checkpoints/demo --heads L0H5,L1H3
    $ mechicl ablate checkpoints/demo --heads L0H0,L0H1 --hold k,v --step 2000 --out ablated.csv

    Args:
        run: the run's directory.
        heads: which heads, as L0H5,L1H3; layers and heads count from 0.
        kind: what takes their place: zero, mean or resample; for heads also pattern_preserving and value_preserving.
        hold: what later layers keep at its intact value: pattern, q, k, v, or several of them.
        mlp: which layers' MLPs, as 1 or 0,1.
        step: which checkpoint (default: the last).
        n: sequences per evaluator (default: as the run was evaluated).
        out: keep the table, as FILE.csv or FILE.parquet.
    """
    from mechicl.ablate import asked
    from mechicl.ablate import run as measure

    print(measure(run, asked(heads, kind, hold, mlp), step, n, out))


@app.command
def report(run: Run, *, out: Path | None = None, quiet: bool = False) -> None:
    """Write one self-contained HTML page about a series; it opens offline.

    Args:
        run: the run's directory.
        out: the page (default RUN/report.html), as for a run that is read-only.
        quiet: no progress bar.
    """
    from mechicl.paths import shown
    from mechicl.report import report as write
    from mechicl.series import open_series

    path = write(open_series(run), out, progress=not quiet)
    print(f"{shown(path)} ({path.stat().st_size / 1e6:.1f} MB): open it in a browser.")


@app.command(name="app")
def open_app(
    run: Run = Path("checkpoints/demo"),
    *,
    port: int | None = None,
    host: str = "127.0.0.1",
    root_path: str | None = None,
    allow_host: Annotated[tuple[str, ...], arg(metavar="NAME...")] = (),
    browser: bool = True,
) -> None:
    """Open a page to scrub through training, ablate heads and watch ICL change. Ctrl-C ends it.

    $ mechicl app
    $ mechicl app checkpoints/demo-s1 --port 9000 --no-browser

    Args:
        run: the run's directory; the runs beside it can be compared with.
        port: default 8050, or any free one if that is taken.
        host: where to listen; other than this machine alone, the page asks for the token that
            its address carries. 0.0.0.0 is every address of this machine.
        root_path: behind a proxy, the path under which it shows the page, as /user/me/proxy/8050/; found out on
            JupyterHub, Binder, Codespaces and where VSCODE_PROXY_URI is set; / is none.
        allow_host: behind a proxy, host names under which it asks for the page, as hub.example.org, or .example.org
            for all under it.
        browser: open it in the browser.
    """
    import torch

    from mechicl.app.server import open_server

    torch.set_num_threads(1)  # numbers come in small pieces, of which several users may ask at once
    server = open_server(run, host, port, root=root_path, allow_hosts=allow_host)
    print(f"{run} is open at {server.url}  (Ctrl-C ends it)", flush=True)
    if server.note:
        print(server.note, flush=True)
    if browser:
        import webbrowser

        webbrowser.open(server.local)
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
    from mechicl.paths import shown
    from mechicl.train import densify as replay

    series = replay(run, start, stop, every, progress=not quiet)
    inside = sum(start <= step <= stop for step in series.steps)
    print(f"{shown(series.root)} now has {inside} checkpoints in {start}..{stop}, {len(series.steps)} in all.")


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
    never_crash()
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
    except OSError as error:  # of a place that nobody foresaw: which, and the system's reason
        where = f"{error.filename}: " if error.filename else ""
        print(f"mechicl: {where}{error.strerror or error}.", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("\nmechicl: stopped; what was saved is whole. Go on with `mechicl train --resume RUN`.", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
