"""Plain data and text as settings, strictly: what is unknown or ill-typed is refused by name."""

from __future__ import annotations

import dataclasses
import difflib
import operator
import types
import typing
from typing import Any, Literal


class ConfigError(ValueError):
    """A setting that cannot be: says what was given, what is expected, and what to do."""


def to_dict(config: Any) -> dict[str, Any]:
    """Plain JSON-ready dict of a config; `from_dict` inverts it."""
    return dataclasses.asdict(config)


def from_dict(cls: type, data: Any, where: str = "config") -> Any:
    """Build `cls` from plain data, refusing unknown keys and ill-typed values by name."""
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected a table of settings, got {data!r}.")
    hints = typing.get_type_hints(cls)
    for key in data:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{where}.{key}: unknown key.{hint} Known: {', '.join(hints)}.")
    for f in dataclasses.fields(cls):
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and f.name not in data:
            raise ConfigError(f"{where}.{f.name}: missing.")
    return cls(**{k: _coerce(v, hints[k], f"{where}.{k}") for k, v in data.items()})


def _coerce(value: Any, hint: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_dict(hint, value, where)
    if origin is Literal:
        if not any(value == a and type(value) is type(a) for a in args):
            raise ConfigError(f"{where}={value!r}: expected one of {', '.join(map(repr, args))}.")
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _coerce(value, next(a for a in args if a is not type(None)), where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where}={value!r}: expected a list.")
        if args[-1] is not Ellipsis and len(value) != len(args):
            raise ConfigError(f"{where}={value!r}: expected {len(args)} values.")
        return tuple(_coerce(v, args[0], f"{where}[{i}]") for i, v in enumerate(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where}={value!r}: expected {hint.__name__}, got {type(value).__name__}.")
    return value


def at_least(where: str, config: Any, **bounds: float) -> None:
    """Raise where a field of a config lies below its bound."""
    for key, low in bounds.items():
        if not getattr(config, key) >= low:  # NaN too
            raise ConfigError(f"{where}.{key}={getattr(config, key)}: expected at least {low}.")


def whole(name: str, value: Any, what: str = "a whole number") -> int:
    """`value` as an int, where it is one: Python's, numpy's or torch's.

    Raises:
        ConfigError: it is anything else, as "24000", 24000.0, None or True.
    """
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    near = ""
    try:
        if not isinstance(value, bool) and float(value) == int(float(value)):
            near = f" Write {name}={int(float(value))}."
    except (TypeError, ValueError, OverflowError):
        pass
    raise ConfigError(f"{name}={value!r}: expected {what}, not {type(value).__name__}.{near}")


def parse_seeds(text: str) -> list[int]:
    """'0..4' or '0,3,7' -> a list of seeds.

    Raises:
        ConfigError: neither form.
    """
    try:
        if ".." in text:
            first, last = map(int, text.split(".."))
            out = list(range(first, last + 1))
        else:
            out = [int(part) for part in text.split(",")]
    except ValueError:
        out = []
    if not out:
        raise ConfigError(f"--seeds {text}: expected a range as 0..4 or a list as 0,3,7.")
    return out
