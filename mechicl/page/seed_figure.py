"""Curves over seeds as one plotly figure: every run, the median with its band, and what is laid over them."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mechicl.evaluators import EVALUATORS
from mechicl.figures.style import COLOURS, finish, heights
from mechicl.measures.seeds import bands
from mechicl.page.runs import Run
from mechicl.page.seed_over import Curve, Over, recorded, with_curve
from mechicl.page.seeds import Condition
from mechicl.page.state import Axis, Unit
from mechicl.page.texts import plain, signed
from mechicl.page.timelines import CURSOR, Times, add_band, ticks, time_axis, times_range
from mechicl.registry import quantity

OVER = "#7a7a7a"  # what is laid over: no evaluator's hue


def seed_figure(
    condition: Condition, chosen: Run, evaluator: str, over: Over | None, axis: Axis = "log", unit: Unit = "sequences"
) -> go.Figure:
    """The recorded curves of a condition's runs: the chosen one thick, the others thin, the median with the range of
    all; dashed and grey, what is laid over them. Below, on the same times, its difference with the interval.

    Traces that are a run's have its name as `meta`.
    """
    runs = with_curve(condition.runs, evaluator)
    below = over is not None
    fig = make_subplots(
        rows=2 if below else 1,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.06,
        row_heights=[0.64, 0.36] if below else [1.0],
    )
    scaled = Times(chosen, axis, unit)
    colour = COLOURS[evaluator]
    if len(runs) > 1:
        _band(fig, runs, evaluator, scaled, colour, f"median of {len(runs)}, lowest to highest")
    for run in runs:
        mine = run.series.name == chosen.series.name
        name = condition.name(run)
        fig.add_scatter(
            **_line(recorded(run, evaluator), scaled, name),
            line={"color": colour, "width": 3 if mine else 1},
            opacity=1 if mine else 0.45,
            showlegend=mine,
            row=1,
            col=1,
        )
    if over is not None:
        _no_difference(fig, scaled(recorded(chosen, evaluator).x))
        _laid(fig, over.name, over.curves, "dash", scaled)
        if over.control is not None:
            _laid(fig, over.control.name, over.control.curves, "dot", scaled)
            _difference(fig, over.control.difference, scaled, "dot", over.control.name)
        _difference(fig, over.difference, scaled, "solid", over.name)
    finish(fig, "", "", 560 if below else 380)
    times = time_axis(axis, unit, *times_range(list(condition.runs), axis, unit))
    fig.update_xaxes(title_text=times.pop("title_text"), row=2 if below else 1, col=1)
    fig.update_xaxes(**times)
    ends_at = heights(chosen.series.config, fig)
    fig.update_yaxes(
        title_text=f"{EVALUATORS[evaluator].short}: {quantity(chosen.series.config)}",
        range=ends_at,
        **ticks(ends_at),
        row=1,
        col=1,
    )
    if below:
        floor, ceiling = ends_at
        tables = [over.difference] + ([over.control.difference] if over.control else [])
        ends = _ends(tables, ceiling - floor)
        fig.update_yaxes(title_text="difference", range=ends, row=2, col=1)
    return fig.update_layout(
        hovermode="closest",
        legend={"orientation": "h", "y": -0.14 if below else -0.2, "yanchor": "top", "x": 0},
        margin={"l": 56, "r": 24, "t": 20, "b": 84},
    )


def _line(curve: Curve, scaled: Times, name: str) -> dict[str, Any]:
    says = html.escape(f"{name}: {curve.run}" if curve.run else name)
    return {
        "x": scaled(curve.x),
        "y": curve.y,
        "text": [f"{says}: {plain(v)}" for v in curve.y],
        "hovertemplate": "%{text}<extra></extra>",
        "mode": "lines",
        "name": html.escape(name),
        "meta": curve.run,
    }


def _band(fig: go.Figure, runs: list[Run], evaluator: str, scaled: Times, colour: str, name: str) -> None:
    table = bands([run.series for run in runs], [evaluator])
    add_band(fig, scaled(table.sequences), table.low.tolist(), table.high.tolist(), colour + "26", row=1, col=1)
    median = Curve("", table.sequences.tolist(), table["median"].tolist())
    fig.add_scatter(**_line(median, scaled, name), line={"color": CURSOR, "width": 2}, row=1, col=1)


def _laid(fig: go.Figure, name: str, curves: list[Curve], dash: str, scaled: Times) -> None:
    """Curves that are laid over, and the median of several."""
    several = len(curves) > 1
    for i, curve in enumerate(curves):
        fig.add_scatter(
            **_line(curve, scaled, name),
            line={"color": OVER, "width": 1 if several else 2, "dash": dash},
            opacity=0.6 if several else 1,
            legendgroup=name,
            showlegend=i == 0,
            row=1,
            col=1,
        )
    if several:
        _median(fig, curves, scaled, f"median, {name}", dash)


def _median(fig: go.Figure, curves: list[Curve], scaled: Times, name: str, dash: str) -> None:
    """At the times that all of them have."""
    table = pd.concat([pd.Series(c.y, index=c.x, dtype=float) for c in curves if c.x], axis=1).dropna().sort_index()
    middle = Curve("", table.index.tolist(), np.median(table.to_numpy(), axis=1).tolist() if len(table) else [])
    fig.add_scatter(**_line(middle, scaled, name), line={"color": OVER, "width": 2.5, "dash": dash}, row=1, col=1)


def _no_difference(fig: go.Figure, x: list[float | None]) -> None:
    """The line of no difference: also there before any difference is, since plotly draws wrongly where a part of a
    figure that had no trace gets its first one."""
    ends = [at for at in x if at is not None]
    line = {"color": "#999", "width": 1}
    fig.add_scatter(
        x=[ends[0], ends[-1]],
        y=[0, 0],
        mode="lines",
        line=line,
        showlegend=False,
        hoverinfo="skip",
        row=2,
        col=1,
    )


def _difference(fig: go.Figure, table: pd.DataFrame, scaled: Times, dash: str, name: str) -> None:
    x = scaled(table.x)
    if table.low.notna().any():
        add_band(fig, x, table.low.tolist(), table.high.tolist(), OVER + "40", row=2, col=1)
    words = [signed(v) + interval(low, high) for v, low, high in zip(table.value, table.low, table.high, strict=True)]
    fig.add_scatter(
        x=x,
        y=table.value.tolist(),
        text=[f"{html.escape(name)}: {each}" for each in words],
        hovertemplate="%{text}<extra></extra>",
        mode="lines",
        line={"color": CURSOR if dash == "solid" else OVER, "width": 2, "dash": dash},
        showlegend=False,
        name=f"difference, {html.escape(name)}",
        meta="difference",
        row=2,
        col=1,
    )


def _ends(tables: list[pd.DataFrame], span: float) -> list[float] | None:
    """From where to where differences go: an interval over two seeds can be wider than any score can change."""
    found = pd.concat(tables)[["value", "low", "high"]].to_numpy(dtype=float)
    found = np.clip(found[np.isfinite(found)], -span, span)
    if not len(found):
        return None
    room = 0.06 * max(float(np.ptp(found)), 0.1)
    return [min(float(found.min()), 0.0) - room, max(float(found.max()), 0.0) + room]


def interval(low: float, high: float) -> str:
    """' [−.4, −.1]', or '' where there is none."""
    return "" if np.isnan(low) else f" [{signed(low)}, {signed(high)}]"
