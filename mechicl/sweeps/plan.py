"""The file that describes a sweep, as data: which conditions, which seeds, which Config each.

    recipe = "demo"                    # what every run starts from
    seeds = "0..4"                     # or [0, 3, 7]

    [set]                              # changed in every run
    steps = 12_000
    keep = "metrics"

    [[grid]]                           # every combination of its lists; several grids: the union
    bank.dim = [8, 12, 16]
    bank.n_classes = [512, 1024]

    [[grid]]
    name = "wide"                      # names a condition where its values do not
    model.d_model = 128                # one value: fixed in this grid

    [[grid]]
    name = "without"                   # trains on from a condition above, or from a run (branching.py)
    branch = {from = "wide", at = 1500, without = ["L0H5"]}

Keys are the fields of `Config`, dotted. A field that is itself a list takes a list of lists, or one list for a fixed
value. "none" means None where a field may be None.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

from mechicl import recipes
from mechicl.config import Config, to_dict
from mechicl.errors import ConfigError, did_you_mean
from mechicl.loading import parse_seeds
from mechicl.settings import changed, flat, former_name, holds_a_list, label, named, shortest
from mechicl.sweeps.branching import LISTS, Branching, branching, table_of
from mechicl.sweeps.conditions import Condition, Plan
from mechicl.system import paths

_KEYS = ("name", "recipe", "seeds", "set", "grid", "slurm")
_OURS = {
    "name": "runs are named by their condition",
    "seeds.init": 'write seeds = "0..4" at the top',
    "seeds.data": 'write seeds = "0..4" at the top',
}


def read_plan(path: str | Path) -> Plan:
    """The plan that a file describes.

    Raises:
        ConfigError: there is no such file, it is not TOML, or a key or value is impossible; the message names it and a
            similar one.
    """
    path = paths.given(path)
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): expected a file as in docs/sweeps.md.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from None
    try:
        return plan(given, path.stem)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def plan(given: dict[str, Any], name: str) -> Plan:
    """As `read_plan`, from a file's content; `name` is used if the content gives none."""
    for key in given:
        if key not in _KEYS:
            raise ConfigError(
                f"{key}: unknown key.{did_you_mean(key, _KEYS)} Known: {', '.join(_KEYS)}. "
                "Fields of the config belong into [set] or [[grid]]."
            )
    grids = given.get("grid", [{}])
    if not isinstance(grids, list) or not all(isinstance(grid, dict) for grid in grids) or not grids:
        raise ConfigError("grid: write it with two brackets, [[grid]]; there may be several.")
    seeds = _seeds(given.get("seeds", [0]))
    base = _base(given, any("branch" not in grid for grid in grids))
    conditions = _conditions(base, grids, seeds)
    title = given.get("name", name)
    _checked_name(title, "name")
    return Plan(title, conditions, seeds, _table(given, "slurm"))


def _base(given: dict[str, Any], needed: bool) -> Config | None:
    """What conditions are that change nothing; None: all of them branch, and their parents say what they are."""
    if not needed:
        for key in ("recipe", "set"):
            if key in given:
                raise ConfigError(
                    f"{key}: every [[grid]] branches from a run, which says what is trained. Leave {key} out, and "
                    "write what changes in a branch into its [[grid]]."
                )
        return None
    if not isinstance(given.get("recipe"), str):
        raise ConfigError('recipe: name one, such as recipe = "demo"; `mechicl recipes` lists them.')
    return changed(recipes.get(given["recipe"]), flat(_table(given, "set"), "set.", _OURS), "set")


@dataclass(frozen=True)
class _Point:
    """A point of one grid: its label, now and before, its Config (of a branch that of the first seed), the values that
    the grid gives it, and how it branches."""

    label: str
    former: tuple[str, ...]
    config: Config
    values: dict[str, Any]
    branch: Branching | None = None


