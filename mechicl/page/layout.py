"""The page's elements. Their behaviour is in assets/, their numbers in payloads.py.

Controls are plain buttons and selects that say in `data-set` and `data-to` which part of the
view they set, so that one listener serves them all, and a keyboard reaches every one.
"""

from __future__ import annotations

from urllib.parse import quote

from dash import dcc, html
from dash.development.base_component import Component

from mechicl.figures.caption import facts
from mechicl.figures.style import NAMES
from mechicl.page.answers import KINDS
from mechicl.page.branch_panel import family, train_on
from mechicl.page.circuit_numbers import has_circuits
from mechicl.page.circuit_panel import circuit_panel
from mechicl.page.controls import aria, data, menu, panel, select, switch
from mechicl.page.editing import editing
from mechicl.page.effect_panel import effects
from mechicl.page.grid import head_grid
from mechicl.page.heads import MEASURES, even, measures
from mechicl.page.looking import look
from mechicl.page.runs import Library, Run
from mechicl.page.seed_panel import seeds_panel
from mechicl.page.seeds import together
from mechicl.page.sharing import page_entry
from mechicl.page.state import View, effect_of
from mechicl.page.track_panel import track_panel

FIGURE = ("png", "svg", "pdf", "html")  # what a figure is taken along as


def skeleton() -> Component:
    """What is there before a run is."""
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Store(id="base"),
            html.Div(id="page", children=html.P("Opening the run …", className="opening"), **aria(live="polite")),
            html.Div(id="say", role="status", **aria(live="polite")),
        ]
    )


def trouble(message: str, library: Library) -> Component:
    """Instead of a page: what is wrong, and what can be opened instead."""
    links = [html.Li(html.A(name, href=f"?run={quote(name, safe='')}")) for name in library.names()]
    return html.Main(
        [
            html.H1("This view cannot be shown"),
            html.P(message, className="trouble", id="trouble"),
            html.P("Runs in this folder:" if links else "There is no other run in this folder."),
            html.Ul(links),
        ],
        className="sorry",
    )


def page(library: Library, run: Run, view: View) -> list[Component]:
    """Everything, for one run."""
    return [
        html.Button("Skip to the heads", className="skip", **data(do="skip")),
        _header(library, run, view),
        html.Main(
            [
                *seeds_panel(library, run, view),
                _timeline(run, view),
                effects(run),
                _heads(run, view),
                *circuit_panel(run, view),
                track_panel(run, view),
                look(library, run, view),
            ]
        ),
        html.Dialog(
            [
                html.H2("This view as Python"),
                html.Pre(id="python"),
                html.P("Copied to the clipboard.", id="copied"),
                html.Button("Close", **data(do="close")),
            ],
            id="code",
        ),
    ]


def _header(library: Library, run: Run, view: View) -> Component:
    circuits = has_circuits(run)
    return html.Header(
        [
            html.Div(
                [
                    html.H1("mechicl", className="brand"),
                    select("run", "Run", {name: name for name in library.names()}, view.run),
                    html.Span(facts(run.series), className="facts"),
                    html.Span(className="space"),
                    html.Button(
                        "↶", title="Undo (Ctrl-Z, or the browser's Back)", **data(do="undo"), **aria(label="Undo")
                    ),
                    html.Button("↷", title="Redo (Ctrl-Shift-Z)", **data(do="redo"), **aria(label="Redo")),
                    menu(
                        "Export",
                        [
                            ("Table of this checkpoint", "table", ("csv", "parquet")),
                            ("Table of the whole curve", "curve", ("csv", "parquet")),
                            ("Table of the head grid", "grid", ("csv", "parquet")),
                            *[("Table of the circuit", "circuit", ("csv", "parquet"))] * circuits,
                            ("Table of the measure over training", "track", ("csv", "parquet")),
                            ("Table of the comparison", "comparison", ("csv", "parquet")),
                            *([("Over seeds", "seeds", FIGURE)] if together(library, run, view) else []),
                            ("Timeline", "timeline", FIGURE),
                            ("This checkpoint", "effect", FIGURE),
                            ("Head grid", "heads", FIGURE),
                            *[("Circuit", "circuit", FIGURE)] * circuits,
                            ("A measure over training", "track", FIGURE),
                            ("Attention", "attention", FIGURE),
                            ("Attention, circuitsvis", "circuitsvis", ("html",)),
                            ("Logits", "logits", FIGURE),
                            ("Comparison, curves", "compare", FIGURE),
                            ("Comparison, attention", "compare_attention", FIGURE),
                        ],
                        page_entry(run),
                    ),
                    html.Button("Copy as Python", title="Lines that reproduce this view", **data(do="python")),
                    html.Button("Copy link", title="The address contains the whole view", **data(do="link")),
                    html.Button(
                        "?", title="Show every hint again", **data(do="hints"), **aria(label="Show every hint")
                    ),
                    html.Button("◐", title="Light or dark", **data(do="theme"), **aria(label="Light or dark")),
                ],
                className="top",
            ),
            html.Div(
                [
                    html.Button("▶", title="Play through training (space)", **data(do="play"), **aria(label="Play")),
                    html.Button(
                        "‹", title="Checkpoint before (←)", **data(do="back"), **aria(label="Checkpoint before")
                    ),
                    html.Div(id="slider"),
                    html.Button("›", title="Next checkpoint (→)", **data(do="next"), **aria(label="Next checkpoint")),
                    html.Span(id="where", **aria(live="off")),
                ],
                className="transport",
                role="group",
                **aria(label="Checkpoint"),
            ),
        ]
    )


