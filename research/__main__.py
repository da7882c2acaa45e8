"""`python -m research`: collect the tables of runs, and build the page from the tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

app = tyro.extras.SubcommandApp()
Runs = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]


@app.command
def collect(file: tyro.conf.Positional[Path], runs: tyro.conf.Positional[Path], metric: str | None = None) -> None:
    """Make the small table of a sweep: research/tables/NAME.parquet.

    Args:
        file: the sweep's file, as research/sweeps/competition.toml.
        runs: the folder its runs are in.
        metric: such as acc; makes research/tables/NAME-METRIC.parquet (default: the primary metric of each evaluator).
    """
    from research import tables

    _said(tables.collect(file, runs, metric))


@app.command(name="collect-runs")
def collect_runs(name: Name, runs: Runs) -> None:
    """Make the small table of some seeds of one recipe.

    Args:
        name: of the table.
        runs: the seeds' directories.
    """
    from research import tables

    _said(tables.collect_runs(name, _some(runs)))


@app.command
def heads(runs: Runs, out: Path = Path("checkpoints/heads"), jobs: int | None = None) -> None:
    """Train every seed again with its own ICL heads ablated, and with random ones.

    Args:
        runs: whole series of one recipe, a seed each.
        out: where the treated runs go.
        jobs: processes (default: one per core that may be used).
    """
    from research.heads import train_all

    train_all(_some(runs), out, jobs)


@app.command
def circuits(name: Name, runs: Runs) -> None:
    """Compare the circuits of ICL and in-weights learning in runs: research/tables/NAME.parquet.

    Args:
        name: of the table: circuits, of the demo recipe, or circuits-iwl.
        runs: whole series, with their weights.
    """
    from research.circuits import collect

    collect(name, _some(runs))


@app.command
def paths(runs: Runs) -> None:
    """Measure ICL's circuit of paths over training in runs: research/tables/paths.parquet.

    Args:
        runs: whole series, with their weights; runs that the table has already stay in it.
    """
    from research.paths import collect

    collect(_some(runs))


@app.command
def accounts(draws: int = 200) -> None:
    """Fit the quantitative accounts to the untreated curves and score them elsewhere: research/tables/accounts.parquet.

    Args:
        draws: random starts scored per seed and account.
    """
    from research.accounts import as_text, fit_and_score

    print(as_text(fit_and_score(draws)))


@app.command
def fade(draws: int = 200) -> None:
    """Fit the accounts to the raw runs of Figure 1b, and score the other banks: research/tables/fade-accounts.parquet.

    Args:
        draws: random starts scored per seed and account.
    """
    from research.accounts import as_text
    from research.fade_accounts import fit_and_score, measured

    print(as_text(fit_and_score(draws), measured()))


@app.command
def mechanism(runs: Runs) -> None:
    """The mechanism of finished runs of figure-1b, as Singh et al. 2025 measured theirs: mechanism-2025.csv.

    Args:
        runs: finished runs of the sweep figure-1b, with their weights.
    """
    from research.mechanism_2025 import collect

    found = collect(_some(runs))
    print(found.groupby(["seed", "part"]).size().to_string())


@app.command
def evaluation(runs: Runs) -> None:
    """The authors' evaluation set beside ours on finished runs of figure-1b: figure-1b-evaluation.parquet.

    Args:
        runs: finished runs of the sweep figure-1b, with their weights.
    """
    from research.evaluation_set import collect, moved

    print(moved(collect(_some(runs))).groupby(["evaluator", "sequences"]).agg(["min", "median", "max"]).to_string())


@app.command
def geometry(data: Path, features: Path | None = None, sweeps: Path = Path("research/sweeps")) -> None:
    """How easy each strategy's task is on the banks of the sweeps over data: research/tables/geometry.parquet.

    Args:
        data: the folder of Omniglot's drawings.
        features: the file of `mechicl features`, for banks of Figure 1b that the table has not.
        sweeps: the folder of the sweeps' files.
    """
    from research.geometry import MEASURES, collect

    print(collect(sweeps, data, features).groupby(["sweep", "condition"])[list(MEASURES)].mean().to_string())


@app.command
def page() -> None:
    """Build docs/findings.md and its figures from the tables."""
    from research.page import build

    for path in build():
        print(path)


def _some(runs: Runs) -> list[Path]:
    from mechicl.errors import ConfigError

    if not runs:
        raise ConfigError("no run was named: give at least one run's directory, as checkpoints/demo-s0.")
    return list(runs)


def _said(table) -> None:
    runs = table.groupby("condition").seed.nunique()
    print("\n".join(f"{condition}: {seeds} seeds" for condition, seeds in runs.items()))


def main(argv: list[str] | None = None) -> None:
    from mechicl.errors import ConfigError, SeriesError
    from mechicl.system.output import never_crash

    never_crash()
    try:
        app.cli(args=argv, prog="python -m research", description=__doc__)
    except (ConfigError, SeriesError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
