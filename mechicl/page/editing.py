"""The control for all that is done to the model besides taking heads and MLPs out: edges, positions, patches, grafts.

Every row chooses one thing, and its buttons add it to the view (assets/edits.js). What is done stands above the rows,
and a press puts it back. The choices are the task's own: its roles, its relations, its layers.
"""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from mechicl.interventions.heads import HELD
from mechicl.page.controls import aria, data
from mechicl.page.runs import Run

PARTNERS = {
    "labels": "the same sequence with the answer's label and another one exchanged",
    "next": "the next sequence of the evaluation set",
}


def editing(run: Run) -> Component:
    """The rows, folded away until somebody asks for them."""
    batch, model = run.sets[run.leading], run.series.config.model
    places = list(batch[:1].roles()) or [str(i) for i in range(batch.shape[-1])]
    second = places[min(1, len(places) - 1)]  # an edge from a position to itself is a rare wish
    layers = [str(layer) for layer in range(model.n_layers)]
    mlps = [layer for layer in range(model.n_layers) if model.has_mlp(layer)]
    heads = [f"L{la}H{h}" for la in range(model.n_layers) for h in range(model.n_heads)]
    components = {name: name for name in heads} | {f"mlp.{la}": f"L{la} MLP" for la in mlps}
    partner = PARTNERS.get(batch.counterfactuals[0], batch.counterfactuals[0])
    rows = [
        _row(
            "Edge",
            [
                _pick("from", "Edge from", _named(places), _named(batch[:1].relations())),
                html.Span("→", className="arrow"),
                _pick("to", "Edge to", _named(places), chosen=second),
                _pick("edge-layer", "Layer of the edge", {"": "all layers"} | {la: f"layer {la}" for la in layers}),
            ],
            {"cut-edge": "Cut", "patch-edge": "Patch"},
        ),
        _row(
            "Position",
            [
                _pick("place", "Position", _named(places), chosen=second),
                _pick("place-layer", "Layer before which", {la: f"before layer {la}" for la in layers}),
            ],
            {"replace-position": "Replace", "patch-position": "Patch"},
        ),
        _row("Component", [_pick("component", "Head or MLP", components)], {"patch-component": "Patch"}),
        _row(
            "Weights",
            [
                _pick("parts", "Part of the weights", _named(_parts(run, layers, mlps))),
                html.Span("from step"),
                html.Span(id="graft-place"),
            ],
            {"graft": "Graft"},
        ),
        _row("Held", [_pick("hold", "Held in later layers", HELD)], {"hold": "Hold"}),
    ]
    if varied := run.series.task.variations(run.series.config):
        answers = {name: f"directions of {name}" for name in varied}
        rows.append(_row("Directions", [_pick("directions", "Directions", answers)], {"remove-directions": "Remove"}))
    says = (
        "Cut: these heads do not look along the edge. Replace: what the layer reads there becomes the baseline of the "
        f"kind above. Patch: the value becomes that on the counterfactual sequence, here {partner}. Graft: these "
        "weights become another step's. Hold: layers after the first ablated head keep theirs as in the intact model."
    )
    return html.Details(
        [html.Summary("Edges, positions, patches and grafts"), *rows, html.P(says, className="note")], id="edits"
    )


def _parts(run: Run, layers: list[str], mlps: list[int]) -> list[str]:
    """Parts of the weights that the model has, by the names that a graft takes."""
    names = ["embeddings", "unembedding", "all"]
    for layer in layers:
        names += [f"qk.{layer}", f"ov.{layer}", f"attention.{layer}"]
        names += [f"mlp.{layer}"] * (int(layer) in mlps) + [f"layer.{layer}"]
    return names


def _named(names) -> dict[str, str]:
    return {name: f"position {name}" if name.isdecimal() else name.replace("_", " ") for name in names}


def _row(title: str, choices: list, buttons: dict[str, str]) -> Component:
    actions = [
        html.Button(text, **data(do=name), **aria(label=f"{text} {title.lower()}")) for name, text in buttons.items()
    ]
    return html.Div(
        [html.Span(title, className="what"), html.Span([*choices, *actions], className="controls")],
        className="edit",
        role="group",
        **aria(label=title),
    )


def _pick(
    name: str, label: str, options: dict[str, str], more: dict[str, str] | None = None, chosen: str = ""
) -> Component:
    """A select; `more` are options of another kind, in a group of their own."""
    listed: list = [html.Option(text, value=value, selected=value == chosen) for value, text in options.items()]
    if more:
        relations = [html.Option(text, value=value) for value, text in more.items()]
        listed = [html.Optgroup(listed, label="from"), html.Optgroup(relations, label="whole edges")]
    return html.Select(listed, **data(pick=name), **aria(label=label))
