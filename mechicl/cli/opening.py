"""`mechicl open`: make a series of checkpoints that mechicl did not train."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from mechicl.cli.arguments import Every, File, Folder, N, Name, Steps
from mechicl.cli.verbs import Group, app
from mechicl.system.commands import command


def _kinds() -> str:
    from mechicl.sources.base import SOURCES

    return ", ".join(SOURCES)


@app.command(Group.DATA, name="open", kinds=_kinds)
def open_checkpoints(
    source: Annotated[
        Positional[str], arg(metavar="SOURCE", help="a folder of a trainer or of .safetensors files, or hub:...")
    ],
    *,
    out: Folder | None = None,
    kind: Name | None = None,
    pattern: Annotated[str | None, arg(metavar="PATTERN")] = None,
    model: File | None = None,
    pickles: bool = False,
    steps: Steps = None,
    every: Every = None,
    cache: Annotated[str | None, arg(metavar="SIZE")] = None,
    copy: bool = False,
    tokens: File | None = None,
    batch_size: N | None = None,
    length: N | None = None,
    n: N | None = None,
    few_shot: bool = False,
    quiet: bool = False,
) -> None:
    """Make a series of checkpoints that mechicl did not train.

    All commands that analyse a run can then use it.

    $ mechicl open ~/runs/gpt2-small --out checkpoints/mine
    $ mechicl open ~/runs/mine --pattern 'ckpt_{{step}}.safetensors' --model config.json --out checkpoints/mine
    $ mechicl open ~/runs/gpt2-small --tokens validation.npy --out checkpoints/mine
    $ mechicl open 'hub:EleutherAI/pythia-14m@step*' --every 10000 --cache 2GB --out checkpoints/pythia
    $ mechicl open hub:me/demo --out checkpoints/demo-again

    The checkpoints stay where they are. Run the same command again after an interruption, or when there are new
    checkpoints: it adds the missing ones. With other --steps it adds those steps. Its other settings stay as they are:
    a different --n, --length, --tokens, --batch-size, --few-shot or --copy needs another --out.

    Args:
        out: the series' folder (default: checkpoints/NAME, where NAME is the source's name).
        kind: the kind of source, if several would fit: {kinds}.
        pattern: the pattern of the files' names, with {{step}} in place of the step.
        model: a JSON file that describes the model, if the folder has none.
        pickles: read torch's pickles, but only tensors (weights_only=True).
        cache: the largest total size of the hub's files on this machine, such as 500MB (default 20GB). The least
            recently used file is deleted first, and downloaded again when it is needed.
        copy: convert the weights and store them in the series. The source is then no longer needed.
        tokens: a text, or token ids (.npy, .safetensors): the loss and accuracy on it are recorded, too.
        batch_size: sequences per training step, over all processes and accumulated batches (default: what the trainer
            recorded, which may be the batch of one process, or 1; the series says what was assumed).
        length: positions of an evaluated sequence (default: 64, or the model's length if it is shorter).
        n: sequences per evaluator (default 128).
        few_shot: add small classification tasks with true labels, exchanged labels and symbols. For large models.
        quiet: no progress bar.
    """
    from mechicl.series.elsewhere import assumed
    from mechicl.sources import hub_cache, odd
    from mechicl.sources.base import Asked
    from mechicl.sources.opening import Settings, open_source
    from mechicl.system.paths import shown
    from mechicl.system.steps import parse_steps

    settings = Settings(
        copy=copy,
        tokens=tokens,
        batch_size=batch_size,
        length=length,
        n=n,
        few_shot=few_shot,
    )
    series = open_source(
        source,
        out,
        kind=kind,
        asked=Asked(
            pattern=pattern,
            model=model,
            pickles=pickles,
            steps=None if steps is None else parse_steps(steps),
            every=every,
            cache=None if cache is None else hub_cache.parse_bytes(cache),
        ),
        settings=settings,
        progress=not quiet,
    )
    if "source" in series.manifest:
        print("step, loss on the same sequences:")
        print("\n".join(f"{step:>12,}  {loss:.3f}" for step, loss in odd.fixed_losses(series)))
        print("".join(f"ODD: {line}\n" for line in odd.remarks(series)), end="")
        print(f"SEQUENCES: {note}\n" if (note := assumed(series)) else "", end="")
    print(
        f"{shown(series.root)}: {len(series.steps)} checkpoints, to step {series.steps[-1]:,}. Look at it with "
        f"{command('show', series.root)}; analyse it with {command('report', series.root)}."
    )
