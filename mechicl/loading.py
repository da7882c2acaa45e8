"""Plain data and text as settings, strictly: what is unknown or ill-typed is refused by name.

The same walk over a dataclass's annotations checks what a file says (`from_dict`) and what Python builds
(`check_types`, called first in every `__post_init__`), so that what can be constructed can be saved and opened.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import operator
import types
import typing
from typing import Any, Literal, NoReturn

from mechicl.errors import ConfigError as ConfigError
from mechicl.old_names import present_names

_LARGEST = 2**63 - 1  # whole numbers end up in int64


class Options(dict[str, Any]):
    """Settings of a plugin's own (options.py): a dict of plain data that is read only and, as a config must, hashes."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(json.dumps(self, sort_keys=True))

    def __reduce__(self) -> tuple:
        return Options, (dict(self),)

    def _read_only(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("settings are read only: make another config with dataclasses.replace")

    __setitem__ = __delitem__ = __ior__ = pop = popitem = clear = _read_only
    update = _read_only  # pyright: ignore[reportAssignmentType]
    setdefault = _read_only  # pyright: ignore[reportAssignmentType]


def to_dict(config: Any) -> dict[str, Any]:
    """Plain JSON-ready dict of a config; `from_dict` inverts it. Options that are empty are left out: a config without
    them reads as it did before there were any."""
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
            near = difflib.get_close_matches(str(key), hints, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{where}.{key}: unknown key.{hint} Known: {', '.join(hints)}.")
    for f in dataclasses.fields(cls):
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and f.name not in data:
            raise ConfigError(f"{where}.{f.name}: missing.")
    return cls(**{k: coerce(v, hints[k], f"{where}.{k}") for k, v in data.items()})


def check_types(config: Any, where: str) -> None:
    """Check every field of a frozen dataclass against its annotation, as `from_dict` does, and put what is
    equal to it in its plain form: lists become tuples, whole numbers floats, numpy's numbers Python's.

    Args:
        where: what to call the dataclass in an error, as 'optim'.

    Raises:
        ConfigError: the first field that cannot be, what was given and what is possible.
    """
    hints = type_hints(type(config))
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        plain = coerce(value, hints[f.name], f"{where}.{f.name}")
        if plain is not value:
            object.__setattr__(config, f.name, plain)


@functools.cache
def type_hints(cls: type) -> dict[str, Any]:
    """Field -> its annotation, resolved once: edits are built by the thousand."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def coerce(value: Any, hint: Any, where: str) -> Any:
    """`value` in its plain form as an annotation `hint` wants it; `where` names it in an error.

    Raises:
        ConfigError: it cannot be that.
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
    """What each of them may be, the plugin's own function says (options.py)."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{where}={value!r}: expected a table of settings.")
    return value if isinstance(value, Options) else Options(value)


def _plain(value: Any, hint: type, where: str) -> Any:
    """One int, float, bool or str: of exactly that type, so that JSON gives it back as it was."""
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


def parse_steps(text: str) -> tuple[int, ...]:
    """'0,500' -> steps.

    Raises:
        ConfigError: another form.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise ConfigError(f"--steps {text}: expected checkpoints' steps, such as --steps 0,500.")
    return tuple(map(int, parts))