def _timeline(run: Run, view: View) -> Component:
    return panel(
        "timeline",
        "Over training",
        [
            switch("axis", {"log": "log", "linear": "linear"}, view.axis, "Axis"),
            switch("unit", {"sequences": "sequences", "steps": "steps"}, view.unit, "Time in"),
        ],
        [
            # The script adds the graph once the numbers stand: plotly takes a second to load.
            html.Div([html.Div(id="graph"), html.Div(id="cursor", hidden=True)], className="plot"),
            html.P(id="curve-progress", className="note"),
            train_on(run),
            family(),
        ],
        "The score of each evaluator over training, as it was recorded. Bands are 95% intervals. Grey lines "
        "mark three times of the first evaluator: half-way to its best, its best, and half-way back. Drag the slider "
        "above, click in the plot, or press ← and →. If something is ablated, dashed curves with open markers show the "
        "ablated model at the same checkpoints.",
    )


def _heads(run: Run, view: View) -> Component:
    names = {key: scale.name for key, scale in measures().items() if _has(run, key)}
    return panel(
        "heads",
        "Heads",
        [
            select("measure", "Colour by", names, view.measure),
            select("evaluator", "on sequences of", {name: NAMES[name] for name in run.sets}, view.evaluator),
        ],
        [
            html.Div(
                [
                    html.Div(
                        [
                            head_grid(run.series.config.model),
                            html.Div(id="scale", className="scale"),
                            html.P(id="measure-note", className="note"),
                        ]
                    ),
                    html.Div(
                        [
                            html.Div(
                                [
                                    html.H3("Interventions"),
                                    html.Span(className="space"),
                                    html.Button("Clear", title="Put everything back (Escape)", **data(do="clear")),
                                ],
                                className="title",
                            ),
                            html.P(id="ablated-now"),
                            html.Div(id="chips", role="group", **aria(label="What else is changed: click to put back")),
                            select("kind", "kind", {k: k.replace("_", " ") for k in KINDS}, view.kind),
                            html.P(id="kind-note", className="note"),
                            html.P(id="baseline-note", className="note"),
                            editing(run),
                        ],
                        className="ablation",
                    ),
                ],
                className="two",
            ),
        ],
        "Every button is a head. Its colour and number show the chosen measure under the current ablation. A "
        "score equal to that of uniform attention has no colour. Click a head to ablate it; click it again to put it "
        "back. Shift-click keeps only that head of its layer. The layer's name ablates all its heads. A layer's MLP, "
        "if it has one, is to the right of its heads. Other interventions are in the list next to the grid. Arrow keys "
        "move between heads, and Enter does what a click does. Comma and full stop go to the previous and next "
        "checkpoint.",
    )


def _has(run: Run, measure: str) -> bool:
    """Whether a measure says something of this run: its evaluator is the run's, or some evaluator defines the score."""
    if on := effect_of(measure):
        return on in run.sets
    if measure not in MEASURES:  # a plugin's
        return True
    if MEASURES[measure].colours == "logit":
        return bool(run.sets[run.leading][:1].answers())
    return any(measure in even(run, name) for name in run.sets)
