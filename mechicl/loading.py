"""Plain data and text as settings. Unknown keys and values of a wrong type are refused by name.

The same code checks a dataclass's fields against their annotations for files (`from_dict`) and for objects made in
Python (`check_types`, called first in every `__post_init__`). So every config that can be constructed can be saved and
opened.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import operator
import types
import typing
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from mechicl.errors import ConfigError as ConfigError
from mechicl.errors import did_you_mean
from mechicl.old_names import present_names

_LARGEST = 2**63 - 1  # whole numbers end up in int64


class Options(dict[str, Any]):
    """Settings of a plugin (options.py): a dict of plain data. It is read only and hashable, as a config must be."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(json.dumps(self, sort_keys=True))

    def __reduce__(self) -> tuple[Any, ...]:
        return Options, (dict(self),)

    def _read_only(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("settings are read-only: make a changed copy with dataclasses.replace")

    if not TYPE_CHECKING:  # which is to know a dict
        __setitem__ = __delitem__ = __ior__ = pop = popitem = clear = update = setdefault = _read_only


def to_dict(config: Any) -> dict[str, Any]:
    """A config as a plain dict, ready for JSON; `from_dict` is the inverse. Empty options are left out, so a config
    without options has the same text as in versions without them."""
    return dataclasses.asdict(config, dict_factory=_without_empty_options)


def _without_empty_options(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    given = ((k, v) for k, v in pairs if v or not isinstance(v, Options))
    return {k: dict(v) if isinstance(v, Options) else v for k, v in given}


def from_dict(cls: type, data: Any, where: str = "config") -> Any:
    """Build `cls` from plain data, refusing unknown keys and ill-typed values by name."""
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected a table of settings, got {data!r}.")
    hints, data = type_hints(cls), present_names(cls, data, where)
    for key in data:
        if key not in hints:
            raise ConfigError(f"{where}.{key}: unknown key.{did_you_mean(str(key), hints)} Known: {', '.join(hints)}.")
    for f in dataclasses.fields(cls):
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and f.name not in data:
            raise ConfigError(f"{where}.{f.name}: missing.")
    return cls(**{k: coerce(v, hints[k], f"{where}.{k}") for k, v in data.items()})


def check_types(config: Any, where: str) -> None:
    """Check every field of a frozen dataclass against its annotation, as `from_dict` does. Equal values get their
    plain form: lists become tuples, whole numbers become floats where floats are wanted, and numpy's numbers become
    Python's.

    Args:
        where: what to call the dataclass in an error, as 'optim'.

    Raises:
        ConfigError: the first wrong field, what was given and what is possible.
    """
    hints = type_hints(type(config))
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        plain = coerce(value, hints[f.name], f"{where}.{f.name}")
        if plain is not value:
            object.__setattr__(config, f.name, plain)


@functools.cache
def type_hints(cls: type) -> dict[str, Any]:
    """Field -> its annotation. It is resolved only once, because thousands of edits are built."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def coerce(value: Any, hint: Any, where: str) -> Any:
    """`value` in its plain form, as the annotation `hint` asks for; `where` names it in an error.

    Raises:
        ConfigError: it does not fit the annotation.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        value = value.tolist()  # numbers and arrays alike; nothing is rounded
    if isinstance(hint, type) and hasattr(hint, "from_plain"):  # one of several classes, which the value names
        return hint.from_plain(value, where)
    if hint is Options:
        return _options(value, where)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return value if type(value) is hint else from_dict(hint, value, where)
    if origin is Literal:
        if not any(type(value) is type(a) and value == a for a in args):
            raise ConfigError(f"{where}={value!r}: expected one of {', '.join(map(repr, args))}.")
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return coerce(value, next(a for a in args if a is not type(None)), where)
    if origin is tuple:
        if not isinstance(value, (list, tuple, range)):
            raise ConfigError(f"{where}={value!r}: expected a list.")
        if args[-1] is not Ellipsis and len(value) != len(args):
            raise ConfigError(f"{where}={value!r}: expected {len(args)} values.")
        items = tuple(coerce(v, args[0], f"{where}[{i}]") for i, v in enumerate(value))
        same = type(value) is tuple and all(a is b for a, b in zip(items, value, strict=True))
        return value if same else items
    return _plain(value, hint, where)


def _options(value: Any, where: str) -> Options:
    """The plugin's function says which values each of them may have (options.py)."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{where}={value!r}: expected a table of settings.")
    return value if isinstance(value, Options) else Options(value)


def _plain(value: Any, hint: type, where: str) -> Any:
    """One int, float, bool or str, of exactly that type, so that JSON returns the same value."""
    if type(value) is int and hint in (int, float):
        if abs(value) > _LARGEST:
            raise ConfigError(f"{where}: a number of {value.bit_length()} bits: expected at most {_LARGEST}.")
        value = hint(value)
    if type(value) is not hint:
        raise ConfigError(f"{where}={value!r}: expected {hint.__name__}, got {type(value).__name__}.")
    if hint is float and not math.isfinite(value):
        raise ConfigError(f"{where}={value!r}: expected a finite number.")
    return value


def at_least(where: str, config: Any, **bounds: float) -> None:
    """Raise where a field of a config lies below its bound."""
    for key, low in bounds.items():
        if not getattr(config, key) >= low:  # NaN too
            raise ConfigError(f"{where}.{key}={getattr(config, key)}: expected at least {low}.")


def at_most(where: str, config: Any, **bounds: float) -> None:
    """Raise where a field of a config lies above its bound."""
    for key, high in bounds.items():
        if not getattr(config, key) <= high:
            raise ConfigError(f"{where}.{key}={getattr(config, key)}: expected at most {high:g}.")


def whole(name: str, value: Any, what: str = "a whole number") -> int:
    """`value` as an int, if it is one of Python, numpy or torch.

    Raises:
        ConfigError: it is anything else, such as "24000", 24000.0, None or True.
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


def parse_seeds(text: str, where: str = "--seeds ") -> list[int]:
    """'0..4' or '0,3,7' -> a list of seeds. where: put before the text in an error.

    Raises:
        ConfigError: the text has neither form.
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
        raise ConfigError(f"{where}{text}: expected a range, such as 0..4, or a list, such as 0,3,7.")
    return out
