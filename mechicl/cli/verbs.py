"""How a command of the command line is registered, and what its help shows."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import tyro
from tyro.conf import Positional, UseAppendAction, arg

from mechicl import plugins

if TYPE_CHECKING:
    from mechicl.series import Series

Run = Annotated[Positional[Path], arg(metavar="RUN", help="the run's folder, such as checkpoints/demo")]
Runs = Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN...", help="one or more runs", help_behavior_hint="")]
Device = Annotated[
    str | None,
    arg(metavar="DEVICE", help_behavior_hint="", help="where to compute: cpu (the default), cuda, cuda:1 or mps."),
]
Steps = Annotated[
    str | None,
    arg(help_behavior_hint="", help="which checkpoints, such as 0,500 or 0..3000 (default: all)."),
]
Every = Annotated[
    int | None,
    arg(help_behavior_hint="", help="at most one checkpoint per this many steps, and always the first and the last."),
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
        help_behavior_hint="",
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


def opened(
    run: Path, steps: str | None, every: int | None, device: str | None, workers: int, slurm: Path | None
) -> Series:
    """Open a run for a command that computes tables."""
    from mechicl.series import choosing, open_series
    from mechicl.system.executor import executor_of

    series = choosing.chosen(open_series(run, device=device), steps, every)
    executor = executor_of(workers)
    if slurm is not None:
        from mechicl.system.slurm import of_tables

        executor = of_tables(series.root, slurm, workers)
    return replace(series, executor=executor)


class _Verbs(tyro.extras.SubcommandApp):
    """The commands. Their help shows an optional positional in brackets, and never '(default: None)'.

    Every command takes `--plugin MODULE`. Text in braces in a docstring is filled in when its help is made, such as
    `{analyses}`, because a plugin may have added analyses."""

    def __init__(self) -> None:
        super().__init__()
        self._docs: list[tuple[Any, str, dict[str, Callable[[], str]]]] = []

    def cli(self, **options: Any) -> Any:
        for verb, doc, said in self._docs:
            verb.__doc__ = doc.format(**{key: text() for key, text in said.items()})
        return super().cli(**options)

    def command(self, func: Any = None, *, name: str | None = None, **said: Callable[[], str]) -> Any:
        """Register a command. said: functions that return the text for each name in braces in its docstring."""
        if func is None:
            return functools.partial(self.command, name=name, **said)
        hints = get_type_hints(func, include_extras=True)
        for key, parameter in inspect.signature(func).parameters.items():
            metavar = next((m.metavar for m in getattr(hints[key], "__metadata__", ()) if hasattr(m, "metavar")), None)
            needed = parameter.default is parameter.empty
            if parameter.kind is not parameter.KEYWORD_ONLY and not needed and metavar and metavar[0] != "[":
                hints[key] = Annotated[hints[key], arg(metavar=f"[{metavar}]")]
            if parameter.default is None or parameter.default is False or parameter.default == ():
                hints[key] = Annotated[hints[key], arg(help_behavior_hint="")]
        func.__annotations__ = hints
        verb = _with_plugins(func)
        if said:
            self._docs.append((verb, func.__doc__ or "", said))
        super().command(verb, name=name)
        return func


def _with_plugins(func: Any) -> Any:
    """The command with the option `--plugin MODULE`. The module is imported before the command runs."""

    @functools.wraps(func)
    def verb(*args: Any, plugin: tuple[str, ...] = (), **kwargs: Any) -> Any:
        plugins.load(plugin)
        return func(*args, **kwargs)

    del verb.__wrapped__  # otherwise tyro reads the hints of the wrapped function
    signature, added = (
        inspect.signature(func),
        inspect.Parameter("plugin", inspect.Parameter.KEYWORD_ONLY, default=(), annotation=Plugins),
    )
    verb.__signature__ = signature.replace(parameters=[*signature.parameters.values(), added])  # type: ignore[attr-defined]
    verb.__annotations__ = {**func.__annotations__, "plugin": Plugins}
    return verb


app = _Verbs()
