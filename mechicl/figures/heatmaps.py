"""Heads by time: one row per head, one column per checkpoint."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mechicl.figures.scales import Meaning, colorscale, fitted
from mechicl.figures.style import finish, short


def heads_by_time(
    table: pd.DataFrame,
    title: str,
    subtitle: str = "",
    value: str = "value",
    limits: tuple[float, float] | None = (-1.0, 1.0),
    colorbar: str = "",
    baseline: tuple[str, float] | None = None,
    meaning: Meaning | None = None,
) -> go.Figure:
    """A head-by-time heatmap.

    Args:
        table: one row per step and head: columns sequences, layer, head and `value`.
        limits: colour range. It is fixed for shares of attention, so that pictures of different runs can be compared.
            None: fitted to the data, symmetric about 0.
        baseline: (name, value) of the score of a head that does nothing. The subtitle names it, the colour bar marks
            it, and this value has no colour.
        meaning: whose colours (`scales.SCALES`); default attention, or its change where the range is
            symmetric about 0 or has a baseline.
    """
    wide = table.pivot_table(index=["layer", "head"], columns="sequences", values=value)
    names = [f"L{layer}H{head}" for layer, head in wide.index]
    times = [short(float(x)) for x in wide.columns.to_numpy()]
    if limits is None:
        limit = fitted(table[value].astype(float), 0.01)
        limits = -limit, limit
    low, high = limits
    meaning = meaning or ("change" if low == -high or baseline is not None else "attention")
    neutral = 0.5 if baseline is None else (baseline[1] - low) / (high - low)
    hover = f"%{{y}} at %{{x}} sequences: %{{z:.3f}}<extra>{colorbar}</extra>"
    fig = go.Figure(
        go.Heatmap(
            z=wide.to_numpy(dtype=float),
            x=np.arange(len(times)),
            y=names,
            zmin=low,
            zmax=high,
            colorscale=colorscale(meaning, middle=neutral),
            customdata=np.tile(times, (len(names), 1)),
            colorbar={"title": {"text": colorbar, "side": "right"}, "thickness": 14},
            hovertemplate=hover.replace("%{x}", "%{customdata}"),
        )
    )
    if baseline is not None:
        what, level = baseline
        subtitle = f"{subtitle}; {what}: {level:.2f}".removeprefix("; ")
        ticks = [x for x in np.linspace(*limits, 5) if abs(x - level) > 0.06 * (limits[1] - limits[0])]
        fig.update_traces(
            colorbar={"tickvals": [*ticks, level], "ticktext": [*(f"{x:g}" for x in ticks), f"{level:.2f} {what}"]}
        )
    finish(fig, title, subtitle, 120 + 22 * len(names))
    shown = np.unique(np.linspace(0, len(times) - 1, 9).round().astype(int))
    fig.update_xaxes(
        title_text="training sequences seen (one column per checkpoint)",
        tickvals=shown,
        ticktext=[times[i] for i in shown],
        showgrid=False,
    )
    fig.update_yaxes(autorange="reversed", showgrid=False, type="category", dtick=1)
    return fig
