"""A measure over training as a plotly figure: a curve for each chosen head or path, chance dotted, seeds as bands."""

from __future__ import annotations

import html

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mechicl.figures.style import finish
from mechicl.page.runs import Run
from mechicl.page.state import Axis, Unit
from mechicl.page.texts import plain
from mechicl.page.timelines import Times, add_band, time_axis, times_range
from mechicl.page.tracked import MOST, Track
from mechicl.registry import EVALUATORS

# Okabe and Ito's colours, which people with any colour vision tell apart; no evaluator is meant by them here.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7a5195", "#8c8c8c")
DASHES = ("solid", "dash", "dot", "dashdot")
LONGEST = 30  # characters that fit beside a metric's name
BANDED = 3  # curves with intervals: of more, they would hide one another


def track_figure(
    found: Track, run: Run, axis: Axis = "log", unit: Unit = "sequences", joined: bool = True
) -> go.Figure:
    """Traces of a curve have its item as `meta`; those of other seeds' bands have none.

    Args:
        joined: False draws points alone: between them checkpoints are missing.
    """
    fig = go.Figure()
    times = Times(run, axis, unit)
    own = times([run.series.sequences_seen(int(step)) for step in found.value.index])
    shown = found.shown[:MOST] if len(found.value) else []
    for i, item in enumerate(shown):
        colour = COLOURS[i % len(COLOURS)]
        if (band := seed_band(found, run, item)) is not None and len(band):
            x = times(band.index)
            add_band(fig, x, band.low.tolist(), band.high.tolist(), colour + "30")
            fig.add_scatter(
                x=x,
                y=band["median"].tolist(),
                mode="lines",
                line={"color": colour, "width": 1, "dash": "dot"},
                name=f"{html.escape(item)}, median of {len(found.seeds) + 1} seeds",
                hoverinfo="skip",
            )
        elif joined and len(shown) <= BANDED and item in found.low and found.low[item].notna().any():
            add_band(fig, own, found.low[item].tolist(), found.high[item].tolist(), colour + "26")
        y = found.value[item]
        fig.add_scatter(
            x=own,
            y=y.tolist(),
            name=html.escape(item),
            meta=item,
            mode=("lines+markers" if len(y) < 60 else "lines") if joined else "markers",
            marker={"size": 4 if joined else 6, "color": colour},
            line={"color": colour, "width": 2, "dash": DASHES[i // 2 % len(DASHES)]},
            text=[f"{html.escape(item)}: {plain(v)}" for v in y],
            hovertemplate="%{text}<extra></extra>",
        )
    level = found.chance[[name for name in shown if name in found.chance]].median(axis=1) if shown else pd.Series()
    if level.notna().any():
        line = {"color": "#888", "width": 1.5, "dash": "dot"}
        fig.add_scatter(
            x=own, y=level.tolist(), mode="lines", line=line, name="chance", meta="chance", hoverinfo="skip"
        )
    finish(fig, "", "", 380)
    fig.update_xaxes(**time_axis(axis, unit, *times_range([run], axis, unit)))
    fig.update_yaxes(title_text=html.escape(_quantity(found, run)), zeroline=True, zerolinecolor="#999")
    return fig.update_layout(
        hovermode="closest",
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
        margin={"l": 64, "r": 24, "t": 20, "b": 84},
    )


def _quantity(found: Track, run: Run) -> str:
    """What the values are, as at an axis: 'previous token (share of attention)', 'change of accuracy'."""
    primary = {EVALUATORS[name].primary_metric: EVALUATORS[name].quantity for name in run.sets}
    metric = primary.get(found.metric, found.metric.replace("_", " "))
    if found.change:
        return f"change of {metric}"
    return f"{metric} ({found.value_is})" if len(found.value_is) <= LONGEST else metric


def seed_band(found: Track, run: Run, item: str) -> pd.DataFrame | None:
    """Lowest, median and highest over the run and the others, at the times that all have; None without others."""
    if not found.seeds or any(item not in table for table in found.seeds.values()):
        return None
    mine = found.value[item].copy()
    mine.index = pd.Index([run.series.sequences_seen(int(step)) for step in mine.index])
    every = pd.concat([mine, *(table[item] for table in found.seeds.values())], axis=1).dropna().sort_index()
    numbers = every.to_numpy(dtype=float)
    if not len(numbers):
        return pd.DataFrame(columns=["low", "median", "high"])
    rows = {"low": numbers.min(1), "median": np.median(numbers, axis=1), "high": numbers.max(1)}
    return pd.DataFrame(rows, index=every.index)
