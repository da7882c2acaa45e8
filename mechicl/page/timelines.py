"""Curves over training to plotly figures: of one run, and of two over one another."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

import numpy as np
import plotly.graph_objects as go

from mechicl.figures.style import COLOURS, NAMES, SYMBOLS, curve, finish, heights, name_ends, short
from mechicl.figures.ticks import log_ticks
from mechicl.interventions import Intervention
from mechicl.measures.phases import leading_phases
from mechicl.page.compare import Side
from mechicl.page.runs import Run
from mechicl.page.state import Axis, Unit
from mechicl.page.texts import end, plain
from mechicl.page.view import Chunk, shown
from mechicl.registry import quantity

DOTTED = 120  # checkpoints: with more, a dot for each would be slow to draw and say nothing
_TICKS: Any = {"tickvals": [i / 5 for i in range(6)], "ticktext": [end(i / 5) for i in range(6)]}  # of accuracies
CURSOR = "#444"  # no hue: those are the evaluators'


def ticks(ends_at: list[float]) -> dict[str, Any]:
    """The marks of an axis of primary metrics, by its ends: every .2 of accuracies; plotly's own where an axis goes on
    beyond 0 and 1, as of nats."""
    low, high = ends_at
    return _TICKS if low > -0.2 and high < 1.2 else {}


def timeline(
    run: Run,
    axis: Axis = "log",
    unit: Unit = "sequences",
    step: int | None = None,
    ablation: Intervention | None = None,
    points: Chunk | None = None,
    height: int = 360,
) -> go.Figure:
    """Every shown evaluator over training with its 95% interval, ICL's phase times, a cursor at
    `step`; dashed with open markers, the curves under an ablation as far as they are computed: not joined over
    checkpoints that are missing.

    Traces, which the page relies on: for each evaluator in `shown(run)`, in order, a band's two
    edges and a line; then for each, in the same order, the dashed line. Shape 0 is the cursor.
    """
    fig = go.Figure()
    size = run.series.config.batch_size
    ends = {}
    for name in shown(run):
        rows = run.curve(name)
        x = (rows.step if unit == "steps" else rows.sequences).to_numpy()
        band = rows.ci_low.to_numpy(), rows.ci_high.to_numpy()
        add_band(fig, x, *band, COLOURS[name] + "26", legendgroup=name)
        fig.add_scatter(
            x=x, y=rows.value.to_numpy(), name=NAMES[name], legendgroup=name, **curve(name), **_says(rows.value)
        )
        if len(x) and (x[-1] or axis != "log"):
            ends[name] = float(x[-1]), float(rows.value.iloc[-1])
    done = [p for p in sorted(points.points) if p[0] or axis != "log"] if points else []
    part = points is not None and points.next < points.total  # one checkpoint alone is seen by its marker only
    mode = "lines+markers" if part or len(run.steps) <= DOTTED else "lines"
    for name in shown(run):
        values = {p[0]: p[2][name] for p in done if name in p[2]}  # sequences that have not what is changed have none
        its = [step for step in run.steps if values and min(values) <= step <= max(values)]
        fig.add_scatter(
            x=[step if unit == "steps" else run.series.sequences_seen(step) for step in its],
            y=[values.get(step) for step in its],
            name=f"{NAMES[name]}, ablated",
            uid=f"ablated-{name}",  # a part of its element's class: the page hides it by that
            legendgroup=name,
            showlegend=False,
            mode=mode,
            connectgaps=False,
            text=[plain(values[step]) if step in values else "" for step in its],
            hovertemplate="%{text}",
            line={"color": COLOURS[name], "width": 1.6, "dash": "dash"},
            marker={"size": 5, "symbol": f"{SYMBOLS[name]}-open", "color": COLOURS[name]},
        )
    finish(fig, "", "", height)
    low, high = times_range([run], axis, unit)
    at = None if step is None else (step if unit == "steps" else run.series.sequences_seen(step))
    fig.add_shape(
        type="line",
        x0=at or 1,
        x1=at or 1,
        y0=0,
        y1=1,
        yref="paper",
        visible=at is not None,
        line={"color": CURSOR, "width": 2},
    )
    led = leading_phases(run.phases)
    icl = None if led is None else led.phases
    # Onset before, half-decay behind and the peak above: phases that lie close stay readable.
    sides = {"onset": ("right", 1.0), "half-decay": ("left", 1.0)}
    scaled = np.log10 if axis == "log" else float
    if icl is not None and icl.half_decay:  # its words need a fifth of the width
        high = max(high, low + 1.27 * (scaled(icl.half_decay / (size if unit == "steps" else 1)) - low))
    for label, when in led.moments() if led else ():
        place = when / size if unit == "steps" else when
        anchor, y = sides.get(label, ("center", 1.065))
        fig.add_shape(
            type="line",
            x0=place,
            x1=place,
            y0=0,
            y1=y,
            yref="paper",
            line={"color": "#999", "width": 1, "dash": "dash"},
        )
        fig.add_annotation(
            x=scaled(place),
            y=y,
            yref="paper",
            yanchor="bottom",
            yshift=6,
            xanchor=anchor,
            text=f"{led.short if led else ''} {label} {short(place)}",
            showarrow=False,
            font={"size": 11, "color": "#666"},
        )
    fig.update_xaxes(**time_axis(axis, unit, low, high))
    n = "" if not run.metrics.size else f", n = {int(run.metrics.n.iloc[0]):,}"
    ends_at = heights(run.series.config, fig)
    fig.update_yaxes(title_text=quantity(run.series.config) + n, range=ends_at, **ticks(ends_at))
    legend = {"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0}
    fig.update_layout(
        hovermode="x unified", legend=legend, uirevision="keep", margin={"l": 56, "r": 46, "t": 44, "b": 62}
    )
    name_ends(fig, ends, axis == "log")
    if ablation is not None:
        fig.update_layout(meta={"ablation": str(ablation)})
    return fig


def add_band(fig: go.Figure, x: Any, low: Any, high: Any, colour: str, **where: Any) -> None:
    """What is filled between two lines that are not seen. where: more of both traces, as their row."""
    quiet = {"mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip", **where}
    fig.add_scatter(x=x, y=low, **quiet)
    fig.add_scatter(x=x, y=high, fill="tonexty", fillcolor=colour, **quiet)


class Times:
    """Training sequences to places on the time axis of a run; step 0 is nowhere on a log axis."""

    def __init__(self, run: Run, axis: Axis, unit: Unit):
        self._size, self._log = run.series.config.batch_size if unit == "steps" else 1, axis == "log"

    def __call__(self, sequences: Iterable[float]) -> list[float | None]:
        return [x / self._size if x or not self._log else None for x in sequences]


def times_range(runs: list[Run], axis: Axis, unit: Unit) -> tuple[float, float]:
    """From where to where the time axis goes, in the axis' own numbers (log10 on a log axis): all
    checkpoints, all that was recorded (a run may keep fewer weights) and a little room, the same
    whatever is drawn, so that a curve that comes moves nothing."""
    times = [s if unit == "steps" else r.series.sequences_seen(s) for r in runs for s in r.steps]
    times += [int(t) for r in runs if r.metrics.size for t in r.metrics["step" if unit == "steps" else unit].unique()]
    first = min((t for t in times if t), default=1) if axis == "log" else 0
    low, high = (np.log10(first), np.log10(max(*times, first + 1))) if axis == "log" else (first, max(*times, 1))
    room = 0.015 * (high - low)
    return float(low - room), float(high + room)


def time_axis(axis: Axis, unit: Unit, low: float, high: float) -> dict[str, Any]:
    """The time axis for plotly, from what `times_range` gives."""
    what = "optimiser steps" if unit == "steps" else "training sequences seen"
    found = {"type": axis, "range": [low, high], "exponentformat": "SI", "title_standoff": 4}
    if axis == "log":
        return found | log_ticks(10**low, 10**high) | {"title_text": what + " (log scale)"}
    return found | {"title_text": what}


def _says(values: Iterable[float]) -> dict[str, Any]:
    """What a curve says under the pointer."""
    return {"text": [plain(v) for v in values], "hovertemplate": "%{text}"}


def two_timelines(a: Side, b: Side, unit: Unit, axis: Axis) -> go.Figure:
    """The recorded curves of two runs over one another, A solid and B dashed; of one run, once. Two cursors, and
    under an ablation, open markers: what the two checkpoints do under it."""
    fig = go.Figure()
    sides = [("A", a, "solid"), ("B", b, "dash")]
    runs = sides if a.run.series.root != b.run.series.root else sides[:1]
    names = dict.fromkeys(name for _, side, _ in runs for name in shown(side.run))
    ends: dict[str, tuple[float, float]] = {}
    for label, side, dash in runs:
        for name in [n for n in names if n in side.run.sets]:
            rows = side.run.curve(name)
            x = (rows.step if unit == "steps" else rows.sequences).to_numpy()
            style = curve(name)
            style["line"] = style["line"] | {"dash": dash}
            first = name not in ends and (label == "A" or name not in a.run.sets)
            fig.add_scatter(
                x=x,
                y=rows.value.to_numpy(),
                name=NAMES[name],
                legendgroup=name,
                showlegend=first,
                **style,
                **_says(rows.value),
            )
            if label == "A" and len(x) and (x[-1] or axis != "log"):
                ends[name] = float(x[-1]), float(rows.value.iloc[-1])
    if len(runs) == 2:
        for label, side, dash in runs:
            fig.add_scatter(
                x=[None],
                y=[None],
                mode="lines",
                line={"color": CURSOR, "dash": dash, "width": 2},
                name=html.escape(f"{label}: {side.run.series.name}"),
            )
    steps = [side.step if unit == "steps" else side.run.series.sequences_seen(side.step) for side in (a, b)]
    outwards = ("right", "left") if steps[0] <= steps[1] else ("left", "right")  # letters of close cursors stay apart
    for (label, side, dash), anchor in zip(sides, outwards, strict=True):
        place = side.step if unit == "steps" else side.run.series.sequences_seen(side.step)
        if not place and axis == "log":
            continue  # step 0 is nowhere on it
        fig.add_shape(type="line", x0=place, x1=place, y0=0, y1=1.01, line={"color": CURSOR, "width": 2, "dash": dash})
        fig.add_annotation(
            x=float(np.log10(place)) if axis == "log" else place,
            y=1.01,
            yanchor="bottom",
            xanchor=anchor,
            text=label,
            showarrow=False,
            font={"size": 12, "color": CURSOR},
        )
        if side.ablation is not None:
            held = [n for n in names if n in side.numbers]
            fig.add_scatter(
                x=[place] * len(held),
                y=[side.numbers[n].value for n in held],
                mode="markers",
                showlegend=False,
                name=html.escape(f"{label}, {side.ablation}"),
                **_says(side.numbers[n].value for n in held),
                marker={
                    "size": 10,
                    "symbol": [f"{SYMBOLS[n]}-open" for n in held],
                    "line": {"width": 2},
                    "color": [COLOURS[n] for n in held],
                },
            )
    finish(fig, "", "", 380)
    fig.update_xaxes(**time_axis(axis, unit, *times_range([a.run, b.run], axis, unit)))
    sizes = dict.fromkeys(f"{int(s.run.metrics.n.iloc[0]):,}" for s in (a, b) if s.run.metrics.size)
    n = f", n = {' and '.join(sizes)}" if sizes else ""
    lows, highs = zip(*(heights(s.run.series.config, fig) for s in (a, b)), strict=True)
    ends_at = [min(lows), highs[0]]
    fig.update_yaxes(range=ends_at, title_text=quantity(a.run.series.config) + n, **ticks(ends_at))
    name_ends(fig, ends, axis == "log")
    return fig.update_layout(
        hovermode="closest",
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
        margin={"l": 56, "r": 46, "t": 34, "b": 84},
    )
