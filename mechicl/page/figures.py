"""Numbers to plotly figures: what the page draws with plotly, and what every panel exports.

On the page the head grid and the patterns are buttons and SVG, drawn by assets/; the figures
here are the same numbers, to take along. Text from a run is escaped: plotly reads some HTML.
"""

from __future__ import annotations

import html
from math import isfinite
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mechicl.figures.scales import colorscale
from mechicl.figures.style import COLOURS, NAMES, SYMBOLS, finish
from mechicl.page.heads import Grid
from mechicl.page.inside import Attention, Logits
from mechicl.page.state import Head
from mechicl.page.texts import end, plain, signed
from mechicl.page.timelines import ticks
from mechicl.page.view import Effect
from mechicl.registry import EVALUATORS, ceiling


def _ends(low: float, high: float) -> dict[str, Any]:
    """A colour bar's ticks: its ends and its middle."""
    marks = [low, (low + high) / 2, high]
    return {"tickvals": marks, "ticktext": [end(x) for x in marks]}


def effects_figure(effects: list[Effect], title: str, subtitle: str) -> go.Figure:
    """Every evaluator at one checkpoint: ablated below intact, with intervals, and what guessing scores."""
    fig = go.Figure()
    rows = range(len(effects))
    apart = 0.17 if any(e.ablated for e in effects) else 0.0  # of a row: two values may be the same
    for label, filled, shift, values in (
        ("intact", "", -apart, [e.intact for e in effects]),
        ("ablated", "-open", apart, [e.ablated for e in effects]),
    ):
        kept = [(row + shift, v, e.evaluator) for row, v, e in zip(rows, values, effects, strict=True) if v]
        if kept:
            fig.add_scatter(
                x=[v.value for _, v, _ in kept],
                y=[place for place, _, _ in kept],
                name=label,
                mode="markers",
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [v.high - v.value for _, v, _ in kept],
                    "arrayminus": [v.value - v.low for _, v, _ in kept],
                    "color": "#888",
                },
                marker={
                    "size": 11,
                    "symbol": [SYMBOLS[e] + filled for _, _, e in kept],
                    "color": [COLOURS[e] for _, _, e in kept],
                },
            )
    fig.add_scatter(
        x=[x for e in effects for x in (e.chance, e.chance, None)],
        y=[y for row in rows for y in (row - 0.4, row + 0.4, None)],
        name="guessing",
        mode="lines",
        line={"color": "#888", "width": 1.5, "dash": "dot"},
        hoverinfo="skip",
    )
    finish(fig, html.escape(title), html.escape(subtitle), 340)
    ends = [x for e in effects for v in (e.intact, e.ablated) if v for x in (v.low, v.value, v.high)]
    ends = [x for x in (*ends, *(e.chance for e in effects)) if isfinite(x)]
    across = [min([0.0, *ends]) - 0.02, max(1.02, ceiling(max([0.0, *ends])))]
    measured = " or ".join(dict.fromkeys(EVALUATORS[e.evaluator].quantity for e in effects))
    fig.update_xaxes(range=across, title_text=f"{measured}, with 95% intervals", **ticks(across))
    names = [f"{NAMES[e.evaluator]}, n = {e.intact.n:,}" for e in effects]
    return fig.update_yaxes(tickvals=[*rows], ticktext=names, range=[len(effects) - 0.5, -0.5], showgrid=False)


def heads_figure(grid: Grid, layers: int, heads: int, subtitle: str) -> go.Figure:
    """Layers x heads, coloured by a measure in its range."""
    measure = grid.measure
    across = heads + bool(grid.mlps)
    z = np.full((layers, across), np.nan)
    write = signed if measure.signed else plain
    text = [["" for _ in range(across)] for _ in range(layers)]
    for (layer, head), number in grid.values.items():
        z[layer, head], text[layer][head] = number.value, write(number.value, 2)
    for layer, number in grid.mlps.items():
        z[layer, heads], text[layer][heads] = number.value, write(number.value, 2)
    marks = [grid.low, grid.middle, grid.high]
    words = [plain(x, 2) for x in marks]
    if grid.uniform is not None:
        words[1] += " uniform"
    fig = go.Figure(
        go.Heatmap(
            z=z,
            x=[*(f"head {h}" for h in range(heads)), *["MLP"] * bool(grid.mlps)],
            y=[f"layer {la}" for la in range(layers)],
            zmin=grid.low,
            zmax=grid.high,
            colorscale=colorscale(measure.colours, middle=(grid.middle - grid.low) / (grid.high - grid.low)),
            text=text,
            texttemplate="%{text}",
            hovertemplate="%{y}, %{x}: %{text}<extra></extra>",
            xgap=3,
            ygap=3,
            colorbar={"thickness": 14, "tickvals": marks, "ticktext": words},
        )
    )
    finish(fig, html.escape(f"{measure.name} ({measure.unit})"), html.escape(subtitle), 160 + 60 * layers)
    fig.update_xaxes(showgrid=False)
    return fig.update_yaxes(autorange="reversed", showgrid=False)


