"""What the commands take: a type for each kind of argument, with the word that help shows for its value.

`N | None` is an option that may be left out. A word that one command alone uses stands in that command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

N = Annotated[int, arg(metavar="N")]
Step = Annotated[int, arg(metavar="STEP")]
Pixels = Annotated[int, arg(metavar="PIXELS")]
Folder = Annotated[Path, arg(metavar="DIR")]
File = Annotated[Path, arg(metavar="FILE")]
Anywhere = Annotated[Path, arg(metavar="PATH")]  # a folder, a zip or a file
Name = Annotated[str, arg(metavar="NAME")]
Names = Annotated[str, arg(metavar="NAME,...")]
Pattern = Annotated[str, arg(metavar="PATTERN")]
Heads = Annotated[str, arg(metavar="HEADS")]
Changes = Annotated[UseAppendAction[tuple[str, ...]], arg(name="set", metavar="FIELD=VALUE")]

Run = Annotated[Positional[Path], arg(metavar="RUN", help="the run's folder, such as checkpoints/demo")]
Runs = Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN...", help="one or more runs", help_behavior_hint="")]
Device = Annotated[
    str | None,
    arg(metavar="DEVICE", help_behavior_hint="", help="where to compute: cpu (the default), cuda, cuda:1 or mps."),
]
Steps = Annotated[
    str | None,
    arg(
        metavar="STEPS",
        help_behavior_hint="",
        help="several checkpoints, such as 0,500 or 0..3000 (default: all; of a command with --step, what that says).",
    ),
]
Every = Annotated[
    int | None,
    arg(
        metavar="N",
        help_behavior_hint="",
        help="at most one checkpoint per N steps, and always the first and the last.",
    ),
]
Workers = Annotated[
    int,
    arg(
        metavar="N",
        help_behavior_hint="",
        help="number of processes that share the checkpoints (default: 1); with --slurm, of jobs. The results are the "
        "same.",
    ),
]
Slurm = Annotated[
    Path | None,
    arg(
        metavar="FILE",
        help_behavior_hint="",
        help="share the checkpoints among jobs of a Slurm cluster, with the settings in this file's [slurm] table.",
    ),
]
Log = Annotated[
    str | None,
    arg(
        metavar="LOGGER",
        help="also send the curves to tensorboard, wandb or trackio during training. Install the extra of that name.",
    ),
]
Plugins = Annotated[
    UseAppendAction[tuple[str, ...]],
    arg(
        name="plugin",
        metavar="MODULE",
        help_behavior_hint="",
        help="import your own module first, which registers tasks, banks, evaluators, interventions, measures, "
        "analyses, recipes or sources; may be given several times.",
    ),
]
