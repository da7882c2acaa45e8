"""A measure over training: the panel's elements, and its answer to a view. assets/track.js draws it."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from dash import html
from dash.development.base_component import Component

from mechicl.figures.style import NAMES
from mechicl.page.answers import SLICE, Answers
from mechicl.page.controls import aria, data, panel, select
from mechicl.page.measured import of_parts
from mechicl.page.runs import Run
from mechicl.page.seeds import together
from mechicl.page.state import View
from mechicl.page.texts import plain, signed
from mechicl.page.track_figure import track_figure
from mechicl.page.tracked import LARGEST, MOST, PATIENCE, Track, track

OFFERED = 24  # buttons: of hundreds of paths, those furthest from chance


def track_panel(run: Run, view: View) -> Component:
    return panel(
        "track",
        "A measure over training",
        [
            select("track", "Measure", {name: name.replace("_", " ") for name in of_parts()}, view.track),
            html.Label([html.Span("of"), html.Select([], **data(set="score"))], className="select"),
            select("evaluator", "on", {name: NAMES[name] for name in run.sets}, view.evaluator),
        ],
        [
            html.Div(html.Div(id="track-figure"), className="plot"),
            html.Div(id="track-items", role="group", **aria(label="Heads or paths: click to draw")),
            html.P(id="track-note", className="note"),
        ],
        "Any measure of heads, components or paths over training, in the intact model. Click names to choose curves. "
        "Without a choice you see those that are furthest from chance. 'largest' is, at each checkpoint, the one that "
        "is furthest from chance. The dotted dark line is chance, if the measure has one. If several runs are open, "
        "bands go from the lowest to the highest seed.",
    )


def track_answer(answers: Answers, query: str, seconds: float = SLICE) -> dict[str, Any]:
    """What the panel shows of a view, as far as it is computed: `left` says whether to ask again.

    Raises:
        ConfigError, SeriesError: the view cannot be shown, or the measure cannot be taken of this run.
    """
    run, view = answers.view(query)
    others = _others(answers, run, view)
    found = track(answers.bench, run, others, view, seconds)
    offered = dict.fromkeys([LARGEST, *found.shown, *found.items[:OFFERED]]) if len(found.value) else {}
    return {
        "figure": track_figure(found, run, view.axis, view.unit).to_plotly_json(),
        "metrics": found.metrics,
        "items": [{"item": item, "shown": item in found.shown, "chosen": item in view.items} for item in offered],
        "full": len(view.items) >= MOST,
        "note": _note(found, len(others)),
        "left": found.done < found.total,
    }


def track_picture(answers: Answers, run: Run, view: View, seconds: float = PATIENCE) -> tuple[go.Figure, str]:
    """The panel's figure to take along, as far as it is computed in this time, and what it shows."""
    found = track(answers.bench, run, _others(answers, run, view), view, seconds)
    words = [found.value_is, "intact"]
    words += [found.sequences] if found.sequences else []
    words += [f"bands: lowest to highest of {len(found.seeds) + 1} seeds"] if found.seeds else []
    words += [f"{found.done:,} of {found.total:,} checkpoints"] if found.done < found.total else []
    fig = track_figure(found, run, view.axis, view.unit, joined=found.done == found.total)
    return fig, "; ".join(words).replace("`", "")


def _others(answers: Answers, run: Run, view: View) -> list[Run]:
    """The runs that are shown together with this one."""
    every, name = together(answers.library, run, view), run.series.name
    return [] if every is None else [each for each in every.of(name).runs if each.series.name != name]


def _note(found: Track, others: int) -> str:
    on = f", {found.sequences}" if found.sequences else ""
    words = [f"{found.entry.name.replace('_', ' ').capitalize()}: {found.value_is}. In the intact model{on}."]
    if found.beside not in ("", "-"):
        words.append(f"Compare with: {found.beside}.")
    if len(found.value) and found.shown and found.value[found.shown[0]].notna().iloc[-1]:
        step, item = int(found.value.index[-1]), found.shown[0]
        write = signed if found.change else plain
        words.append(f"{item} at step {step:,}: {write(float(found.value[item].iloc[-1]))}.")
    if others:
        words.append(
            f"Bands: lowest to highest of {others + 1} seeds. Heads with the same name in different seeds do not "
            f"correspond; '{LARGEST}' compares the seeds."
        )
    if found.done < found.total:
        words.append(f"{found.done:,} of {found.total:,} checkpoints so far …")
    if found.lost:
        words.append(f"{found.lost:,} cannot be read.")
    return " ".join(words).replace("`", "")
