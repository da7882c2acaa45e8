"""`mechicl branch`: continue training from a step of a run, with or without a change."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import UseAppendAction, arg

from mechicl.cli.arguments import Anywhere, Changes, Device, Folder, Heads, Log, N, Run, Step
from mechicl.cli.verbs import Group, app
from mechicl.errors import ReplayError, SeriesError
from mechicl.system.commands import command


@app.command(Group.CHANGE)
def branch(
    run: Run,
    *,
    at: Step,
    steps: N | None = None,
    without: Heads = "",
    reset_memory: bool = False,
    fresh_moments: bool = False,
    clamp: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="PATTERN:HEADS=STRENGTH")] = (),
    intervene: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="TABLE")] = (),
    changes: Changes = (),
    out: Folder | None = None,
    data: Anywhere | None = None,
    device: Device = None,
    log: Log = None,
    quiet: bool = False,
) -> None:
    """Train on from a step of a run, with or without a change.

    $ mechicl branch checkpoints/demo --at 1400 --fresh-moments
    $ mechicl branch checkpoints/demo --at 1400 --fresh-moments --without L0H5,L1H3
    $ mechicl branch checkpoints/demo --at 1400 --fresh-moments --reset-memory
    $ mechicl branch checkpoints/demo --at 1400 --fresh-moments --clamp previous:L0H5=0.8
    $ mechicl branch checkpoints/demo --at 1400 --fresh-moments --set sequences.burstiness=0

    RUN is the parent. It is not modified. A run that this machine trained can be branched at any step, also without
    --fresh-moments. There a branch without a change is the control: it is equal to its parent bit for bit, and `mechicl
    show` and `mechicl verify` check this. A run from elsewhere, such as checkpoints/demo, is branched at one of its
    checkpoints and with --fresh-moments; its control is a branch with --fresh-moments alone. `mechicl train --resume
    DIR` continues an interrupted branch.

    Args:
        at: the step to begin at. If it has no saved state, the parent is replayed from the last state before it.
        steps: the branch's total number of steps, including the steps before --at (default: the parent's).
        without: heads whose outputs are 0 from this step on, such as L0H5,L1H3.
        reset_memory: reinitialise the embeddings once. This deletes what the weights know about classes or words.
        fresh_moments: begin with a new optimiser: Adam's moments are cleared. At a step with a checkpoint this works on
            any machine. Where no replay is possible, weights that were saved in float16 begin rounded, and the branch
            says so.
        clamp: replace the attention of heads, or a share of it, by a fixed pattern, such as previous:L0H5=0.8 or
            match:L1H3; may be given several times. Patterns: uniform, previous, self, match, and those of the task.
        intervene: any training intervention as a TOML table, such as '{kind = "freeze", groups = ["unembedding"]}'; may
            be given several times. It begins at --at unless it has a `start`.
        changes: change the data or other settings; may be given several times. Changes of `sequences` affect only
            training: the evaluation sets stay the parent's.
        out: the branch's folder (default: next to the run, named after the run, the step and the change).
        data: the images' new path, for recipes that need images.
        quiet: no progress bar.
    """
    from mechicl.measures.training_words import interventions
    from mechicl.measures.words import parse_heads
    from mechicl.series.family import family
    from mechicl.settings import assignments
    from mechicl.system.paths import shown
    from mechicl.training.branching import branch as train_on

    try:
        series = train_on(
            run,
            at,
            steps=steps,
            without=parse_heads(without, "--without") if without else (),
            reset_memory=reset_memory,
            fresh_moments=fresh_moments,
            interventions=interventions(clamp, intervene),
            changes=assignments(changes),
            out=out,
            data=data,
            device=device,
            log=log,
            progress=not quiet,
        )
    except ReplayError as error:  # the same command, where it needs no replay
        given = {"--steps": steps, "--without": without or None, "--out": out, "--data": data}
        given |= {"--device": device, "--log": log}
        words = [word for name, value in given.items() if value is not None for word in (name, value)]
        words += [*(["--reset-memory"] if reset_memory else []), *(["--quiet"] if quiet else [])]
        for name, values in (("--clamp", clamp), ("--intervene", intervene), ("--set", changes)):
            words += [word for value in values for word in (name, value)]
        again = command("branch", run, "--at", error.nearest, "--fresh-moments", *words)
        raise SeriesError(f"{error} Use {again}.") from None
    print(f"{shown(series.root)}: {len(series.steps)} checkpoints, from step {at:,} to {series.steps[-1]:,}.")
    print("\n".join(family(series)))
    print(f"Look at it with {command('show', series.root)}; compare it with its parent in {command('app', run)}.")
