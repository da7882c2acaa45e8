"""The control for all that is done to the model besides taking heads and MLPs out: edges, positions, patches, grafts.

One select says what to do. Only its choices are shown, and a sentence that says what it does; a button adds it to the
view (assets/edits.js). The choices are the run's own (offered.py) and those of
plugins (own.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dash import html
from dash.development.base_component import Component

from mechicl.interventions.components import senders
from mechicl.interventions.heads import HELD
from mechicl.page.controls import aria, data
from mechicl.page.offered import choices, known_edges, numbers, partner, partners, reached, relations, roles, weights
from mechicl.page.own import own_choices, own_rows
from mechicl.page.runs import Run

READ = {"q": "queries", "k": "keys", "v": "values"}


def editing(run: Run) -> Component:
    """The chooser of what to do, the choices of each, the button and what it does."""
    model, offered = run.series.config.model, choices(run) | own_choices()
    there, whole, known = [*roles(run), *numbers(run)], relations(run), known_edges(run)
    places = {"roles": _named(roles(run)), "by number": _named(numbers(run))}
    second = there[min(1, len(there) - 1)]  # an edge from a position to itself is a rare wish
    layers = [str(layer) for layer in range(model.n_layers)]
    mlps = [layer for layer in range(model.n_layers) if model.has_mlp(layer)]
    heads = [f"L{la}H{h}" for la in range(model.n_layers) for h in range(model.n_heads)]
    components = {name: name for name in heads} | {f"mlp.{la}": f"L{la} MLP" for la in mlps}
    rows = {
        "edge": [
            _pick("from", "Edge", {"circuits' edges": known, **places, "whole edges": _named(whole)}),
            html.Span("→", className="arrow"),
            _pick("to", "Edge to", places | {"relative to it": _named(whole)}, second),
            html.Span("in"),
            _pick(
                "edge-place",
                "Heads of the edge",
                {
                    "": {"": "all heads"},
                    "layers": {la: f"layer {la}" for la in layers},
                    "heads": {name: name for name in heads},
                },
            ),
        ],
        "path": [
            _pick("sender", "Sender of the path", {"": {str(end): _end(str(end)) for end in senders(model)}}),
            html.Span("→"),
            _pick("receiver", "Receiver of the path", {"": {end: _end(end) for end in reached(run)}}),
        ],
        "position": [
            _pick("place", "Position", places, second),
            html.Span("before"),
            _pick("place-layer", "Before layer", {"": {la: f"layer {la}" for la in layers}}),
        ],
        "component": [_pick("component", "Head or MLP", {"": components})],
        "directions": [
            html.Span("that carry"),
            _pick(
                "directions", "Directions of the answer", {"": _named(run.series.task.variations(run.series.config))}
            ),
        ],
        "weights": [
            _pick("parts", "Part of the weights", {"": _named(weights(run))}),
            html.Span("from step"),
            html.Span(id="graft-place"),
        ],
        "held": [_pick("hold", "Held in later layers", {"": HELD})],
    } | own_rows()
    asked = {choice.row for choice in offered.values()}
    options = [
        html.Option(
            choice.title, value=name, **data(row=choice.row, verb=choice.verb, what=choice.what, says=choice.says)
        )
        for name, choice in offered.items()
    ]
    shown_rows: list[Component] = [
        html.Span(picks, className="choices", role="group", hidden=True, **data(row=row), **aria(label="Which"))
        for row, picks in rows.items()
        if row in asked
    ]
    if len(others := partners(run)) > 1:
        named = {"" if i == 0 else name: partner(name)[1] for i, name in enumerate(others)}
        shown_rows.append(
            html.Span(
                [html.Span("from"), _pick("partner", "Counterfactual sequence", {"": named})],
                className="choices",
                hidden=True,
                **data(partners="patch"),
            )
        )
    return html.Div(
        [
            html.Select(options, **data(pick="what"), **aria(label="Add an intervention", describedby="edit-note")),
            *shown_rows,
            html.Button("", **data(do="add")),
            html.P(id="edit-note", className="note"),
        ],
        id="edits",
        role="group",
        **aria(label="Add an intervention"),
    )


def _end(name: str) -> str:
    """A component at an end of a path, in words."""
    head, dot, part = name.partition(".")
    if head == "mlp":
        return f"L{part} MLP"
    return f"{head} {READ[part]}" if dot else {"embed": "embedding", "out": "output"}.get(name, name)


def _named(names: Iterable[str]) -> dict[str, str]:
    return {name: f"position {name}" if name.isdecimal() else name.replace("_", " ") for name in names}


def _pick(name: str, label: str, groups: Mapping[str, Mapping[str, str]], chosen: str = "") -> Component:
    """A select. groups: their names ('': none) -> value -> text; those that are empty are left out."""
    listed: list[Component] = []
    for title, options in groups.items():
        entries = [html.Option(text, value=value, selected=value == chosen) for value, text in options.items()]
        listed += entries if not title else [html.Optgroup(entries, label=title)] * bool(entries)
    return html.Select(listed, **data(pick=name), **aria(label=label))
