"""Buttons, selects and menus of the page: plain elements that say what they set.

`data-set` and `data-to` name the part of the view and its value, so that one listener (assets/) serves them all,
and a keyboard reaches every one.
"""

from __future__ import annotations

from typing import Any

from dash import html
from dash.development.base_component import Component


def panel(name: str, title: str, controls: list[Any], body: list[Any], says: str) -> Component:
    return html.Section(
        [
            html.Div([html.H2(title), html.Span(className="space"), *controls], className="title"),
            hint(name, says),
            *body,
        ],
        id=f"{name}-panel",
        className="panel",
    )


def hint(name: str, text: str) -> Component:
    return html.Div(
        [html.P(text), html.Button("Got it", **data(dismiss=name))], className="hint", hidden=True, **data(hint=name)
    )


def select(part: str, label: str, options: dict[str, str], chosen: str) -> Component:
    listed = [html.Option(text, value=value, selected=value == chosen) for value, text in options.items()]
    return html.Label([html.Span(label), html.Select(listed, **data(set=part))], className="select")


def switch(part: str, options: dict[str, str], chosen: str, label: str) -> Component:
    buttons = [
        html.Button(
            text,
            className="choice",
            **data(set=part, to=value),
            **aria(pressed="true" if value == chosen else "false"),
        )
        for value, text in options.items()
    ]
    return html.Span(buttons, className="switch", role="group", **aria(label=label))


def menu(title: str, entries: list[tuple[str, str, tuple[str, ...]]], *more: Component) -> Component:
    rows = [
        html.Div([html.Span(text), *[html.Button(fmt.upper(), **data(export=what, format=fmt)) for fmt in formats]])
        for text, what, formats in entries
    ]
    return html.Details([html.Summary(title), html.Div([*rows, *more], className="entries")], className="menu")


def data(**values: str) -> dict[str, Any]:
    return {f"data-{key}": value for key, value in values.items()}


def aria(**values: str) -> dict[str, Any]:
    return {f"aria-{key}": value for key, value in values.items()}
