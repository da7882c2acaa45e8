"""Settings that a plugin adds to a config: the keyword-only parameters of its function, as plain data.

    @bank("moons", ...)
    def moons(config, seed, data, *, turns: float = 1.0): ...

    --set bank.options.turns=2

Names and types are checked against the function's signature as strictly as the config's own fields. Settings that are
left out are recorded with their defaults, so config.json has everything that decides the numbers.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from mechicl.errors import ConfigError, did_you_mean
from mechicl.loading import Options, coerce


def own_settings_of(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Name -> (type, default) of a function's keyword-only parameters.

    Raises:
        ConfigError: a parameter has no type, no default, or a default of another type.
    """
    parameters = inspect.signature(function).parameters.values()
    own = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    hints = typing.get_type_hints(function) if own else {}
    out: dict[str, tuple[Any, Any]] = {}
    for p in own:
        where = f"{function.__module__}.{function.__name__}: its setting {p.name}"
        if p.name not in hints or p.default is p.empty:
            raise ConfigError(f"{where} needs a type and a default, such as {p.name}: float = 1.0.")
        out[p.name] = hints[p.name], coerce(p.default, hints[p.name], where)
    return out


def check_takes(function: Callable[..., Any], whose: str, *names: str, by_name: tuple[str, ...] = ()) -> None:
    """Raise unless a function can be called with so many arguments by place, and with those `by_name`.

    Args:
        whose: what the function is of, in an error, as "the bank kind 'moons'". names: what it is given.

    Raises:
        ConfigError: it takes others.
    """
    try:
        inspect.signature(function).bind(*names, **dict.fromkeys(by_name))
    except TypeError:
        takes = ", ".join(inspect.signature(function).parameters)
        called = ", ".join([*names, *(f"{name}=..." for name in by_name)])
        raise ConfigError(
            f"{whose}: {getattr(function, '__name__', 'it')}({takes}) is called with {called}: it must have these "
            "parameters."
        ) from None


def filled(given: Mapping[str, Any], own: Mapping[str, tuple[Any, Any]], where: str) -> Options:
    """The given settings, checked, with the defaults of all others.

    Raises:
        ConfigError: there is no such setting, or it cannot have this value.
    """
    for name in given:
        if name not in own:
            there = f"there are {', '.join(own)}" if own else "this kind has no settings of its own"
            raise ConfigError(f"{where}.{name}: no such setting; {there}.{did_you_mean(name, own)}")
    return Options(
        {
            name: coerce(given[name], hint, f"{where}.{name}") if name in given else default
            for name, (hint, default) in own.items()
        }
    )
