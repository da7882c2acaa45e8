"""How a run shows itself in a notebook or a terminal: one line, or a card with small curves.

It reads only what was recorded and imports nothing heavy. So it also works for a run in progress, a run without
weights, a run whose folder is gone, and a run with incomplete metrics.
"""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING

from mechicl.errors import SeriesError
from mechicl.protocol.known import task_of
from mechicl.registry import EVALUATORS

if TYPE_CHECKING:
    from mechicl.config import Config, ModelConfig
    from mechicl.series import Series

_WIDTH, _HEIGHT = 160, 26


def summary(config: Config) -> str:
    """The model and the data of a run, in a few words."""
    m = config.model
    mlps = sum(m.has_mlp(layer) for layer in range(m.n_layers))
    kinds = [f"{m.n_layers} layers x {m.n_heads} heads, d_model {m.d_model}"]
    kinds += [f"{mlps} with an MLP"] if mlps else []
    return ", ".join(kinds) + f"; {task_of(config).summary(m)}"


def body(model: ModelConfig) -> str:
    """What is beside attention in a model's layers, in words: 'MLP ratio 4' or 'attention only'."""
    if not model.mlp_ratio:
        return "attention only"
    # Of a model from elsewhere the width may be no multiple.
    wide = model.hooked.get("d_mlp") or model.mlp_ratio * model.d_model
    return f"MLP ratio {wide / model.d_model:.3g}"


def progress(series: Series) -> str:
    """How far the run has come."""
    steps = series.steps
    if not steps:
        return "no checkpoints yet"
    several = f"{len(steps):,} checkpoints" if len(steps) > 1 else "1 checkpoint"
    state = "complete" if series.complete else f"of {series.config.steps:,}, not finished"
    return f"{several}, steps {steps[0]:,} to {steps[-1]:,}, {state}"


def line(series: Series) -> str:
    """The run in one line."""
    return f"Series({series.name!r}: {progress(series)}; {summary(series.config)}; {str(series.root)!r})"


def curves(series: Series) -> dict[str, list[tuple[float, float, int]]]:
    """Evaluator -> its primary metric as recorded: (sequences, value, n), ascending. Values that are not finite are
    left out."""
    out: dict[str, list[tuple[float, float, int]]] = {}
    for entry in series.recorded():
        for row in entry.get("evaluators", ()):
            name = row.get("evaluator") if isinstance(row, dict) else None
            if not isinstance(name, str) or row.get("metric") != _headline(name):
                continue
            value, n = row.get("value"), row.get("n")
            if isinstance(value, (int, float)) and math.isfinite(value) and isinstance(n, int):
                out.setdefault(name, []).append((float(entry.get("sequences", 0)), float(value), n))
    return out


def _headline(evaluator: str) -> str:
    """Its primary metric; for an evaluator that this installation does not know, the most common one."""
    known = EVALUATORS.get(evaluator)
    return "in_context_acc" if known is None else known.primary_metric


def card(series: Series) -> str:
    """HTML: the run's name, how far it is, and each evaluator's curve with its last value. No script, no link."""
    try:
        found, trouble = curves(series), ""
    except (SeriesError, OSError, AttributeError, TypeError) as error:
        found, trouble = {}, f"its metrics cannot be read: {error}"
    rows = "".join(
        f"<tr><td>{_text(name)}</td><td>{_sparkline(points)}</td>"
        f"<td style='text-align:right;font-variant-numeric:tabular-nums'>{points[-1][1]:.3f}</td>"
        f"<td style='text-align:right'>{_text(points[-1][2])}</td></tr>"
        for name, points in found.items()
    )
    head = "<tr><th>evaluator</th><th>over training</th><th>last</th><th>n</th></tr>"
    note = "The primary metric over sequences seen (log), from 0 to 1; the dashed line is 0.5."
    if not all(map(_of_one, found.values())):
        note += " A curve without one is drawn from its lowest to its highest value."
    table = f"<table style='border-collapse:collapse;margin:.4em 0'>{head}{rows}</table><div>{note}</div>"
    nothing = f"<div>{_text(trouble or 'nothing was evaluated yet')}</div>"
    return (
        "<div style='display:inline-block;padding:.6em .9em;border:1px solid #8886;border-radius:6px;line-height:1.4'>"
        f"<b>{_text(series.name)}</b> &nbsp;{_text(progress(series))}"
        f"<div>{_text(summary(series.config))}</div>"
        f"{table if rows else nothing}"
        f"<code>{_text(series.root)}</code></div>"
    )


def _sparkline(points: list[tuple[float, float, int]]) -> str:
    """A small curve, in the colour of the text around it."""
    end = math.log1p(points[-1][0]) or 1.0
    found = [value for _, value, _ in points]
    low, high = (0.0, 1.0) if _of_one(points) else (min(found), max(found))
    places = [(_WIDTH * math.log1p(x) / end, _place((v - low) / (high - low or 1.0))) for x, v, _ in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    half, (last_x, last_y) = _place(0.5), places[-1]
    line = (
        f"<line x1='0' x2='{_WIDTH}' y1='{half:.1f}' y2='{half:.1f}' stroke='currentColor' stroke-opacity='.35' "
        "stroke-dasharray='2 3'/>"
    )
    return (
        f"<svg width='{_WIDTH + 6}' height='{_HEIGHT}' viewBox='-2 0 {_WIDTH + 6} {_HEIGHT}' role='img' "
        f"aria-label='from {points[0][1]:.3f} to {points[-1][1]:.3f}'>"
        f"{line if _of_one(points) else ''}"
        f"<polyline points='{path}' fill='none' stroke='currentColor' stroke-width='1.5'/>"
        f"<circle cx='{last_x:.1f}' cy='{last_y:.1f}' r='2' fill='currentColor'/></svg>"
    )


def _of_one(points: list[tuple[float, float, int]]) -> bool:
    """Whether a curve lies within 0 and 1, as an accuracy does."""
    return all(0 <= value <= 1 for _, value, _ in points)


def _place(value: float) -> float:
    """Where a value from 0 to 1 stands, from the top."""
    return 2 + (_HEIGHT - 4) * (1 - min(1.0, max(0.0, value)))


def _text(value: object) -> str:
    return html.escape(str(value))
