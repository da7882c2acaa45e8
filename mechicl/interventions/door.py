"""Interventions of one's own, by name: what `mechicl ablate --own` and a link to the page take.

from mechicl.interventions import Intervention, intervention

@intervention("scale_values")
@dataclass(frozen=True)
class ScaleValues(Intervention):
    layer: int
    factor: float
    ...

mechicl ablate RUN --plugin scale_values --own 'scale_values(layer=0, factor=0.5)'
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Callable
from typing import TypeVar

from mechicl.doors import Door, check_name
from mechicl.errors import ConfigError
from mechicl.interventions.base import Intervention
from mechicl.loading import check_types

Some = TypeVar("Some", bound=type[Intervention])

INTERVENTIONS: Door[type[Intervention]] = Door("intervention")


def intervention(name: str) -> Callable[[Some], Some]:
    """Register a class of interventions of your own.

    Raises:
        ConfigError: the name exists already, the class is not a frozen dataclass that derives from Intervention, or it
            has no `baseline`.
    """
    check_name(INTERVENTIONS.what, name)

    def register(cls: Some) -> Some:
        frozen = getattr(getattr(cls, "__dataclass_params__", None), "frozen", False)
        if not (inspect.isclass(cls) and issubclass(cls, Intervention) and frozen):
            raise ConfigError(
                f"the intervention {name!r}: expected a class that derives from Intervention, under "
                "@dataclass(frozen=True), and that under @intervention(...)."
            )
        if lacking := sorted(getattr(cls, "__abstractmethods__", ())):
            raise ConfigError(
                f"the intervention {name!r}: {cls.__name__} lacks {', '.join(lacking)}: define it as a property that "
                "says in words what takes the place of what was there, such as 'half of its value'."
            )
        INTERVENTIONS.add(name, cls, cls.__module__)
        return cls

    return register


def named(text: str, option: str = "--own") -> Intervention:
    """'scale_values(layer=0, factor=0.5)' as the intervention. Values are Python's: numbers, text in quotes, True,
    None, tuples and lists. Nothing is run but the class itself.

    Raises:
        ConfigError: it is written otherwise, there is none of this name, or it has not such fields.
    """
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        call = None
    if isinstance(call, ast.Name):
        call = ast.Call(func=call, args=[], keywords=[])
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)) or call.args:
        raise ConfigError(
            f"{option} {text}: expected NAME(FIELD=VALUE, ...), such as 'scale_values(layer=0, factor=0.5)'."
        )
    cls = INTERVENTIONS.find(call.func.id)
    known = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    given = {str(word.arg): _literal(word.value, text, option) for word in call.keywords}
    needed = [name for name, f in known.items() if f.default is f.default_factory is dataclasses.MISSING]
    wrong = [name for name in given if name not in known] or [name for name in needed if name not in given]
    if wrong:
        raise ConfigError(
            f"{option} {text}: {'no field' if wrong[0] in given else 'it lacks the field'} {wrong[0]!r}: "
            f"{call.func.id} has {', '.join(known) or 'no fields'}."
        )
    try:
        made = cls(**given)
        check_types(made, call.func.id)
    except ConfigError as error:
        raise ConfigError(f"{option} {text}: {error}") from None
    return made


def written(done: Intervention) -> str:
    """The text that `named` takes."""
    name = next((name for name, cls in INTERVENTIONS.items() if cls is type(done)), type(done).__name__)
    fields = dataclasses.fields(done)  # type: ignore[arg-type]
    return f"{name}({', '.join(f'{field.name}={getattr(done, field.name)!r}' for field in fields)})"


def _literal(node: ast.expr, text: str, option: str) -> object:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        raise ConfigError(f"{option} {text}: {ast.unparse(node)} is not a number, text, tuple or list.") from None
    return _tuples(value)


def _tuples(value: object) -> object:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
