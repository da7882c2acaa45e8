"""The grid of heads: a row per layer, its name, its heads and its MLP. One stop of the Tab key; arrows go on inside."""

from __future__ import annotations

from typing import Any

from dash import html
from dash.development.base_component import Component

from mechicl.config import ModelConfig

ACROSS = 12  # heads: with more, rows wrap, and what stands above the first row is not above the second


def head_grid(model: ModelConfig) -> Component:
    """Buttons for every layer and head, in rows that wrap where there is no room for all heads."""
    mlps = [layer for layer in range(model.n_layers) if model.has_mlp(layer)]
    names = [html.Span(f"head {h}", className="across") for h in range(model.n_heads)]
    names += [html.Span("MLP", className="across")] * bool(mlps)
    hidden: dict[str, Any] = {"aria-hidden": "true"}  # each button says its own
    rows = [html.Div([html.Span(), html.Div(names, className="heads")], className="names", **hidden)]
    if model.n_heads > ACROSS:
        rows = []
    for layer in range(model.n_layers):
        heads = [_head(layer, h) for h in range(model.n_heads)]
        heads += [_mlp(layer)] * (layer in mlps)
        rows.append(html.Div([_layer(layer), html.Div(heads, className="heads")], className="row"))
    what = "Heads and MLPs" if mlps else "Heads"
    label: dict[str, Any] = {"aria-label": f"{what}: arrows move, Enter ablates the one in focus"}
    across = model.n_heads + bool(mlps)
    return html.Div(rows, id="grid", role="toolbar", style={"--heads": str(across)}, **label)


def _layer(layer: int) -> Component:
    which: dict[str, Any] = {"data-layer": str(layer)}
    says = f"Ablate every head of layer {layer}; if all are ablated, put them back"
    return html.Button(f"layer {layer}", className="layer", title=says, tabIndex=-1, **which)


def _head(layer: int, head: int) -> Component:
    name = f"L{layer}H{head}"
    which: dict[str, Any] = {
        "data-head": f"{layer}.{head}",
        "data-testid": f"head-{layer}-{head}",
        "aria-pressed": "false",
        "aria-label": f"{name}, intact",
    }
    return html.Button(_shown(name), className="head", tabIndex=0 if (layer, head) == (0, 0) else -1, **which)


def _mlp(layer: int) -> Component:
    name = f"L{layer} MLP"
    which: dict[str, Any] = {
        "data-mlp": str(layer),
        "data-testid": f"mlp-{layer}",
        "aria-pressed": "false",
        "aria-label": f"{name}, intact",
    }
    return html.Button(_shown(name), className="head mlp", tabIndex=-1, **which)


def _shown(name: str) -> list[Component]:
    return [html.Small(name), html.Span("–", className="score"), html.Small(className="beside")]
