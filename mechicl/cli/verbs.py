"""How a command of the command line is registered, and what its help shows."""

from __future__ import annotations

import functools
import inspect
import itertools
import re
import sys
from collections.abc import Callable
from dataclasses import is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro
from tyro.conf import arg

from mechicl import plugins
from mechicl.cli.arguments import Plugins
from mechicl.errors import ConfigError, did_you_mean

T = TypeVar("T")
_CONTINUED = re.compile(r"\n {8,}")  # an argument's next line: tyro would break the help text there


class Group(Enum):
    """What a user wants to do: the sections of `mechicl --help`, in this order. A command names its own."""

    TRAIN = "Train"
    LOOK = "Look at a run"
    ANALYSE = "Analyse"
    CHANGE = "Change a model"
    DATA = "Bring data and checkpoints"
    SHARE = "Share"


class _Verbs(tyro.extras.SubcommandApp):
    """The commands. Their help shows an optional positional in brackets, and no default that is None or empty.

    Every command takes `--plugin MODULE`. Text in braces in a docstring is filled in when its help is made, such as
    `{analyses}`, because a plugin may have added analyses.

    Attributes:
        groups: for each group its commands, as name -> the first line of its docstring, in the order of registration.
    """

    def __init__(self) -> None:
        super().__init__()
        self.groups: dict[Group, dict[str, str]] = {group: {} for group in Group}
        self._docs: list[tuple[Any, str, dict[str, Callable[[], str]]]] = []

    def cli(self, **options: Any) -> Any:
        self._check(list(options.get("args") or sys.argv[1:]))
        for verb, doc, said in self._docs:
            verb.__doc__ = doc.format(**{key: text() for key, text in said.items()})
        return super().cli(**options)

    def _check(self, words: list[str]) -> None:
        """See that a line names a command, and of its options only such as that command has. tyro would print a long
        box with the options of all commands.

        Raises:
            ConfigError: it does not; the most similar name.
        """
        verb = words[0] if words else "-"
        if verb.startswith("-"):
            return
        if verb not in self._subcommands:
            meant = did_you_mean(verb, self._subcommands)
            raise ConfigError(f"there is no command {verb!r}.{meant} See `mechicl --help`.")
        known = options_of(self._subcommands[verb].target)
        for word in itertools.takewhile(lambda each: each != "--", words[1:]):
            name = word.partition("=")[0].replace("_", "-")
            if len(name) > 2 and name.startswith("--") and not name.startswith("--tyro-") and name not in known:
                meant = did_you_mean(name, known)
                raise ConfigError(f"{verb} has no option {name}.{meant} See `mechicl {verb} --help`.")

    def command(self, group: Group, *, name: str | None = None, **said: Callable[[], str]) -> Callable[[T], T]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Register a command.

        Args:
            group: where `mechicl --help` lists it, with the first line of its docstring.
            name: its name, if it is not the function's.
            said: functions that return the text for each name in braces in its docstring.
        """
        return functools.partial(self._register, group=group, name=name, said=said)

    def _register(self, func: Any, group: Group, name: str | None, said: dict[str, Callable[[], str]]) -> Any:
        hints = get_type_hints(func, include_extras=True)
        for key, parameter in inspect.signature(func).parameters.items():
            hints[key] = _lifted(hints[key])
            metavar = metavar_of(hints[key])
            needed = parameter.default is parameter.empty
            if parameter.kind is not parameter.KEYWORD_ONLY and not needed and metavar and metavar[0] != "[":
                hints[key] = Annotated[hints[key], arg(metavar=f"[{metavar}]")]
            if parameter.default is None or parameter.default is False or parameter.default in ((), ""):
                hints[key] = Annotated[hints[key], arg(help_behavior_hint="")]
        func.__annotations__ = hints
        verb = _with_plugins(func)
        doc = inspect.cleandoc(func.__doc__ or "")
        verb.__doc__ = _CONTINUED.sub(" ", doc)
        if said:
            self._docs.append((verb, verb.__doc__, said))
        listed = name or func.__name__
        self.groups[group][listed] = doc.partition("\n")[0]
        super().command(verb, name=listed)
        return func


def options_of(func: Any) -> list[str]:
    """The options of a registered command, as they are written."""
    out = ["--help"]
    for key, parameter in inspect.signature(func).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            hint = func.__annotations__[key]
            kind = getattr(hint, "__origin__", hint)
            shared = get_type_hints(kind, include_extras=True) if is_dataclass(kind) else {key: hint}
            out += [option for name, of in shared.items() for option in _written(name, of)]
    return out


def _written(key: str, hint: Any) -> list[str]:
    given = [m for m in getattr(hint, "__metadata__", ()) if getattr(m, "metavar", None) or getattr(m, "name", None)]
    name = next((m.name for m in given if m.name), key).strip("_").replace("_", "-")
    aliases = [alias for m in given for alias in m.aliases or ()]
    return [f"--{name}", *([f"--no-{name}"] if getattr(hint, "__origin__", hint) is bool else []), *aliases]


def metavar_of(hint: Any) -> str | None:
    """The word that help shows for an argument's value; None for the one that tyro makes of the type, such as INT."""
    return next((m.metavar for m in getattr(hint, "__metadata__", ()) if getattr(m, "metavar", None)), None)


def _lifted(hint: Any) -> Any:
    """`N | None` with what N is annotated with, as one type: tyro reads only the annotations of the whole."""
    if get_origin(hint) is Annotated:
        return Annotated[_lifted(hint.__origin__), *hint.__metadata__]
    inner = [each for each in get_args(hint) if each is not NoneType]
    if get_origin(hint) in (Union, UnionType) and len(inner) == 1 and get_origin(inner[0]) is Annotated:
        return Annotated[inner[0].__origin__ | None, *inner[0].__metadata__]
    return hint


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


app: _Verbs = _Verbs()
