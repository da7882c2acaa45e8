"""Panels, lines and bands of the circuits' pictures: values over training, on an axis of sequences."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.colors import hex_to_rgb
from plotly.subplots import make_subplots

from mechicl.figures.style import finish

BLACK, GREY = "#222222", "#999999"


def panels(titles: Sequence[str], rows: int = 1) -> go.Figure:
    across = -(-len(titles) // rows)
    return make_subplots(
        rows=rows,
        cols=across,
        shared_yaxes=True,
        shared_xaxes=rows > 1,
        subplot_titles=list(titles),
        horizontal_spacing=0.02,
        vertical_spacing=0.1,
    )


def line(
    fig: go.Figure,
    table: pd.DataFrame,
    name: str,
    colour: str,
    at: tuple[int, int],
    *,
    dash: str = "solid",
    show: bool = True,
    value: str = "value",
) -> None:
    rows = table[table.sequences > 0].sort_values("sequences")
    fig.add_trace(
        go.Scatter(
            x=rows.sequences,
            y=rows[value],
            name=name,
            legendgroup=name,
            showlegend=show,
            mode="lines",
            line={"color": colour, "dash": dash, "width": 2},
            hovertemplate="%{y:.3f}",
        ),
        row=at[0],
        col=at[1],
    )


def band(
    fig: go.Figure,
    x: pd.Index,
    low: pd.Series,
    high: pd.Series,
    name: str,
    at: tuple[int, int],
    show: bool,
    colour: str = GREY,
) -> None:
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "legendgroup": name}
    fig.add_trace(go.Scatter(x=x, y=low, showlegend=False, **edge), row=at[0], col=at[1])
    fig.add_trace(
        go.Scatter(
            x=x,
            y=high,
            name=name,
            showlegend=show,
            fill="tonexty",
            fillcolor=f"rgba{(*hex_to_rgb(colour), 0.25)}",
            **edge,
        ),
        row=at[0],
        col=at[1],
    )


def timed(fig: go.Figure, title: str, subtitle: str, height: int, label: str, bottom: float = -0.24) -> go.Figure:
    finish(fig, title, subtitle, height)
    fig.update_layout(legend={"orientation": "h", "y": bottom}, margin={"t": 104}, hovermode="x unified")
    fig.update_xaxes(type="log", dtick=1, exponentformat="SI")
    rows = len(fig._get_subplot_rows_columns()[0])
    fig.update_xaxes(title_text="sequences", row=rows)
    return fig.update_yaxes(title_text=label, col=1)
