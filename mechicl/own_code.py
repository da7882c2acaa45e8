"""Code that is not mechicl's, in messages: what a plugin registered, where it stands, and where an error of it arose.

Everything of a plugin is called somewhere deep in mechicl. Its author needs the place in the plugin's own file, not the
way there. In Python an error keeps its whole traceback; the command line and worker processes print `failure`.
"""

from __future__ import annotations

import inspect
import linecache
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from mechicl import doors

_PARTS = ("build", "draw", "function", "run", "applies", "made", "check")  # fields of entries that hold functions
_SHOWN = 8  # frames


def whose(what: str, name: str) -> str:
    """What a door has under a name, and the file that registered it: "your evaluator 'mine' (FILE)"; of mechicl's
    own "the evaluator 'icl'"."""
    home = doors.home_of(what, name)
    if home is None or doors.is_ours(home):
        return f"the {what} {name!r}"
    return f"your {_said(what)} {name!r} ({_file(home)})"


def is_yours(what: str, name: str) -> bool:
    """Whether a plugin, a script or a notebook registered it, or nobody did."""
    home = doors.home_of(what, name)
    return home is None or not doors.is_ours(home)


def maker(what: str, name: str) -> str:
    """The function or class that a plugin registered under a name: "f, moons.py, line 8". '' where that is not known,
    or it is mechicl's own."""
    home = doors.home_of(what, name)
    if home is None or doors.is_ours(home) or not doors.is_there(f"{what} {name}"):
        return ""
    made = next(_made_of(doors.DOORS[what][name]), None)
    try:
        return f"{made.__name__}, {_file(home)}, line {inspect.getsourcelines(made)[1]}" if made else ""
    except (OSError, TypeError):  # a notebook cell whose text is gone
        return f"{made.__name__}, {_file(home)}" if made else ""


def failure(error: BaseException) -> str | None:
    """An error that a plugin's code raised, or that mechicl raised when called by it, for its author: what failed,
    where, why, and the frames of the plugin's file. None: no plugin had to do with it."""
    frames = [(f, line) for f, line in traceback.walk_tb(error.__traceback__) if _home(f) is not None]
    if not frames:
        return None
    home, (inner, line) = str(_home(frames[0][0])), frames[-1]
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    lines = [f"{_called(home, [f for f, _ in frames])} ({_file(home)}, line {line}) failed: {said}"]
    if len(frames) > _SHOWN:
        lines.append(f"  ... {len(frames) - _SHOWN} calls before ...")
    for f, at in frames[-_SHOWN:]:
        code = f.f_code
        lines.append(f'  File "{code.co_filename}", line {at}, in {code.co_name}')
        if text := linecache.getline(code.co_filename, at, f.f_globals).strip():
            lines.append(f"    {text}")
    last, at = list(traceback.walk_tb(error.__traceback__))[-1]
    if last is not inner:
        lines.append(f'  raised in "{last.f_code.co_filename}", line {at}, in {last.f_code.co_name}')
    return "\n".join(lines)


def _home(frame: FrameType) -> str | None:
    """The module of a plugin whose code a frame runs."""
    module = frame.f_globals.get("__name__", "")
    module = "__main__" if module == "__mp_main__" else module
    homes = doors.foreign()
    if module in homes:
        return module
    package = module.partition(".")[0]  # what a plugin of several files imports of itself
    return next((home for home in homes if "." in home and home.partition(".")[0] == package), None)


def _called(home: str, frames: list[FrameType]) -> str:
    """What of a module runs in these frames: "your measure 'mine'"; where that is not clear, the module."""
    uses = [use for use in doors.foreign()[home] if use.rpartition(" ")[0] in doors.DOORS]
    running = {f.f_code for f in frames}
    for use in uses:
        what, _, name = use.rpartition(" ")
        entry = doors.DOORS[what].get(name)
        if any(code in running for made in _made_of(entry) for code in _codes(made)):
            return f"your {_said(what)} {name!r}"
    if len(uses) == 1:
        what, _, name = uses[0].rpartition(" ")
        return f"your {_said(what)} {name!r}"
    return f"your module {home!r}"


def _made_of(entry: Any) -> Iterator[Any]:
    """The functions or the class that an entry of a door consists of."""
    if inspect.isroutine(entry) or inspect.isclass(entry):
        yield entry
    for part in _PARTS:
        made = getattr(entry, part, None)
        if inspect.isfunction(made) and not inspect.isclass(entry):
            yield made


def _codes(made: Any) -> Iterator[CodeType]:
    """Of a function its code; of a class that of its methods."""
    for one in vars(made).values() if inspect.isclass(made) else [made]:
        one = getattr(one, "fget", None) or getattr(one, "__func__", one)
        one = inspect.unwrap(one) if callable(one) else one
        if inspect.isfunction(one):
            yield one.__code__


def _said(what: str) -> str:
    return what.removesuffix(" kind")


def _file(home: str) -> str:
    """The file of a module, or what stands for it."""
    file = getattr(sys.modules.get(home), "__file__", None)
    return Path(file).name if file else "this session" if home == "__main__" else home
