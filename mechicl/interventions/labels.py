"""Labels of interventions: tables tell them apart by what `str` gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mechicl.errors import ConfigError

if TYPE_CHECKING:
    from mechicl.interventions.base import Intervention

_SHOWN = 60  # characters of a field's value


def check_labels(conditions: Sequence[Intervention]) -> None:
    """Raise unless rows of these can be told apart. The same one twice is no harm.

    Raises:
        ConfigError: two that differ have one label, or one has that of the intact model.
    """
    met: dict[str, Intervention] = {}
    for condition in conditions:
        label = _label(condition)
        if label == "intact":
            raise ConfigError(
                f"{type(condition).__name__} is called 'intact', as the rows of the unchanged model are: expected "
                "another text of its __str__."
            )
        first = met.setdefault(label, condition)
        if first is not condition and not _same(first, condition):
            named = any(field.name == "name" for field in _fields(condition))
            helps = "give each a name of its own, as name='first'" if named else "measure each in a call of its own"
            raise ConfigError(
                f"two different interventions are both called {label!r} ({_differ(first, condition)}), so that a table "
                f"could not tell them apart: {helps}."
            )


def _label(condition: Intervention) -> str:
    try:
        return str(condition)
    except TypeError as error:
        if "__str__ returned non-string" not in str(error):
            raise
        raise ConfigError(
            f"{type(condition).__name__}.__str__ returned something else than text: expected what its rows in a table "
            "are called. Does it end without `return`?"
        ) from None


def _same(one: Intervention, other: Intervention) -> bool:
    try:
        return bool(one == other)
    except (RuntimeError, ValueError, TypeError):  # somebody's own, with tensors or arrays as fields
        return False


def _differ(one: Intervention, other: Intervention) -> str:
    """Where two differ, in words: 'strength=0.1234567 and 0.1234568'."""
    if type(one) is not type(other):
        return f"{type(one).__name__} and {type(other).__name__}"
    for field in _fields(one):
        mine, theirs = (repr(getattr(each, field.name)) for each in (one, other))
        if mine != theirs:
            long = max(len(mine), len(theirs)) > _SHOWN
            return f"they differ in {field.name}" if long else f"{field.name}={mine} and {theirs}"
    return "they are not equal"


def _fields(one: Intervention) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(one) if dataclasses.is_dataclass(one) else ()
