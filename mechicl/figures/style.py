"""One look for every figure: colours, names, axes. Applied per figure, never globally."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from mechicl.registry import EVALUATORS, Said, ceiling, floor

if TYPE_CHECKING:
    from mechicl.config import Config

MARKED = 9  # markers per curve at most
# Evaluators' colours, symbols and names (registry.py). Curves differ in more than hue: a marker now and then, and
# their name where they end. A dash says what is done to the model or which run it is, never which evaluator.
COLOURS = Said(lambda evaluator: evaluator.colour)
SYMBOLS = Said(lambda evaluator: evaluator.symbol)
NAMES = Said(lambda evaluator: evaluator.label)
FONT = "Inter, 'Segoe UI', Helvetica, Arial, sans-serif"


def finish(fig: go.Figure, title: str, subtitle: str = "", height: int = 420) -> go.Figure:
    """Title, font, margins and a plain white ground."""
    text = f"<b>{title}</b>" + (f"<br><span style='font-size:12px;color:#555'>{subtitle}</span>" if subtitle else "")
    fig.update_layout(
        title={"text": text, "x": 0, "xref": "paper", "y": 1, "yref": "container", "yanchor": "top", "pad": {"t": 26}},
        font={"family": FONT, "size": 13, "color": "#222"},
        paper_bgcolor="white",
        plot_bgcolor="white",
        height=height,
        margin={"l": 64, "r": 24, "t": 76 if subtitle else 56, "b": 56},
        hoverlabel={"font": {"family": FONT}},
    )
    fig.update_xaxes(showgrid=True, gridcolor="#eee", zeroline=False, linecolor="#999", ticks="outside")
    fig.update_yaxes(showgrid=True, gridcolor="#eee", zeroline=False, linecolor="#999", ticks="outside")
    return fig


def curve(name: str) -> dict[str, Any]:
    """How an evaluator's curve is drawn: its colour, and its marker at some of the points."""
    return {
        "mode": "lines+markers",
        "line": {"color": COLOURS[name], "width": 2},
        "marker": {"symbol": SYMBOLS[name], "size": 7, "maxdisplayed": MARKED, "color": COLOURS[name]},
    }


def name_ends(fig: go.Figure, ends: Mapping[str, tuple[float, float]], log: bool, gap: float = 0.062) -> go.Figure:
    """Write evaluators' names beside the last points of their curves, moved apart where they would overlap, and up from
    the time axis, whose line would strike them through.

    Args:
        fig: its y axis has a range, or goes from 0 to 1.
        ends: evaluator -> (x, y) of the last point, in the axes' units.
        gap: the least distance of two names, as a share of the y axis.
    """
    layout: Any = fig.layout
    low, ceiling = layout.yaxis.range or (0.0, 1.0)
    gap *= ceiling - low
    placed: dict[str, float] = {}
    for name in sorted(ends, key=lambda name: ends[name][1]):
        placed[name] = max(ends[name][1], low + gap / 2, max(placed.values(), default=-math.inf) + gap)
    for name in reversed(placed):  # what was pushed over the top comes down again
        placed[name] = min(placed[name], ceiling)
        ceiling = placed[name] - gap
    for name, y in placed.items():
        x = ends[name][0]
        fig.add_annotation(
            x=math.log10(x) if log else x,
            y=y,
            text=EVALUATORS[name].short,
            showarrow=False,
            xanchor="left",
            xshift=6,
            font={"size": 11, "color": COLOURS[name]},
        )
    return fig


def heights(config: Config, fig: go.Figure, whole: bool = False) -> list[float]:
    """From where to where the first axis of a figure of primary metrics goes: as `registry.floor` and `ceiling` say.

    Args:
        whole: no further curves will come, as they do on the page: the axis goes no lower than those that are drawn.
    """
    traces: Any = fig.data
    each = [y for trace in traces if trace.yaxis in (None, "y") and trace.y is not None for y in trace.y]
    drawn = [0.0, *(float(y) for y in each if y is not None and math.isfinite(y))]
    low = max(floor(config), 1.05 * min(drawn)) if whole else floor(config)
    return [low, ceiling(max(drawn))]


def sequences_axis(fig: go.Figure, log: bool = True) -> go.Figure:
    """The time axis: training sequences seen."""
    fig.update_xaxes(
        title_text="training sequences seen" + (" (log scale)" if log else ""),
        type="log" if log else "linear",
        dtick=1 if log else None,
        exponentformat="SI",
    )
    return fig


def short(sequences: float) -> str:
    """12345678 -> '12.3M'."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if sequences >= 0.9995 * size:  # what rounds to 1000k is 1M
            return f"{sequences / size:.3g}{unit}"
    return f"{sequences:.0f}"