def _points(
    base: Config | None, grid: dict[str, Any], where: str, above: Mapping[str, Condition], seeds: tuple[int, ...]
) -> list[_Point]:
    grid = dict(grid)
    title = grid.pop("name", "")
    if title:
        _checked_name(title, f"{where}.name")
    branches = table_of(grid.pop("branch"), f"{where}.branch") if "branch" in grid else None
    given = {f"branch.{key}": value for key, value in (branches or {}).items()}
    lists: dict[str, list[Any]] = {}
    for name, value in (given | flat(grid, f"{where}.", _OURS)).items():
        lists[name] = value if _is_list_of_values(name, value) else [value]
        if not lists[name]:
            raise ConfigError(f"{where}.{name}: an empty list; give at least one value.")
    out = []
    for chosen in itertools.product(*lists.values()):
        values = dict(zip(lists, chosen, strict=True))
        shown = {k: v for k, v in values.items() if len(lists[k]) > 1 or not title}
        if branches is None:
            assert base is not None
            name = "_".join(filter(None, (title, named(shown, lists)))) or "base"
            out.append(_Point(name, _former(title, shown, lists), changed(base, values, where), values))
            continue
        table = {k.removeprefix("branch."): v for k, v in values.items() if k in given}
        changes = {k: v for k, v in values.items() if k not in given}
        branch = branching(table, changes, above, f"{where}.branch")
        try:
            configs = [branch.config(seed) for seed in seeds]  # a parent that is not there is said at once
            name = "_".join((title, named(shown, lists))).strip("_") if title else branch.label
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        out.append(_Point(name, (), configs[0], changes, branch))
    return out


def _conditions(base: Config | None, grids: list[dict[str, Any]], seeds: tuple[int, ...]) -> tuple[Condition, ...]:
    """The points without repetition: a config that two grids describe is trained once."""
    found: dict[Config | Branching, Condition] = {}
    names: dict[str, Condition] = {}
    varied: dict[str, None] = {}
    for i, grid in enumerate(grids):
        for point in _points(base, grid, f"grid {i + 1}", dict(names), seeds):
            key = point.branch or point.config
            if key not in found and point.label in names:
                raise ConfigError(
                    f"two different conditions would be called {point.label!r}: give one of their "
                    '[[grid]]s a name, such as name = "wide".'
                )
            varied |= dict.fromkeys(point.values)
            found.setdefault(key, Condition(point.label, point.config, {}, point.former, point.branch))
            names.setdefault(point.label, found[key])
    for each in found.values():
        each.fields.update({name: _shown(each, name) for name in varied})  # branches below have it as their parent
    return tuple(found.values())


def _shown(condition: Condition, name: str) -> Any:
    """A field for the table. Of a branch it is what it changes: its config keeps the parent's sequences, to be tested
    on."""
    changes = condition.branch.changes if condition.branch else {}
    if name in changes:
        return json.dumps(changes[name]) if isinstance(changes[name], (list, dict)) else changes[name]
    return _get(condition.config, name)


def _is_list_of_values(name: str, value: Any) -> bool:
    if not isinstance(value, list):
        return False
    list_field = name.removeprefix("branch.") in LISTS if name.startswith("branch.") else holds_a_list(name)
    return not list_field or (bool(value) and all(isinstance(v, list) or v == "none" for v in value))


def _former(point: str, values: dict[str, Any], lists: dict[str, list[Any]]) -> tuple[str, ...]:
    """What earlier versions called a point: fields by the names that they had then, long values by their places."""

    def of(name: str) -> str:
        before = former_name(name)
        return shortest(name) if before == name else before.rsplit(".", 1)[-1]

    renamed = (f"{of(k)}-{label(v, lists[k])}" for k, v in values.items())
    placed = (f"{shortest(k)}-{_placed(v, lists[k])}" for k, v in values.items())
    both = (f"{of(k)}-{_placed(v, lists[k])}" for k, v in values.items())
    return tuple(dict.fromkeys("_".join(filter(None, (point, *each))) for each in (renamed, placed, both)))


def _placed(value: Any, among: list[Any]) -> str:
    """A value itself if it is short, else its place in its list."""
    text = f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
    simple = isinstance(value, (int, float, str)) and re.fullmatch(r"[\w.+-]{1,24}", text)
    return text.replace("+", "") if simple else str(among.index(value))


def _get(config: Any, name: str) -> Any:
    """A field for the table: lists and tables as JSON."""
    for part in name.split("."):
        config = config[part] if isinstance(config, dict) else getattr(config, part)
    if isinstance(config, tuple):
        return json.dumps([to_dict(x) if is_dataclass(x) else x for x in config])
    return config


def _table(given: dict[str, Any], key: str) -> dict[str, Any]:
    value = given.get(key, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{key}={value!r}: expected a table, written as [{key}].")
    return value


def _seeds(given: Any) -> tuple[int, ...]:
    listed = parse_seeds(given, "seeds = ") if isinstance(given, str) else given
    good = isinstance(listed, list) and listed and all(type(x) is int and x >= 0 for x in listed)
    if not good or len(set(listed)) < len(listed):
        raise ConfigError(f'seeds={given!r}: expected different seeds, such as "0..4" or [0, 3, 7].')
    return tuple(listed)


def _checked_name(name: Any, where: str) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name, flags=re.ASCII):
        raise ConfigError(f"{where}={name!r}: a name is made of letters, digits, '-', '_' and '.'.")
