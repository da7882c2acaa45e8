"""Commands that compute on a run: its analyses, its measures, and what an intervention does to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from mechicl.cli.arguments import File, Folder, Heads, N, Name, Names, Run, Step
from mechicl.cli.reading import ALL, Read
from mechicl.cli.verbs import Group, app
from mechicl.errors import ConfigError
from mechicl.system.commands import command


def _analyses() -> str:
    """The names of all analyses, as part of a sentence."""
    import analyses

    *most, last = analyses.names()
    return f"{', '.join(most)} and {last}" if most else last


@app.command(Group.ANALYSE, analyses=_analyses)
def analyze(
    run: Run,
    name: Annotated[Positional[str | None], arg(metavar="NAME", help="default: all of them")] = None,
    *,
    reading: Read = ALL,
    out: Folder | None = None,
    quiet: bool = False,
) -> None:
    """Run all analyses of a run, or one of them.

    The analyses are {analyses}.

    $ mechicl analyze checkpoints/demo
    $ mechicl analyze checkpoints/demo head_ablations

    For each analysis it prints a summary and writes a parquet table and plotly figures. circuits takes longest.

    Args:
        run: the run's folder.
        name: one analysis.
        out: the folder for the results (default: RUN/analysis), for example if the run is read-only.
        quiet: no progress bar.
    """
    import analyses
    from mechicl.series.placing import check_own
    from mechicl.system.disk import check_writable, own_place
    from mechicl.system.paths import given, shown

    series = reading.series(run)
    chosen = analyses.names() if name is None else [name]
    folder = own_place(series.root, series.root / "analysis" / "x").parent if out is None else given(out)
    check_own(series, folder)
    check_writable(folder, "Write elsewhere with --out DIR.")
    for each in chosen:
        found = analyses.get(each)(series, progress=not quiet)
        paths = found.save(folder)
        print(f"\n{found.question}")
        for line in found.text:
            print(f"  - {line}")
        print(f"  {shown(paths[0])} ({len(found.table):,} rows) and figures in the same folder: {len(found.figures)}.")


@app.command(Group.ANALYSE)
def measure(
    run: Run,
    name: Annotated[Positional[str | None], arg(metavar="NAME", help="default: list the measures")] = None,
    *,
    beside: Annotated[UseAppendAction[tuple[Path, ...]], arg(name="with", metavar="RUN")] = (),
    step: Step | None = None,
    evaluators: Names | None = None,
    n: N | None = None,
    reading: Read = ALL,
    out: File | None = None,
    quiet: bool = False,
) -> None:
    """Compute one measure of a run as a tidy table.

    Examples are attention scores and the effect of every head.

    $ mechicl measure checkpoints/demo
    $ mechicl measure checkpoints/demo attention_scores --steps 1400 --evaluators icl --out scores.csv

    Without NAME, it lists all measures.

    Args:
        run: the run's folder.
        name: the measure; docs/measures.md describes them.
        beside: another run, for measures over several runs, such as seed_bands; may be given several times.
        step: one checkpoint. Without it and --steps or --every, the measure's own choice, usually all.
        evaluators: the evaluators whose sequences are used, such as icl,flip (default: the measure's own).
        n: sequences per evaluator (default: the measure's own).
        out: write the table to this file, FILE.csv or FILE.parquet.
        quiet: no progress bar.
    """
    from mechicl.cli.measuring import listing
    from mechicl.cli.measuring import run as take

    if name is None:
        given = {"--with": beside, "--step": step, "--evaluators": evaluators, "--n": n, "--out": out}
        given |= {"--steps": reading.steps, "--every": reading.every}
        if extra := [option for option, value in given.items() if value not in (None, ())]:
            example = command("measure", run, "attention_scores")
            raise ConfigError(
                f"{', '.join(extra)}: no measure was named. Use for example {example}; without a name and options the "
                "measures are listed."
            )
        print(listing())
        return
    reading.check_one(step)
    runs = [reading.series(root) for root in (run, *beside)]
    picked = runs[0].steps if reading.some else None if step is None else [step]
    print(take(runs, name, picked, evaluators, n, out, not quiet))


@app.command(Group.CHANGE)
def ablate(
    run: Run,
    *,
    heads: Heads = "",
    kind: Annotated[str, arg(metavar="KIND")] = "zero",
    hold: Annotated[str, arg(metavar="PARTS")] = "",
    mlp: Annotated[str, arg(metavar="LAYERS")] = "",
    edge: Annotated[str, arg(metavar="EDGES")] = "",
    path: Annotated[str, arg(metavar="PATHS")] = "",
    position: Annotated[str, arg(metavar="ROLE:LAYER")] = "",
    patch: Annotated[str, arg(metavar="PARTS")] = "",
    counterfactual: Name = "",
    graft: Annotated[str, arg(metavar="PART@STEP")] = "",
    without_subspace: Annotated[str, arg(metavar="ANSWER")] = "",
    own: Annotated[str, arg(metavar="NAME(FIELD=VALUE)")] = "",
    step: Step | None = None,
    evaluators: Names | None = None,
    n: N | None = None,
    reading: Read = ALL,
    out: File | None = None,
    quiet: bool = False,
) -> None:
    """Ablate or patch parts of a model and print the effect.

    The effect is printed for each evaluator, with random controls. Several options together are one intervention. A
    control is the same intervention on random other components.

    $ mechicl ablate checkpoints/demo --heads L0H5,L1H3
    $ mechicl ablate checkpoints/demo --edge 'query->match_label'
    $ mechicl ablate checkpoints/demo --path 'L0H5->L1H3.k'
    $ mechicl ablate checkpoints/demo --patch L1H3
    $ mechicl ablate checkpoints/demo --patch match_label:1
    $ mechicl ablate checkpoints/demo --graft qk.1@1400
    $ mechicl ablate checkpoints/demo --heads L0H0,L0H1 --hold k,v --step 2000 --out ablated.csv
    $ mechicl ablate checkpoints/demo --heads L1H3 --steps 0..3000 --every 500 --out over_time.csv

    Args:
        run: the run's folder.
        heads: heads to ablate, such as L0H5,L1H3. Layers and heads count from 0.
        kind: the replacement: zero, mean or resample; for heads also pattern_preserving and value_preserving; for
            paths zero, mean or counterfactual.
        hold: what keeps its intact value in later layers: pattern, q, k, v, or several of them, such as k,v.
        mlp: layers whose MLP to ablate, such as 1 or 0,1.
        edge: attention edges to cut, named by roles: 'query->match_label' or 'previous' in all heads,
            'query->match_label:1' in the heads of layer 1, 'query->match_label:L1H3' in one head. Separate several with
            commas. If a role does not exist, the error lists the roles.
        path: paths between components to cut, such as L0H5->L1H3.k (the keys of L1H3 are computed without the output
            of L0H5) or embed->out. Separate several with commas. Senders: embed, heads, mlp.0. Receivers: q, k and v
            of heads, mlp.1, out.
        position: positions of the residual stream to ablate, by role or number, and the layer that reads them, such as
            match_label:1.
        patch: what to take from a counterfactual sequence: heads, MLPs, positions before a layer, or the attention
            scores along edges, such as L1H3,mlp.1,match_label:1,query->match_label.
        counterfactual: which counterfactual sequence a patch takes from (default: the task's own). Every task has
            next, the next sequence of the set. For an unknown name the error lists the run's.
        graft: parts of the weights to take from another step, such as qk.1@1400. docs/interventions.md#weights lists
            the parts.
        without_subspace: remove the directions in which the last layer writes one answer, such as flip.
        own: your own intervention with its fields, such as 'scale_values(layer=0, factor=0.5)'; load it with --plugin.
        step: one checkpoint (default: the last). For several checkpoints use --steps or --every instead.
        evaluators: the evaluators to measure on, such as icl,flip (default: all).
        n: sequences per evaluator (default: as in training).
        out: write the table to this file, FILE.csv or FILE.parquet.
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
    reading.check_one(step)
    series = reading.series(run)
    at = series.steps if reading.some else [series.steps[-1] if step is None else step]
    print(measure(series, condition, at, n, out, not quiet, evaluators.split(",") if evaluators else None))
