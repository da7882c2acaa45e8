"""Verbs of the command line, whose help says plainly what may be left out."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, get_type_hints

import tyro
from tyro.conf import arg


class Verbs(tyro.extras.SubcommandApp):
    """Shows a positional that may be left out in brackets, and no default of None, False or nothing."""

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
