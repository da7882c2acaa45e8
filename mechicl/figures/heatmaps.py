"""Heads by time: one row per head, one column per checkpoint."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mechicl.figures.style import DIVERGING, SEQUENTIAL, finish, short


def heads_by_time(
    table: pd.DataFrame, title: str, subtitle: str = "", value: str = "value",
    limits: tuple[float, float] = (-1.0, 1.0), colorbar: str = "", baseline: tuple[str, float] | None = None,
) -> go.Figure:  # fmt: skip
    """A head-by-time heatmap.

    Args:
        table: one row per step and head: columns sequences, layer, head and `value`.
        limits: fixed colour range, so that pictures of different runs compare; symmetric
            ranges get a diverging scale.
        baseline: (name, value) of what a head that does nothing scores: said in the subtitle and
            marked on the colour bar.
    """
    wide = table.pivot_table(index=["layer", "head"], columns="sequences", values=value)
    names = [f"L{layer}H{head}" for layer, head in wide.index]
    times = [short(float(x)) for x in wide.columns.to_numpy()]
    diverging = limits[0] == -limits[1]
    hover = f"%{{y}} at %{{x}} sequences: %{{z:.3f}}<extra>{colorbar}</extra>"
    fig = go.Figure(
        go.Heatmap(z=wide.to_numpy(dtype=float), x=np.arange(len(times)), y=names, zmin=limits[0], zmax=limits[1],
                   colorscale=DIVERGING if diverging else SEQUENTIAL, customdata=np.tile(times, (len(names), 1)),
                   colorbar={"title": {"text": colorbar, "side": "right"}, "thickness": 14},
                   hovertemplate=hover.replace("%{x}", "%{customdata}"))
    )  # fmt: skip
    if baseline is not None:
        what, level = baseline
        subtitle = f"{subtitle}; {what}: {level:.2f}".removeprefix("; ")
        ticks = [x for x in np.linspace(*limits, 5) if abs(x - level) > 0.06 * (limits[1] - limits[0])]
        fig.update_traces(colorbar={"tickvals": [*ticks, level],
                                    "ticktext": [*(f"{x:g}" for x in ticks), f"{level:.2f} {what}"]})  # fmt: skip
    finish(fig, title, subtitle, 120 + 22 * len(names))
    shown = np.unique(np.linspace(0, len(times) - 1, 9).round().astype(int))
    fig.update_xaxes(title_text="training sequences seen (one column per checkpoint)",
                     tickvals=shown, ticktext=[times[i] for i in shown], showgrid=False)  # fmt: skip
    fig.update_yaxes(autorange="reversed", showgrid=False, type="category", dtick=1)
    return fig
