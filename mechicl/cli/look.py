"""Verbs that look at runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from mechicl.cli.verbs import Device, Every, Run, Runs, Slurm, Steps, Workers, app, opened
from mechicl.errors import ConfigError


def _analyses() -> str:
    """The analyses there are, as a sentence names them."""
    import analyses

    *most, last = analyses.names()
    return f"{', '.join(most)} and {last}" if most else last


@app.command(analyses=_analyses)
def analyze(
    run: Run,
    name: Annotated[Positional[str | None], arg(metavar="NAME", help="default: all of them")] = None,
    *,
    steps: Steps = None,
    every: Every = None,
    device: Device = None,
    workers: Workers = 1,
    slurm: Slurm = None,
    out: Path | None = None,
    quiet: bool = False,
) -> None:
    """Analyse a series: {analyses}.

    It writes a parquet table, plotly pages and a summary for each. circuits takes longest.

    Args:
        run: the run's directory.
        name: one analysis.
        out: the folder to write to (default RUN/analysis), for example if the run is read-only.
        quiet: no progress bar.
    """
    import analyses
    from mechicl.system.disk import check_writable, own_place
    from mechicl.system.paths import given, shown

    series = opened(run, steps, every, device, workers, slurm)
    chosen = analyses.names() if name is None else [name]
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
    run: Run,
    *,
    heads: str = "",
    kind: str = "zero",
    hold: str = "",
    mlp: str = "",
    edge: str = "",
    path: str = "",
    position: str = "",
    patch: str = "",
    counterfactual: str = "",
    graft: str = "",
    without_subspace: str = "",
    own: str = "",
    step: int | None = None,
    steps: Steps = None,
    every: Every = None,
    n: int | None = None,
    device: Device = None,
    workers: Workers = 1,
    slurm: Slurm = None,
    out: Path | None = None,
    quiet: bool = False,
) -> None:
    """Intervene on a checkpoint and see what each evaluator loses, beside the same done to random others.

    Several options together are one intervention.

    $ mechicl ablate checkpoints/demo --heads L0H5,L1H3
    $ mechicl ablate checkpoints/demo --edge 'query->match_label'
    $ mechicl ablate checkpoints/demo --path 'L0H5->L1H3.k'
    $ mechicl ablate checkpoints/demo --patch L1H3
    $ mechicl ablate checkpoints/demo --patch match_label:1
    $ mechicl ablate checkpoints/demo --graft qk.1@1400
    $ mechicl ablate checkpoints/demo --heads L0H0,L0H1 --hold k,v --step 2000 --out ablated.csv
    $ mechicl ablate checkpoints/demo --heads L1H3 --steps 0..3000 --every 500 --out over_time.csv

    Args:
        run: the run's directory.
        heads: which heads, as L0H5,L1H3; layers and heads count from 0.
        kind: what takes their place: zero, mean or resample; for heads also pattern_preserving and value_preserving;
            for paths zero, mean or counterfactual.
        hold: what later layers keep at its intact value: pattern, q, k, v, or several of them.
        mlp: which layers' MLPs, as 1 or 0,1.
        edge: which attention edges to cut, by roles, as 'query->match_label' or 'previous' in all heads, or
            'query->match_label:1' in those of layer 1, 'query->match_label:L1H3' in one; several with commas. If
            there is no such role, the error lists the roles.
        path: which paths from one component to another to cut, as L0H5->L1H3.k (the keys of L1H3 are computed without
            what L0H5 wrote) or embed->out; several with commas. Senders: embed, heads, mlp.0. Receivers: heads' q, k
            and v, mlp.1, out.
        position: which positions of the residual stream, by role or number, and before which layer, as match_label:1.
        patch: what comes from a counterfactual sequence (of exemplars and labels: labels exchanged): heads, MLPs,
            positions before a layer, the attention scores along edges, as L1H3,mlp.1,match_label:1,query->match_label.
        counterfactual: which sequence a patch comes from: labels or next of exemplars and labels, else next.
        graft: parts of the weights that come from another step, as qk.1@1400; docs/interventions.md names the parts.
        without_subspace: take off the directions in which the last layer writes one answer: flip, ciwl or iwl.
        own: one of your own, with its fields, as 'scale_values(layer=0, factor=0.5)'; --plugin names its module.
        step: which checkpoint (default: the last); for several --steps or --every.
        n: sequences per evaluator (default: as the run was evaluated).
        out: keep the table, as FILE.csv or FILE.parquet.
        quiet: no progress bar.
    """
    from mechicl.cli.ablation import asked
    from mechicl.cli.ablation import run as measure

    condition = asked(
        n,
        heads=heads,
        kind=kind,
        hold=hold,
        mlp=mlp,
        edge=edge,
        path=path,
        position=position,
        patch=patch,
        counterfactual=counterfactual,
        graft=graft,
        without_subspace=without_subspace,
        own=own,
    )
    several = steps is not None or every is not None
    if several and step is not None:
        raise ConfigError(f"give --step {step} for one checkpoint, or --steps and --every for several, not both.")
    series = opened(run, steps, every, device, workers, slurm)
    at = series.steps if several else [series.steps[-1] if step is None else step]
    print(measure(series, condition, at, n, out, not quiet))


@app.command
def measure(
    run: Run,
    name: Annotated[Positional[str | None], arg(metavar="NAME", help="default: list the measures")] = None,
    *,
    beside: Annotated[UseAppendAction[tuple[Path, ...]], arg(name="with", metavar="RUN")] = (),
    steps: Steps = None,
    every: Every = None,
    evaluators: str | None = None,
    n: int | None = None,
    device: Device = None,
    workers: Workers = 1,
    slurm: Slurm = None,
    out: Path | None = None,
    quiet: bool = False,
) -> None:
    """Compute one measure of a run as a tidy table, such as attention scores or the effect of every head.

    $ mechicl measure checkpoints/demo attention_scores --steps 1400 --evaluators icl --out scores.csv
    $ mechicl measure checkpoints/demo

    Args:
        run: the run's directory.
        name: which measure; docs/measures.md describes them.
        beside: another run, for measures over several runs, such as seed_bands; may be given several times.
        evaluators: on which evaluators' sequences, such as icl,flip (default: the measure's).
        n: sequences per evaluator (default: the measure's).
        out: keep the table, as FILE.csv or FILE.parquet.
        quiet: no progress bar.
    """
    from mechicl.cli.measuring import listing
    from mechicl.cli.measuring import run as take

    if name is None:
        print(listing())
        return
    runs = [opened(root, steps, every, device, workers, slurm) for root in (run, *beside)]
    picked = None if steps is None and every is None else runs[0].steps
    print(take(runs, name, picked, evaluators, n, out, not quiet))


@app.command
def report(
    run: Run,
    *,
    steps: Steps = None,
    every: Every = None,
    device: Device = None,
    workers: Workers = 1,
    slurm: Slurm = None,
    out: Path | None = None,
    quiet: bool = False,
) -> None:
    """Write one self-contained HTML page about a series; it opens offline.

    Args:
        run: the run's directory.
        out: the page (default RUN/report.html), for example if the run is read-only.
        quiet: no progress bar.
    """
    from mechicl.reporting.report import report as write
    from mechicl.system.paths import shown

    path = write(opened(run, steps, every, device, workers, slurm), out, progress=not quiet)
    print(f"{shown(path)} ({path.stat().st_size / 1e6:.1f} MB): open it in a browser.")


@app.command
def verify(
    run: Run,
    *,
    all_: Annotated[bool, arg(name="all", aliases=("--every",))] = False,
    data: Path | None = None,
) -> None:
    """Check a series: every file's sha256, the schedule, that no two steps are equal, and the recorded scores. The exit
    code is 1 if something is wrong.

    $ mechicl verify checkpoints/demo
    $ mechicl verify checkpoints/my-sweep

    Of a sweep's folder every run is checked, and the tree of its branches is printed.

    Args:
        run: the run's directory, or a folder of runs.
        all_: evaluate every checkpoint again, not only five of them (--every is the old name).
        data: where the images are, for recipes that need them.
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
        print(
            f"{run}: {len(runs)} runs, {sum(len(each.steps) for each in runs)} checkpoints, all as they were written."
        )
        return
    print(f"{run}: {len(open_series(run).steps)} checkpoints, all as they were written.")


@app.command
def show(runs: Runs) -> None:
    """Summarise a run in the terminal, with small curves. Several runs are shown as seeds, with their spread; a sweep's
    folder as the tree of its runs and their branches, with its summary.

    $ mechicl show checkpoints/demo
    $ mechicl show checkpoints/demo-s*
    $ mechicl show checkpoints/my-sweep

    Args:
        runs: run directories, or one folder of runs.
    """
    from mechicl.reporting.summary import one, several
    from mechicl.series import open_series
    from mechicl.series.tree import is_folder_of_runs
    from mechicl.sweeps.look import show_folder

    if not runs:
        raise ConfigError("say which run: `mechicl show checkpoints/demo`.")
    if len(runs) == 1 and is_folder_of_runs(runs[0]):
        print(show_folder(runs[0]))
        return
    opened = [open_series(run) for run in runs]
    print(one(opened[0]) if len(opened) == 1 else several(opened))
