"""Pictures of the grafts: halves and parts of one checkpoint in another."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import plotly.graph_objects as go

from analyses.circuits.grafts import parts
from analyses.circuits.heads import SHOWN
from analyses.circuits.panels import BLACK, line, panels, timed
from mechicl.figures.style import COLOURS, NAMES
from mechicl.series import Series

_ROWS = 3  # of panels, one for each part


def halves(table: pd.DataFrame, peak: str) -> go.Figure:
    fig = panels([NAMES[e] for e in SHOWN])
    lines = (
        ("intact", "each step, intact", BLACK, "solid"),
        ("second half from the end", "first half of each step, second half of the end", "#0072B2", "dash"),
        ("first half from the end", "first half of the end, second half of each step", "#56B4E9", "dot"),
        ("first half from the peak", f"first half of the peak ({peak}), second half of each step", "#D55E00", "dash"),
        ("second half from the peak", "first half of each step, second half of the peak", "#E69F00", "dot"),
    )
    for col, evaluator in enumerate(SHOWN, 1):
        for condition, name, colour, dash in lines:
            rows = table[(table.evaluator == evaluator) & (table.condition == condition)]
            line(fig, rows, name, colour, (1, col), dash=dash, show=col == 1)
    fig.update_yaxes(range=[0, 1.01])
    return timed(
        fig,
        "Halves of different checkpoints put together",
        "first half: embeddings and all layers but the last; second half: last layer, final LayerNorm, "
        f"unembedding; n = {int(table.n.max()):,}",
        460,
        "accuracy",
        -0.2,
    )


def back(series: Series, table: pd.DataFrame, peak: str) -> go.Figure:
    fig = _of_parts(series)
    for part, at, first in _places(series):
        for evaluator in ("icl", "flip"):
            for kind, source, dash in (("back", "the peak", "solid"), ("control", "before ICL", "dot")):
                rows = table[(table.condition == f"{kind} {part}") & (table.evaluator == evaluator)]
                name = f"{NAMES[evaluator]}, part from {source}"
                line(fig, rows, name, COLOURS[evaluator], at, dash=dash, show=first, value="effect")
    fig.update_yaxes(range=[-0.6, 0.9], zeroline=True, zerolinecolor="#999")
    return timed(
        fig,
        f"Parts of ICL's peak ({peak}) in each other checkpoint",
        "grafted minus intact accuracy; ICL is back only where both lines rise, above the dotted control",
        760,
        "change",
        -0.1,
    )


def late(series: Series, table: pd.DataFrame, peak: str) -> go.Figure:
    fig = _of_parts(series)
    for part, at, first in _places(series):
        for evaluator in SHOWN[:3]:
            rows = table[(table.condition == f"late {part}") & (table.evaluator == evaluator)]
            line(fig, rows, NAMES[evaluator], COLOURS[evaluator], at, show=first)
            rows = table[(table.condition == "intact") & (table.evaluator == evaluator)]
            name = f"{NAMES[evaluator]}, the checkpoint itself"
            line(fig, rows, name, COLOURS[evaluator], at, dash="dot", show=first)
    fig.update_yaxes(range=[0, 1.01])
    return timed(
        fig,
        f"Parts of each checkpoint in the model of ICL's peak ({peak})",
        "accuracy; parts that are enough to end ICL bring the solid lines down to the dotted ones",
        760,
        "accuracy",
        -0.1,
    )


def _of_parts(series: Series) -> go.Figure:
    return panels(list(parts(series.config.model)), rows=_ROWS)


def _places(series: Series) -> Iterator[tuple[str, tuple[int, int], bool]]:
    """Each part, its panel, and whether it is the first, which the legend is made of."""
    names = list(parts(series.config.model))
    across = -(-len(names) // _ROWS)
    for i, part in enumerate(names):
        yield part, (i // across + 1, i % across + 1), i == 0
