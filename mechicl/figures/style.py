"""One look for every figure: colours, names, axes. Applied per figure, never globally."""

from __future__ import annotations

import plotly.graph_objects as go

# Okabe & Ito's palette: distinct for colour-blind readers, on paper and on a projector.
COLOURS = {
    "icl": "#0072B2",
    "flip": "#E69F00",
    "ciwl": "#009E73",
    "iwl": "#CC79A7",
    "train": "#7F7F7F",
    "icl_holdout": "#56B4E9",
}
NAMES = {
    "icl": "ICL",
    "flip": "Flip",
    "ciwl": "CIWL",
    "iwl": "IWL (full vocabulary)",
    "train": "Train",
    "icl_holdout": "ICL, held-out classes",
}
DASHES = {"train": "dot", "icl_holdout": "dash"}
DIVERGING = "RdBu_r"  # red up, blue down; always with a range symmetric about 0
SEQUENTIAL = "Blues"
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
