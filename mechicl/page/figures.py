"""Numbers to plotly figures: what the page draws with plotly, and what every panel exports.

On the page the head grid and the patterns are buttons and SVG, drawn by assets/; the figures
here are the same numbers, to take along. Text from a run is escaped: plotly reads some HTML.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mechicl.figures.scales import colorscale
from mechicl.figures.style import COLOURS, NAMES, SYMBOLS, curve, finish, name_ends, short
from mechicl.figures.ticks import log_ticks
from mechicl.interventions import AblateHeads
from mechicl.measures.phases import leading_phases
from mechicl.page.compare import Side
from mechicl.page.heads import Grid
from mechicl.page.inside import Attention, Logits
from mechicl.page.runs import Run
from mechicl.page.state import Axis, Head, Unit
from mechicl.page.texts import end, plain, signed
from mechicl.page.view import Chunk, Effect, shown
from mechicl.registry import EVALUATORS, floor, quantity

DOTTED = 120  # checkpoints: with more, a dot for each would be slow to draw and say nothing
TICKS: Any = {"tickvals": [i / 5 for i in range(6)], "ticktext": [end(i / 5) for i in range(6)]}  # of accuracies
CURSOR = "#444"  # no hue: those are the evaluators'


def timeline(
    run: Run, axis: Axis = "log", unit: Unit = "sequences", step: int | None = None,
    ablation: AblateHeads | None = None, points: Chunk | None = None, height: int = 360,
) -> go.Figure:  # fmt: skip
    """Every shown evaluator over training with its 95% interval, ICL's phase times, a cursor at
    `step`; dashed with open markers, the curves under an ablation as far as they are computed.

    Traces, which the page relies on: for each evaluator in `shown(run)`, in order, a band's two
    edges and a line; then for each, in the same order, the dashed line. Shape 0 is the cursor.
    """
    fig = go.Figure()
    size = run.series.config.batch_size
    ends = {}
    for name in shown(run):
        rows = run.curve(name)
        x = (rows.step if unit == "steps" else rows.sequences).to_numpy()
        colour, edge = COLOURS[name], {"width": 0}
        quiet = {"mode": "lines", "line": edge, "showlegend": False, "hoverinfo": "skip", "legendgroup": name}
        fig.add_scatter(x=x, y=rows.ci_low.to_numpy(), **quiet)
        fig.add_scatter(x=x, y=rows.ci_high.to_numpy(), fill="tonexty", fillcolor=colour + "26", **quiet)
        fig.add_scatter(x=x, y=rows.value.to_numpy(), name=NAMES[name], legendgroup=name, **curve(name),
                        **_says(rows.value))  # fmt: skip
        if len(x) and (x[-1] or axis != "log"):
            ends[name] = float(x[-1]), float(rows.value.iloc[-1])
    done = [p for p in sorted(points.points) if p[0] or axis != "log"] if points else []
    mode = "lines+markers" if len(run.steps) <= DOTTED else "lines"
    for name in shown(run):
        fig.add_scatter(
            x=[step if unit == "steps" else sequences for step, sequences, _ in done],
            y=[values[name] for _, _, values in done], name=f"{NAMES[name]}, ablated", legendgroup=name,
            showlegend=False, mode=mode, **_says(values[name] for _, _, values in done),
            line={"color": COLOURS[name], "width": 1.6, "dash": "dash"},
            marker={"size": 5, "symbol": f"{SYMBOLS[name]}-open", "color": COLOURS[name]},
        )  # fmt: skip
    finish(fig, "", "", height)
    low, high = times_range([run], axis, unit)
    at = None if step is None else (step if unit == "steps" else run.series.sequences_seen(step))
    fig.add_shape(type="line", x0=at or 1, x1=at or 1, y0=0, y1=1, yref="paper", visible=at is not None,
                  line={"color": CURSOR, "width": 2})  # fmt: skip
    led, icl = leading_phases(run.phases) or ("", None)
    named = [] if icl is None else [("onset", icl.onset), ("peak", icl.peak), ("half-decay", icl.half_decay)]
    # Onset before, half-decay behind and the peak above: phases that lie close stay readable.
    sides = {"onset": ("right", 1.0), "peak": ("center", 1.065), "half-decay": ("left", 1.0)}
    scaled = np.log10 if axis == "log" else float
    if icl is not None and icl.half_decay:  # its words need a fifth of the width
        high = max(high, low + 1.27 * (scaled(icl.half_decay / (size if unit == "steps" else 1)) - low))
    for label, when in named:
        if when:
            place = when / size if unit == "steps" else when
            anchor, y = sides[label]
            fig.add_shape(type="line", x0=place, x1=place, y0=0, y1=y, yref="paper",
                          line={"color": "#999", "width": 1, "dash": "dash"})  # fmt: skip
            fig.add_annotation(
                x=scaled(place), y=y, yref="paper", yanchor="bottom", yshift=6, xanchor=anchor,
                text=f"{led} {label} {short(place)}", showarrow=False, font={"size": 11, "color": "#666"},
            )  # fmt: skip
    what = "optimiser steps" if unit == "steps" else "training sequences seen"
    fig.update_xaxes(title_text=what + (" (log scale)" if axis == "log" else ""), type=axis, title_standoff=4,
                     range=[low, high], exponentformat="SI", **_ticks(axis, low, high))  # fmt: skip
    n = "" if not run.metrics.size else f", n = {int(run.metrics.n.iloc[0]):,}"
    fig.update_yaxes(title_text=quantity(run.series.config) + n, range=[floor(run.series.config), 1.01], **TICKS)
    legend = {"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0}
    fig.update_layout(hovermode="x unified", legend=legend, uirevision="keep",
                      margin={"l": 56, "r": 46, "t": 44, "b": 62})  # fmt: skip
    name_ends(fig, ends, axis == "log")
    if ablation is not None:
        fig.update_layout(meta={"ablation": str(ablation)})
    return fig


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


def _ticks(axis: Axis, low: float, high: float) -> dict[str, Any]:
    """The time axis' ticks, from what `times_range` gives."""
    return log_ticks(10**low, 10**high) if axis == "log" else {}


