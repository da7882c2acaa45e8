"""Interventions that a plugin registered, beside those of mechicl: a choice for each, with a control for each field.

The fields are those of its dataclass. The script joins them to the text that `mechicl ablate --own` takes
(assets/own.js), so a link and 'Copy as Python' say the same.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, Literal, get_args, get_origin

from dash import html
from dash.development.base_component import Component

from mechicl.interventions import Intervention
from mechicl.interventions.door import INTERVENTIONS
from mechicl.loading import type_hints
from mechicl.page.controls import aria, data
from mechicl.page.offered import Choice

_FIRST = {int: "0", float: "1.0", str: "", bool: "True", tuple: "()"}  # of a field that has no default


def own_choices() -> dict[str, Choice]:
    """What plugins offer, by the names of the rows of their fields."""
    return {
        f"own-{name}": Choice(f"Your own: {name}", f"own-{name}", "Apply", name, _says(cls))
        for name, cls in INTERVENTIONS.items()
    }


def own_rows() -> dict[str, list[Component]]:
    """Row -> a control for each field of the intervention."""
    return {f"own-{name}": _fields(name, cls) for name, cls in INTERVENTIONS.items()}


def _says(cls: type[Intervention]) -> str:
    """The first sentence of its docstring. A dataclass without one has its signature there, which says nothing."""
    text = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    return "" if text.startswith(f"{cls.__name__}(") else text


def _fields(name: str, cls: type[Intervention]) -> list[Component]:
    hints = type_hints(cls)
    return [part for field in dataclasses.fields(cls) for part in _field(name, field, hints[field.name])]  # type: ignore[arg-type]


def _field(name: str, field: dataclasses.Field[Any], hint: Any) -> list[Component]:
    options = get_args(hint) if get_origin(hint) is Literal else (True, False) if hint is bool else ()
    first = _default(field)
    about = {**data(field=field.name), **aria(label=f"{field.name} of {name}")}
    if options:
        chosen = options[0] if first is dataclasses.MISSING else first
        listed = [html.Option(str(x), value=repr(x), selected=x == chosen) for x in options]
        return [html.Span(field.name), html.Select(listed, **about)]
    if first is dataclasses.MISSING:
        value = _FIRST.get(get_origin(hint) or hint, "")
    else:
        value = first if isinstance(first, str) else repr(first)
    text = "1" if hint is str else ""  # the script puts it into quotes
    return [html.Span(field.name), html.Span(**data(input=value, text=text), **about)]  # Dash has no input of its own


def _default(field: dataclasses.Field[Any]) -> Any:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()
