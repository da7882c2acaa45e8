"""Your own modules, which register banks, evaluators, measures, analyses or recipes: `--plugin MODULE`.

A plugin is imported only if a user names it (or imports it in Python). A run records the names of the modules that
registered what it uses, without their code. Opening the run never imports them, so a run from a stranger is safe to
open.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import re
import shlex
import sys
import traceback
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mechicl import doors
from mechicl.errors import ConfigError, SeriesError

_asked: dict[str, None] = {}  # what `load` was given, in order


def load(names: Iterable[str]) -> None:
    """Import modules by name. Python looks in the current directory first, as with `python -m`.

    Raises:
        ConfigError: there is no such module, or its import fails; the message says where and why.
    """
    for name in names:
        if name.endswith(".py") or not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
            raise ConfigError(
                f"--plugin {name}: expected a module's name, such as --plugin my_bank for my_bank.py in "
                f"this directory.{_meant(name)}"
            )
        _look_here()
        before = doors.counted()
        new = name not in sys.modules
        try:
            importlib.import_module(name)
        except ConfigError as error:
            raise ConfigError(f"--plugin {name}: {error}") from error
        except Exception as error:
            lacking = error.name if isinstance(error, ModuleNotFoundError) else None
            if lacking is not None and f"{name}.".startswith(f"{lacking}."):
                raise ConfigError(
                    f"--plugin {name}: there is no module {lacking!r}, neither in this directory "
                    f"({_here() or 'deleted'}) nor installed.{_meant(name)}"
                ) from None
            place = traceback.extract_tb(error.__traceback__)[-1]
            where, said = f"{place.filename}, line {place.lineno}", str(error)
            if isinstance(error, SyntaxError):  # nothing of it has run: the traceback ends in Python's own importer
                where, said = f"{error.filename}, line {error.lineno}", error.msg
            kind = type(error).__name__
            raise ConfigError(f"--plugin {name} cannot be imported: {kind}: {said} ({where}).") from error
        _asked[name] = None
        if new and doors.counted() == before:
            warnings.warn(f"--plugin {name} registered nothing: is a decorator missing?", stacklevel=2)


def asked() -> tuple[str, ...]:
    """The plugins that were loaded by name, in order."""
    return tuple(_asked)


def for_workers() -> tuple[str, ...]:
    """What another process of this work must import: plugins, and modules that registered something. The names of a
    script or notebook are not among them, because a new process imports the script by itself."""
    found = [name for name in doors.foreign() if name != "__main__" and _importable(name)]
    return tuple(dict.fromkeys([*_asked, *found]))


def named(args: Sequence[str]) -> list[str]:
    """The plugins that a command line names. They are needed before it is parsed, because help lists what they
    register."""
    given = [after for word, after in itertools.pairwise(args) if word == "--plugin"]
    return given + [word.partition("=")[2] for word in args if word.startswith("--plugin=")]


def check(root: Path, manifest: Mapping[str, Any]) -> None:
    """Raise SeriesError unless everything that a run uses is registered. Nothing is imported only because a run names
    it."""
    if problem := _missing(manifest):
        raise SeriesError(f"{root}: {problem}")


def _missing(manifest: Mapping[str, Any]) -> str | None:
    """What a run needs that was not loaded, and how to load it; None if everything is there."""
    recorded = manifest.get("plugins", {})
    if not _well_formed(recorded):
        return f"manifest.json: plugins={recorded!r}: expected modules, each with a list of what the run uses of it."
    for module, uses in recorded.items():
        lacking = [use for use in uses if not doors.is_there(use)]
        if lacking:
            if module == "__main__":
                return (
                    f"its {', '.join(lacking)} was registered by a script or a notebook: run that code first, or "
                    "put it into a module and load it."
                )
            return (
                f"its {', '.join(lacking)} was registered by the module {module}, which is not loaded. If you "
                f"trust that module, add --plugin {module} to the command, or in Python: import {module}."
            )
    return None


def _well_formed(recorded: Any) -> bool:
    return isinstance(recorded, dict) and all(
        isinstance(uses, list) and all(isinstance(use, str) for use in uses) and module.isprintable()
        for module, uses in recorded.items()
    )


def _meant(name: str) -> str:
    """' Did you mean --plugin x?', of a file's name."""
    path = Path(name)
    if path.is_absolute() and path.suffix == ".py":
        return f" Call it from the module's folder: cd {shlex.quote(str(path.parent))} and --plugin {path.stem}."
    stem = re.sub(r"\.py$", "", name).replace("/", ".").replace("\\", ".").lstrip(".")
    return f" Did you mean --plugin {stem}?" if stem not in ("", name) else ""


def _here() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def _look_here() -> None:
    here = _here()
    if here is not None and here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()  # a file that was written a moment ago counts


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
