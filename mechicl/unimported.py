"""What modules of a package register, read from their source text, because listing it must not import torch.

A decorator that registers something in a built-in module gives what a list needs as literals, so that the list is known
before the module is imported. Plugins need not: they are imported when they are named.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mechicl.doors import is_ours
from mechicl.errors import ConfigError


@functools.cache
def _bodies(folder: Path) -> dict[str, list[ast.stmt]]:
    """Module or package directly in a folder -> its statements."""
    files = [p for p in sorted(folder.glob("*.py")) if p.stem != "__init__"] + sorted(folder.glob("*/__init__.py"))
    named = {(p.parent if p.stem == "__init__" else p).stem: p for p in files}
    return {name: ast.parse(path.read_text(encoding="utf-8")).body for name, path in named.items()}


def decorated(folder: Path, decorator: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(module, function, the decorator's arguments that are literals) of every function decorated by this name; a
    positional argument is called by its place, '0'."""
    for module, body in _bodies(folder).items():
        for node in body:
            for call in getattr(node, "decorator_list", ()):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == decorator:
                    given = [(str(i), x) for i, x in enumerate(call.args)] + [(k.arg, k.value) for k in call.keywords]
                    yield module, node.name, dict(_literals(given))  # type: ignore[attr-defined]


def refuse_taken(folder: Path, decorator: str, name: str, module: str) -> None:
    """Raise if a plugin's module registers a name that one of a folder's has, imported or not.

    Raises:
        ConfigError: it is taken.
    """
    if is_ours(module):
        return
    if any(said.get("0") == name for _, _, said in decorated(folder, decorator)):
        raise ConfigError(f"{module}: there is a built-in {decorator} named {name!r}: choose another name.")


def exported(folder: Path) -> dict[str, str]:
    """Name -> module, for everything in the modules' `__all__`."""
    out = {}
    for module, body in _bodies(folder).items():
        for node in body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                out |= dict.fromkeys(ast.literal_eval(node.value), module)
    return out


def _literals(given: list[tuple[Any, ast.expr]]) -> Iterator[tuple[str, Any]]:
    for name, node in given:
        try:
            yield name, ast.literal_eval(node)
        except ValueError:
            continue