def attention_figure(
    found: Attention,
    subtitle: str,
    head: Head | None = None,
    sides: tuple[str, str] = ("intact", "ablated"),
    note: str = "",
) -> go.Figure:
    """Patterns of all heads or one: intact, and where heads are ablated, ablated and the difference. Those that
    the ablation cannot change are drawn once.

    Args:
        sides: the names of two others that `found` holds in their place.
        note: a line more under the subtitle, of the page's own.
    """
    stacks = [(sides[0], found.intact)]
    if found.ablated is not None:
        stacks += [(sides[1], found.ablated), (f"{sides[1]} − {sides[0]}", found.ablated - found.intact)]
    layers, heads, t = found.intact.shape[:3]
    cells = [head] if head else [(la, h) for la in range(layers) for h in range(heads)]
    across = 1 if head else heads
    down = len(cells) // across
    again = [{}] + [found.same] * (len(stacks) - 1)  # the intact patterns are drawn of every head
    titles = [
        f"L{la}H{h} {name if (la, h) not in same else 'as intact'}"
        for (name, _), same in zip(stacks, again, strict=True)
        for la, h in cells
    ]
    rows = down * len(stacks)
    fig = make_subplots(
        rows=rows,
        cols=across,
        subplot_titles=titles,
        horizontal_spacing=0.012,
        vertical_spacing=0.3 / (rows + 2),
        shared_xaxes=True,
        shared_yaxes=True,
    )
    future = np.triu(np.ones((t, t), dtype=bool), 1)
    ticks = [html.escape(token.name) for token in found.tokens]
    for block, (name, values) in enumerate(stacks):
        for i, (la, h) in enumerate(cells):
            if (la, h) in again[block]:
                fig.update_xaxes(visible=False, row=block * down + i // across + 1, col=i % across + 1)
                fig.update_yaxes(visible=False, row=block * down + i // across + 1, col=i % across + 1)
                continue
            z = np.where(future, np.nan, values[la, h]).round(4)
            fig.add_heatmap(
                z=z,
                x=ticks,
                y=ticks,
                coloraxis="coloraxis2" if "−" in name else "coloraxis",
                text=[["" if np.isnan(v) else plain(v) for v in row] for row in z],
                hovertemplate="%{y} → %{x}: %{text}<extra></extra>",
                row=block * down + i // across + 1,
                col=i % across + 1,
            )
    finish(fig, "Attention: rows attend to columns", html.escape(subtitle) + note, 150 + 150 * down * len(stacks))
    bar = {"thickness": 12, "len": 0.45}
    fig.update_layout(
        coloraxis={
            "cmin": 0,
            "cmax": 1,
            "colorscale": colorscale("attention"),
            "colorbar": bar | _ends(0, 1) | {"y": 0.78, "title": "attention"},
        },
        coloraxis2={
            "cmin": -1,
            "cmax": 1,
            "colorscale": colorscale("change"),
            "showscale": len(stacks) > 1,
            "colorbar": bar | _ends(-1, 1) | {"y": 0.26, "title": "difference"},
        },
        margin={"t": 96, "l": 70},
    )
    fig.update_annotations(font={"size": 11})
    fig.update_xaxes(showgrid=False, ticks="", tickfont={"size": 9})
    return fig.update_yaxes(showgrid=False, ticks="", tickfont={"size": 9}, autorange="reversed")


def logits_figure(found: Logits) -> go.Figure:
    """Parts x labels: what each adds to each label's logit; beside it, the same ablated. The page draws it in
    the dark with the other form of the scale that `meta` names."""
    limit = found.limit
    panels = [("intact", found.intact)] + ([("ablated", found.ablated)] if found.ablated is not None else [])
    names = [
        html.escape(label) + "".join(f"<br><b>{html.escape(mark)}</b>" for mark in marks)
        for label, marks in zip(found.labels, found.marks, strict=True)
    ]
    fig = make_subplots(
        cols=len(panels), subplot_titles=[name for name, _ in panels], shared_yaxes=True, horizontal_spacing=0.04
    )
    for col, (_, values) in enumerate(panels, 1):
        fig.add_heatmap(
            z=values,
            x=names,
            y=found.parts,
            text=[[signed(v, 2) for v in row] for row in values],
            texttemplate="%{text}",
            textfont={"size": 11},
            coloraxis="coloraxis",
            hovertemplate="%{y} adds %{text} to %{x}<extra></extra>",
            xgap=2,
            ygap=2,
            row=1,
            col=col,
        )
    under = 20 + 14 * (1 + max(map(len, found.marks), default=0))  # px: a label and its marks below one another
    finish(fig, "", "", 66 + under + 22 * len(found.parts))
    fig.update_layout(
        coloraxis={
            "cmin": -limit,
            "cmax": limit,
            "colorscale": colorscale("logit"),
            "colorbar": {"thickness": 12, "title": {"text": "logits", "side": "top"}} | _ends(-limit, limit),
        },
        meta={"scale": "logit"},
        margin={"t": 40, "b": under, "l": 70},
    )
    fig.update_xaxes(showgrid=False, tickangle=0, tickfont={"size": 10}, ticks="")
    return fig.update_yaxes(showgrid=False, ticks="", autorange="reversed", type="category", dtick=1)