def _ends(low: float, high: float) -> dict[str, Any]:
    """A colour bar's ticks: its ends and its middle."""
    ticks = [low, (low + high) / 2, high]
    return {"tickvals": ticks, "ticktext": [end(x) for x in ticks]}


def _says(values: Iterable[float]) -> dict[str, Any]:
    """What a curve says under the pointer."""
    return {"text": [plain(v) for v in values], "hovertemplate": "%{text}"}


def effects_figure(effects: list[Effect], title: str, subtitle: str) -> go.Figure:
    """Every evaluator at one checkpoint: intact beside ablated, with intervals."""
    fig = go.Figure()
    names = [f"{NAMES[e.evaluator]}, n = {e.intact.n:,}" for e in effects]
    for label, filled, values in (
        ("intact", "", [e.intact for e in effects]),
        ("ablated", "-open", [e.ablated for e in effects]),
    ):
        kept = [(name, v, e.evaluator) for name, v, e in zip(names, values, effects, strict=True) if v]
        if kept:
            fig.add_scatter(
                x=[v.value for _, v, _ in kept], y=[name for name, _, _ in kept], name=label, mode="markers",
                error_x={"type": "data", "symmetric": False, "array": [v.high - v.value for _, v, _ in kept],
                         "arrayminus": [v.value - v.low for _, v, _ in kept], "color": "#888"},
                marker={"size": 11, "symbol": [SYMBOLS[e] + filled for _, _, e in kept],
                        "color": [COLOURS[e] for _, _, e in kept]},
            )  # fmt: skip
    finish(fig, html.escape(title), html.escape(subtitle), 340)
    low = min([0.0, *(v.value for e in effects for v in (e.intact, e.ablated) if v)])
    measured = " or ".join(dict.fromkeys(EVALUATORS[e.evaluator].quantity for e in effects))
    fig.update_xaxes(range=[low - 0.02, 1.02], title_text=measured, **TICKS)
    fig.update_yaxes(autorange="reversed")
    return fig


def heads_figure(grid: Grid, layers: int, heads: int, subtitle: str) -> go.Figure:
    """Layers x heads, coloured by a measure in its range."""
    measure = grid.measure
    z = np.full((layers, heads), np.nan)
    write = signed if measure.signed else plain
    text = [["" for _ in range(heads)] for _ in range(layers)]
    for (layer, head), number in grid.values.items():
        z[layer, head], text[layer][head] = number.value, write(number.value, 2)
    ticks = [grid.low, grid.middle, grid.high]
    words = [plain(x, 2) for x in ticks]
    if grid.uniform is not None:
        words[1] += " uniform"
    fig = go.Figure(go.Heatmap(
        z=z, x=[f"head {h}" for h in range(heads)], y=[f"layer {la}" for la in range(layers)],
        zmin=grid.low, zmax=grid.high,
        colorscale=colorscale(measure.colours, middle=(grid.middle - grid.low) / (grid.high - grid.low)),
        text=text, texttemplate="%{text}", hovertemplate="%{y}, %{x}: %{text}<extra></extra>", xgap=3, ygap=3,
        colorbar={"thickness": 14, "tickvals": ticks, "ticktext": words},
    ))  # fmt: skip
    finish(fig, html.escape(f"{measure.name} ({measure.unit})"), html.escape(subtitle), 160 + 60 * layers)
    fig.update_xaxes(showgrid=False)
    return fig.update_yaxes(autorange="reversed", showgrid=False)


