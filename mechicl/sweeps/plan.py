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

Keys are the fields of `Config`, dotted. A field that is itself a list takes a list of lists, or one list for a fixed
value. "none" means None where a field may be None.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from mechicl import recipes
from mechicl.config import Config, to_dict
from mechicl.errors import ConfigError
from mechicl.loading import parse_seeds
from mechicl.series import open_series
from mechicl.settings import changed, flat, former_name, holds_a_list, label, named, near, shortest
from mechicl.system import paths

_KEYS = ("name", "recipe", "seeds", "set", "grid", "slurm")
_OURS = {
    "name": "runs are named by their condition",
    "seeds.init": 'write seeds = "0..4" at the top',
    "seeds.data": 'write seeds = "0..4" at the top',
}


@dataclass(frozen=True)
class Condition:
    """One point of the grid. fields: the values here of the fields that the file varies; former: names that earlier
    versions gave the point, if its values are lists or long texts, or if a field was renamed."""

    name: str
    config: Config
    fields: dict[str, Any] = field(hash=False)
    former: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """One condition with one seed; `name` is its folder."""

    name: str
    condition: Condition
    seed: int

    @property
    def config(self) -> Config:
        return self.condition.config.with_seed(self.seed)

    def folder(self, out: Path) -> Path:
        """The run's folder: under its name, or under a name that an earlier version gave it."""
        for name in self.condition.former:
            before = out / f"{name}-s{self.seed}"
            if (before / "manifest.json").is_file() and open_series(before).config == self.config:
                return before
        return out / self.name


@dataclass(frozen=True)
class Plan:
    """A whole sweep. `runs` has every condition at the first seed, then at the second, and so
    on: a sweep that is stopped early has seen the whole grid."""

    name: str
    conditions: tuple[Condition, ...]
    seeds: tuple[int, ...]
    slurm: dict[str, Any]  # settings for submitit, as [slurm] gives them

    @property
    def runs(self) -> list[Run]:
        return [Run(f"{c.name}-s{seed}", c, seed) for seed in self.seeds for c in self.conditions]

    @property
    def fields(self) -> list[str]:
        """The fields that any grid names: columns of the table."""
        return list(self.conditions[0].fields)


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
                f"{key}: unknown key.{near(key, _KEYS)} Known: {', '.join(_KEYS)}. "
                "Fields of the config belong into [set] or [[grid]]."
            )
    if not isinstance(given.get("recipe"), str):
        raise ConfigError('recipe: name one, such as recipe = "demo"; `mechicl recipes` lists them.')
    base = changed(recipes.get(given["recipe"]), flat(_table(given, "set"), "set.", _OURS), "set")
    grids = given.get("grid", [{}])
    if not isinstance(grids, list) or not all(isinstance(grid, dict) for grid in grids) or not grids:
        raise ConfigError("grid: write it with two brackets, [[grid]]; there may be several.")
    points = [point for i, grid in enumerate(grids) for point in _points(base, grid, f"grid {i + 1}")]
    varied = list(dict.fromkeys(name for point in points for name in point.values))
    title = given.get("name", name)
    _checked_name(title, "name")
    return Plan(title, _conditions(points, varied), _seeds(given.get("seeds", [0])), _table(given, "slurm"))


@dataclass(frozen=True)
class _Point:
    """A point of one grid: its label, now and before, its Config and the values that the grid gives it."""

    label: str
    former: tuple[str, ...]
    config: Config
    values: dict[str, Any]


def _points(base: Config, grid: dict[str, Any], where: str) -> list[_Point]:
    grid = dict(grid)
    title = grid.pop("name", "")
    if title:
        _checked_name(title, f"{where}.name")
    lists: dict[str, list] = {}
    for name, value in flat(grid, f"{where}.", _OURS).items():
        lists[name] = value if _is_list_of_values(name, value) else [value]
        if not lists[name]:
            raise ConfigError(f"{where}.{name}: an empty list; give at least one value.")
    out = []
    for chosen in itertools.product(*lists.values()):
        values = dict(zip(lists, chosen, strict=True))
        shown = {k: v for k, v in values.items() if len(lists[k]) > 1 or not title}
        name = "_".join(filter(None, (title, named(shown, lists)))) or "base"
        out.append(_Point(name, _former(title, shown, lists), changed(base, values, where), values))
    return out


def _conditions(points: list[_Point], varied: list[str]) -> tuple[Condition, ...]:
    """The points without repetition: a config that two grids describe is trained once."""
    found: dict[Config, Condition] = {}
    names: dict[str, Config] = {}
    for point in points:
        if point.config in found:
            continue
        if point.label in names:
            raise ConfigError(
                f"two different conditions would be called {point.label!r}: give one of their "
                '[[grid]]s a name, such as name = "wide".'
            )
        settings = {name: _get(point.config, name) for name in varied}
        found[point.config] = Condition(point.label, point.config, settings, point.former)
        names[point.label] = point.config
    return tuple(found.values())


def _is_list_of_values(name: str, value: Any) -> bool:
    if not isinstance(value, list):
        return False
    return not holds_a_list(name) or (bool(value) and all(isinstance(v, list) or v == "none" for v in value))


def _former(point: str, values: dict[str, Any], lists: dict[str, list]) -> tuple[str, ...]:
    """What earlier versions called a point: fields by the names that they had then, long values by their places."""

    def of(name: str) -> str:
        before = former_name(name)
        return shortest(name) if before == name else before.rsplit(".", 1)[-1]

    renamed = (f"{of(k)}-{label(v, lists[k])}" for k, v in values.items())
    placed = (f"{shortest(k)}-{_placed(v, lists[k])}" for k, v in values.items())
    both = (f"{of(k)}-{_placed(v, lists[k])}" for k, v in values.items())
    return tuple(dict.fromkeys("_".join(filter(None, (point, *each))) for each in (renamed, placed, both)))


def _placed(value: Any, among: list) -> str:
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
    listed = parse_seeds(given) if isinstance(given, str) else given
    good = isinstance(listed, list) and listed and all(type(x) is int and x >= 0 for x in listed)
    if not good or len(set(listed)) < len(listed):
        raise ConfigError(f'seeds={given!r}: expected different seeds, such as "0..4" or [0, 3, 7].')
    return tuple(listed)


def _checked_name(name: Any, where: str) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name, flags=re.ASCII):
        raise ConfigError(f"{where}={name!r}: a name is made of letters, digits, '-', '_' and '.'.")
