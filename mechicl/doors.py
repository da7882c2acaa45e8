"""Registries to which your own code can add: kinds of banks, measures, analyses, recipes.

A `Door` is a dictionary that a decorator fills, in a module of mechicl or of yours (docs/extending.md). It also keeps
which module registered a name, so that a run can say what it needs (`plugins.py`). Nothing here imports anything heavy.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections import UserDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

from mechicl.errors import ConfigError, did_you_mean

T = TypeVar("T")
DOORS: dict[str, Door[Any]] = {}  # every door there is, by its noun
_OURS = ("mechicl", "analyses")
_HOMES: dict[str, str] = {}  # 'bank moons' -> the module that registered it

YOURS = "Your own is registered by a module: name it with --plugin MODULE, or import it in Python (docs/extending.md)"


class Door(UserDict[str, T], Generic[T]):
    """Name -> entry, in the order in which they were registered."""

    def __init__(self, what: str, built_in: Iterable[str] = ()):
        """
        Args:
            what: the noun for one entry in messages, as 'analysis'.
            built_in: modules of mechicl that register entries; they are imported at the first look-up.
        """
        self.what = what
        self._entries: dict[str, T] = {}
        self._built_in = tuple(built_in)
        self._awaited = list(self._built_in)
        DOORS[what] = self

    @property
    def data(self) -> dict[str, T]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What UserDict's methods read and change."""
        self._load()
        return self._entries

    def _load(self, until: str | None = None) -> None:
        """Import the built-in modules in their order, up to a module that is just being imported."""
        while self._awaited:
            module = self._awaited.pop(0)
            if module == until:
                return
            importlib.import_module(module)

    def add(self, name: str, entry: T, module: str) -> None:
        """Register an entry. The same module may do so again, such as a notebook cell that runs twice.

        Raises:
            ConfigError: another module has registered this name, or it is no name.
        """
        check_name(self.what, name)
        if module in self._awaited or module not in self._built_in:
            self._load(until=module)
        home = home_of(self.what, name)
        if name in self._entries and home != _named(module):
            raise ConfigError(
                f"{module} registers the {self.what} {name!r}, but {home} has registered this name "
                "already: choose another name."
            )
        self._entries[name] = entry
        note(self.what, name, module)

    def find(self, name: str) -> T:
        """The entry of a name that a user gave.

        Raises:
            ConfigError: there is none; the message lists the names and says how to load your own.
        """
        if name not in self:
            raise ConfigError(f"no {self.what} named {name!r}; {known(name, self)}")
        return self[name]


def check_name(what: str, name: object) -> None:
    """Raise unless it is a name that a user can give: one word.

    Raises:
        ConfigError: it is none; of a function, that the decorator was used without its name.
    """
    if callable(name):
        raise ConfigError(
            f"{getattr(name, '__name__', name)} is registered without a name: call the decorator with the {what}'s "
            'name, as in @...("my_name").'
        )
    if not isinstance(name, str) or not re.fullmatch(r"[^\s,=]+", name):
        raise ConfigError(f"the {what} {name!r}: expected a name of one word, such as 'my_name'.")


def known(name: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown name: the known names, the most similar one, and how to add your own."""
    listed = list(names)
    if not listed:
        return f"none is registered. {YOURS}."
    return f"there are {', '.join(listed)}.{did_you_mean(name, listed)} {YOURS}."


def of_tasks(module: str) -> tuple[str, ...]:
    """The modules of this name in the folders of mechicl's own tasks, such as mechicl.tasks.markov.evaluators.

    They are found on disk, so a task that is added to mechicl is in no list.
    """
    found = sorted((Path(__file__).parent / "tasks").glob(f"*/{module}.py"))
    return tuple(f"mechicl.tasks.{path.parent.name}.{module}".removesuffix(".__init__") for path in found)


def note(what: str, name: str, module: str | None = None) -> None:
    """Keep which module registered a name.

    Args:
        module: default: the module that called the function that calls this one.
    """
    _HOMES[f"{what} {name}"] = _named(sys._getframe(2).f_globals["__name__"] if module is None else module)


def home_of(what: str, name: str) -> str | None:
    """The module that registered a name; None if it is not known."""
    return _HOMES.get(f"{what} {name}")


def counted() -> int:
    """How many names have been registered in this process."""
    return len(_HOMES)


def is_there(use: str) -> bool:
    """Whether 'bank moons' has been registered in this process."""
    return use in _HOMES


def is_ours(module: str) -> bool:
    """Whether a module is one of mechicl's own, and not a plugin's."""
    return module.split(".")[0] in _OURS


def foreign(uses: Iterable[tuple[str, str]] | None = None) -> dict[str, list[str]]:
    """Module -> what it registered, for all modules except mechicl's own.

    Args:
        uses: only these (what, name); default: everything.
    """
    out: dict[str, list[str]] = {}
    for use in _HOMES if uses is None else (f"{what} {name}" for what, name in uses):
        home = _HOMES.get(use)
        if home is not None and not is_ours(home):
            out.setdefault(home, []).append(use)
    return out


def _named(module: str) -> str:
    return "__main__" if module == "__mp_main__" else module  # a script, as its worker processes import it
