"""Fields of a Config as dotted names and TOML values: for sweeps' files, `train --set` and `recipes NAME`.

    bank.dim = 16
    model.mlp_layers = [1]             # a field that is a list
    bank.n_labels = "none"             # None, where a field may be that

A shell removes quotes, so a bare word is text: `--set optim.l2_form=decoupled`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tomllib
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any

from mechicl.config import OF_DEFAULT_TASK, Config, Task, from_dict, in_order, to_dict
from mechicl.errors import ConfigError, did_you_mean
from mechicl.loading import Options, type_hints
from mechicl.old_names import OLD_NAMES
from mechicl.schedule import evaluated_steps

_LONGEST, _LONGEST_NAME = 40, 180  # of one value in a folder's name, in characters, and of all, in bytes


@cache
def known() -> dict[str, Any]:
    """Dotted name -> type of every field of Config that holds a value."""
    out: dict[str, Any] = {}

    def walk(cls: type, prefix: str) -> None:
        for name, hint in type_hints(cls).items():
            if dataclasses.is_dataclass(hint):
                walk(typing.cast(type, hint), f"{prefix}{name}.")
            else:
                out[prefix + name] = hint

    walk(Config, "")
    order = in_order()
    return dict(sorted(out.items(), key=lambda item: order.index(item[0].partition(".")[0])))


def present_name(name: str) -> str:
    """A dotted name, its parts as they are called today."""
    cls, parts = Config, []
    for part in name.split("."):
        parts.append(OLD_NAMES.get(getattr(cls, "__name__", ""), {}).get(part, part))
        cls = type_hints(cls).get(parts[-1]) if dataclasses.is_dataclass(cls) else None
    return ".".join(parts)


def former_name(name: str) -> str:
    """A dotted name, its last part as it was called before; the name itself where it was never another."""
    cls: Any = Config
    *path, leaf = name.split(".")
    for part in path:
        cls = type_hints(cls).get(part) if dataclasses.is_dataclass(cls) else None
    old = {new: before for before, new in OLD_NAMES.get(getattr(cls, "__name__", ""), {}).items()}
    return ".".join((*path, old.get(leaf, leaf)))


def flat(
    table: Mapping[str, Any], where: str, refused: Mapping[str, str] = types.MappingProxyType({}), prefix: str = ""
) -> dict[str, Any]:
    """Nested tables as dotted names, each a field of Config.

    Args:
        where: put before a name in an error, as 'set.'.
        refused: names that are not set here, with what to do instead.

    Raises:
        ConfigError: there is no such field, or it is refused; the message has the most similar name.
    """
    out: dict[str, Any] = {}
    for key, value in table.items():
        name = present_name(prefix + key)
        # A plugin's options and a task's settings: which there are, they say themselves.
        if (name == "task" or known().get(name) is Options) and isinstance(value, dict):
            out |= {f"{name}.{inner}": given for inner, given in value.items()}
            continue
        group = any(each.startswith(name + ".") for each in known())
        if group and isinstance(value, dict):
            out |= flat(value, where, refused, name + ".")
            continue
        if name in refused:
            raise ConfigError(f"{where}{name} cannot be set here: {refused[name]}.")
        if name not in known():
            hint = f" It is a table: set one of its fields, as {name}.{_inside(name)}." if group else ""
            raise ConfigError(f"{where}{name}: the config has no such field.{hint or did_you_mean(name, known())}")
        out[name] = value
    return out


def changed(base: Config, values: Mapping[str, Any], where: str) -> Config:
    """The base with dotted fields replaced, all at once, because they are checked against one another.

    Raises:
        ConfigError: such a run is impossible; the message says why.
    """
    data = to_dict(base)
    asked = [value for name, value in values.items() if name.partition(".")[0] == "task"]
    if base.task is None and asked not in ([], ["none"]):
        for key in OF_DEFAULT_TASK:  # another task, which has none of these
            data.pop(key)
    for name, value in values.items():
        *path, leaf = name.split(".")
        inside = data
        for step in path:
            inside = inside.setdefault(step, {})  # options that are empty are left out of a config's data
        inside[leaf] = None if value == "none" and is_optional(name) else value
    if isinstance(data.get("task"), dict):
        may = Task.optional_fields(data["task"].get("kind"))
        data["task"] = {key: None if key in may and value == "none" else value for key, value in data["task"].items()}
    try:
        config = from_dict(Config, data)
        evaluated_steps(config)
    except ConfigError as error:
        shown = ", ".join(f"{k} = {v!r}" for k, v in values.items())
        raise ConfigError(f"{where} ({shown}): {error}") from None
    return config


def assignments(texts: Iterable[str]) -> dict[str, Any]:
    """The values of `--set NAME=VALUE`, by dotted name. Values are TOML; a bare word is text.

    Raises:
        ConfigError: no such field, no value, or a field twice.
    """
    out: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise ConfigError(
                f"--set {text}: expected FIELD=VALUE, such as --set model.n_layers=3; "
                "`mechicl recipes NAME` shows the fields."
            )
        try:
            table = tomllib.loads(f"{name} = {value}")
        except tomllib.TOMLDecodeError as error:
            if not re.fullmatch(r"[\w./~{}-]+", value):
                raise ConfigError(
                    f"--set {text}: its value is not TOML ({error}): write a number like 3 or 1e-3, "
                    "a list like [0, 1], and text without quotes."
                ) from None
            short = re.fullmatch(r"-?(\.\d+|\d+\.)(e-?\d+)?", value)  # .5 and 5., which TOML does not read
            written = repr(float(value)) if short else json.dumps(value)
            try:
                table = tomllib.loads(f"{name} = {written}")
            except tomllib.TOMLDecodeError:
                raise ConfigError(f"--set {text}: {name!r} is not the name of a field.") from None
        for field, given in flat(table, "--set ").items():
            if field in out:
                raise ConfigError(f"--set {field} is given twice: as {out[field]!r} and as {given!r}.")
            out[field] = given
    return out


def as_lines(config: Config) -> list[str]:
    """Every field of a config, 'bank.dim = 12', as `flat` reads them."""
    lines = []
    data = to_dict(config)
    for name in known():
        if name.partition(".")[0] not in data and name != "task":
            continue  # of another task
        if name == "task" and config.task is not None:
            lines += [f"task.{key} = {_toml(value)}" for key, value in data["task"].items()]
            continue
        value: Any = config
        for part in name.split("."):
            value = getattr(value, part)
        lines.append(f"{name} = {_toml(value)}")
    return lines


def _toml(value: Any) -> str:
    if value is None:
        return '"none"'
    if dataclasses.is_dataclass(value):
        given = {
            f.name: getattr(value, f.name) for f in dataclasses.fields(value) if getattr(value, f.name) != f.default
        }
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in given.items()) + "}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (bool, str)) else repr(value)


def named(values: Mapping[str, Any], among: Mapping[str, Collection[Any]] | None = None) -> str:
    """Settings as a part of a folder's name, 'dim-16_n_layers-3'; '' where there are none.

    Args:
        among: for each field, all values that the name must distinguish.
    """
    lists = among or {}
    name = "_".join(f"{shortest(k)}-{label(v, lists.get(k, [v]))}" for k, v in values.items())
    return name if len(name.encode()) <= _LONGEST_NAME else f"{name[:90]}-{_digest(dict(values))}"


def shortest(name: str) -> str:
    """The shortest unambiguous end of a dotted name."""
    leaf = name.rsplit(".", 1)[-1]
    if name not in known():  # a plugin's
        return leaf
    return leaf if sum(k.rsplit(".", 1)[-1] == leaf for k in known()) == 1 else name


def label(value: Any, among: Collection[Any]) -> str:
    """A value in a folder's name: short, and different from the text of every other value of `among`."""
    text = _said(value)
    if len(text) > _LONGEST or not text or any(_said(x) == text and not _same(x, value) for x in among):
        text = f"{text[: _LONGEST - 7].rstrip('-_.')}-{_digest(value)}".lstrip("-")
    return text


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:6]


def _same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _said(value: Any) -> str:
    """A value in characters that any folder's name may have; lists and tables by their contents, '0-1',
    'relabel-every-500'."""
    if isinstance(value, dict):
        return "-".join(_said(v) if k == "kind" else f"{k}-{_said(v)}" for k, v in value.items())
    if isinstance(value, list):
        return "-".join(map(_said, value)) or "empty"
    if isinstance(value, bool):
        return str(value).lower()
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if re.fullmatch(r"[\w.+-]{1,24}", text):
        return text.replace("+", "")
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")


def is_optional(name: str) -> bool:
    """Whether a field may be None."""
    return type(None) in typing.get_args(known().get(name))


def holds_a_list(name: str) -> bool:
    """Whether a field is a list itself."""
    hint = known().get(name)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
    return typing.get_origin(hint) is tuple


def _inside(group: str) -> str:
    return next(k for k in known() if k.startswith(group + ".")).removeprefix(group + ".")