def attention_figure(
    found: Attention, subtitle: str, head: Head | None = None, sides: tuple[str, str] = ("intact", "ablated"),
    note: str = "",
) -> go.Figure:  # fmt: skip
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
    titles = [f"L{la}H{h} {name if (la, h) not in same else 'as intact'}"
              for (name, _), same in zip(stacks, again, strict=True) for la, h in cells]  # fmt: skip
    rows = down * len(stacks)
    fig = make_subplots(rows=rows, cols=across, subplot_titles=titles, horizontal_spacing=0.012,
                        vertical_spacing=0.3 / (rows + 2), shared_xaxes=True, shared_yaxes=True)  # fmt: skip
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
                z=z, x=ticks, y=ticks, coloraxis="coloraxis2" if "−" in name else "coloraxis",
                text=[["" if np.isnan(v) else plain(v) for v in row] for row in z],
                hovertemplate="%{y} → %{x}: %{text}<extra></extra>", row=block * down + i // across + 1,
                col=i % across + 1,
            )  # fmt: skip
    finish(fig, "Attention: rows attend to columns", html.escape(subtitle) + note, 150 + 150 * down * len(stacks))
    bar = {"thickness": 12, "len": 0.45}
    fig.update_layout(
        coloraxis={"cmin": 0, "cmax": 1, "colorscale": colorscale("attention"),
                   "colorbar": bar | _ends(0, 1) | {"y": 0.78, "title": "attention"}},
        coloraxis2={"cmin": -1, "cmax": 1, "colorscale": colorscale("change"), "showscale": len(stacks) > 1,
                    "colorbar": bar | _ends(-1, 1) | {"y": 0.26, "title": "difference"}},
        margin={"t": 96, "l": 70},
    )  # fmt: skip
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
    fig = make_subplots(cols=len(panels), subplot_titles=[name for name, _ in panels], shared_yaxes=True,
                        horizontal_spacing=0.04)  # fmt: skip
    for col, (_, values) in enumerate(panels, 1):
        fig.add_heatmap(
            z=values, x=names, y=found.parts, text=[[signed(v, 2) for v in row] for row in values],
            texttemplate="%{text}", textfont={"size": 11}, coloraxis="coloraxis",
            hovertemplate="%{y} adds %{text} to %{x}<extra></extra>", xgap=2, ygap=2, row=1, col=col,
        )  # fmt: skip
    under = 20 + 14 * (1 + max(map(len, found.marks), default=0))  # px: a label and its marks below one another
    finish(fig, "", "", 66 + under + 22 * len(found.parts))
    fig.update_layout(
        coloraxis={"cmin": -limit, "cmax": limit, "colorscale": colorscale("logit"),
                   "colorbar": {"thickness": 12, "title": {"text": "logits", "side": "top"}} | _ends(-limit, limit)},
        meta={"scale": "logit"},
        margin={"t": 40, "b": under, "l": 70},
    )  # fmt: skip
    fig.update_xaxes(showgrid=False, tickangle=0, tickfont={"size": 10}, ticks="")
    return fig.update_yaxes(showgrid=False, ticks="", autorange="reversed", type="category", dtick=1)


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
            fig.add_scatter(x=x, y=rows.value.to_numpy(), name=NAMES[name], legendgroup=name, showlegend=first,
                            **style, **_says(rows.value))  # fmt: skip
            if label == "A" and len(x) and (x[-1] or axis != "log"):
                ends[name] = float(x[-1]), float(rows.value.iloc[-1])
    if len(runs) == 2:
        for label, side, dash in runs:
            fig.add_scatter(x=[None], y=[None], mode="lines", line={"color": CURSOR, "dash": dash, "width": 2},
                            name=html.escape(f"{label}: {side.run.series.name}"))  # fmt: skip
    for label, side, dash in sides:
        place = side.step if unit == "steps" else side.run.series.sequences_seen(side.step)
        if not place and axis == "log":
            continue  # step 0 is nowhere on it
        fig.add_shape(type="line", x0=place, x1=place, y0=0, y1=1.01,
                      line={"color": CURSOR, "width": 2, "dash": dash})  # fmt: skip
        fig.add_annotation(x=float(np.log10(place)) if axis == "log" else place, y=1.01, yanchor="bottom", text=label,
                           showarrow=False, font={"size": 12, "color": CURSOR})  # fmt: skip
        if side.ablation is not None:
            held = [n for n in names if n in side.numbers]
            fig.add_scatter(
                x=[place] * len(held), y=[side.numbers[n].value for n in held], mode="markers", showlegend=False,
                name=f"{label}, {side.ablation}", **_says(side.numbers[n].value for n in held),
                marker={"size": 10, "symbol": [f"{SYMBOLS[n]}-open" for n in held], "line": {"width": 2},
                        "color": [COLOURS[n] for n in held]},
            )  # fmt: skip
    finish(fig, "", "", 380)
    what = "optimiser steps" if unit == "steps" else "training sequences seen"
    low, high = times_range([a.run, b.run], axis, unit)
    fig.update_xaxes(type=axis, exponentformat="SI", range=[low, high], **_ticks(axis, low, high), title_standoff=4,
                     title_text=what + (" (log scale)" if axis == "log" else ""))  # fmt: skip
    sizes = dict.fromkeys(f"{int(s.run.metrics.n.iloc[0]):,}" for s in (a, b) if s.run.metrics.size)
    n = f", n = {' and '.join(sizes)}" if sizes else ""
    low = min(floor(s.run.series.config) for s in (a, b))
    fig.update_yaxes(range=[low, 1.01], title_text=quantity(a.run.series.config) + n, **TICKS)
    name_ends(fig, ends, axis == "log")
    return fig.update_layout(hovermode="closest", legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
                             margin={"l": 56, "r": 46, "t": 34, "b": 84})  # fmt: skip
