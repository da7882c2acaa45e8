"""How a verb of the command line is registered, and what its help shows."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import tyro
from tyro.conf import Positional, arg

Run = Annotated[Positional[Path], arg(metavar="RUN", help="the run's directory, as checkpoints/demo")]
Runs = Annotated[
    Positional[tuple[Path, ...]], arg(metavar="RUN...", help="one or more runs", help_behavior_hint="")
]


class _Verbs(tyro.extras.SubcommandApp):
    """Their help shows what may be left out as such: a positional in brackets, and nothing as '(default: None)'."""

    def command(self, func: Any = None, *, name: str | None = None) -> Any:
        if func is None:
            return functools.partial(self.command, name=name)
        hints = get_type_hints(func, include_extras=True)
        for key, parameter in inspect.signature(func).parameters.items():
            metavar = next((m.metavar for m in getattr(hints[key], "__metadata__", ()) if hasattr(m, "metavar")), None)
            needed = parameter.default is parameter.empty
            if parameter.kind is not parameter.KEYWORD_ONLY and not needed and metavar and metavar[0] != "[":
                hints[key] = Annotated[hints[key], arg(metavar=f"[{metavar}]")]
            if parameter.default is None or parameter.default is False or parameter.default == ():
                hints[key] = Annotated[hints[key], arg(help_behavior_hint="")]
        func.__annotations__ = hints
        return super().command(func, name=name)


app = _Verbs()
