"""The page's elements. Their behaviour is in assets/, their numbers in payloads.py.

Controls are plain buttons and selects that say in `data-set` and `data-to` which part of the
view they set, so that one listener serves them all, and a keyboard reaches every one.
"""

from __future__ import annotations

from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from mechicl.figures.caption import caption
from mechicl.figures.style import COLOURS, NAMES, SYMBOLS, short
from mechicl.page.answers import KINDS
from mechicl.page.grid import head_grid
from mechicl.page.heads import MEASURES, even
from mechicl.page.runs import Library, Run
from mechicl.page.sequence import MARKS
from mechicl.page.state import View
from mechicl.page.view import shown
from mechicl.registry import EVALUATORS, quantity

GLYPHS = {"circle": "●", "square": "■", "triangle-up": "▲", "diamond": "◆", "x": "✖", "star": "★"}  # SYMBOLS as text


def skeleton() -> Component:
    """What is there before a run is."""
    return html.Div([
        dcc.Location(id="url", refresh=False), dcc.Store(id="base"),
        html.Div(id="page", children=html.P("Opening the run …", className="opening"), **_aria(live="polite")),
        html.Div(id="say", role="status", **_aria(live="polite")),
    ])  # fmt: skip


def trouble(message: str, library: Library) -> Component:
    """Instead of a page: what is wrong, and what can be opened instead."""
    links = [html.Li(html.A(name, href=f"?run={name}")) for name in library.names()]
    return html.Main([
        html.H1("This view cannot be shown"), html.P(message, className="trouble", id="trouble"),
        html.P("Runs in this folder:" if links else "There is no other run in this folder."), html.Ul(links),
    ], className="sorry")  # fmt: skip


def page(library: Library, run: Run, view: View) -> list[Component]:
    """Everything, for one run."""
    return [
        html.Button("Skip to the heads", className="skip", **_data(do="skip")),
        _header(library, run, view),
        html.Main([
            _timeline(view), _effects(run), _heads(run, view), _look(library, run, view),
        ]),
        html.Dialog([
            html.H2("This view as Python"), html.Pre(id="python"), html.P("Copied to the clipboard.", id="copied"),
            html.Button("Close", **_data(do="close"))], id="code"),
    ]  # fmt: skip


def _header(library: Library, run: Run, view: View) -> Component:
    c = run.series.config
    body = "attention only" if not c.model.mlp_ratio else f"MLP ratio {c.model.mlp_ratio}"
    facts = (f"{c.model.n_layers} layers × {c.model.n_heads} heads, width {c.model.d_model}, {body} · "
             f"{caption(run.series)} · {short(run.series.seen)} sequences seen · seed "
             f"{c.seeds.init}" + ("" if run.series.complete else " · not finished"))  # fmt: skip
    return html.Header([
        html.Div([
            html.Strong("mechicl", className="brand"),
            _select("run", "Run", {name: name for name in library.names()}, view.run),
            html.Span(facts, className="facts"),
            html.Span(className="space"),
            html.Button("↶", title="Undo (Ctrl-Z, or the browser's Back)", **_data(do="undo"), **_aria(label="Undo")),
            html.Button("↷", title="Redo (Ctrl-Shift-Z)", **_data(do="redo"), **_aria(label="Redo")),
            _menu("Export", [("Table of this checkpoint", "table", ("csv", "parquet")),
                             ("Table of the whole curve", "curve", ("csv", "parquet")),
                             ("Table of the head grid", "grid", ("csv", "parquet")),
                             ("Table of the comparison", "comparison", ("csv", "parquet")),
                             ("Timeline", "timeline", ("png", "svg", "html")),
                             ("This checkpoint", "effect", ("png", "svg", "html")),
                             ("Head grid", "heads", ("png", "svg", "html")),
                             ("Attention", "attention", ("png", "svg", "html")),
                             ("Attention, circuitsvis", "circuitsvis", ("html",)),
                             ("Logits", "logits", ("png", "svg", "html")),
                             ("Comparison, curves", "compare", ("png", "svg", "html")),
                             ("Comparison, attention", "compare_attention", ("png", "svg", "html"))]),
            html.Button("Copy as Python", title="Lines that reproduce this view", **_data(do="python")),
            html.Button("Copy link", title="The address holds the whole view", **_data(do="link")),
            html.Button("?", title="Show every hint again", **_data(do="hints"), **_aria(label="Show every hint")),
            html.Button("◐", title="Light or dark", **_data(do="theme"), **_aria(label="Light or dark")),
        ], className="top"),
        html.Div([
            html.Button("▶", title="Play through training (space)", **_data(do="play"), **_aria(label="Play")),
            html.Button("‹", title="Checkpoint before (←)", **_data(do="back"), **_aria(label="Checkpoint before")),
            html.Div(id="slider"),
            html.Button("›", title="Next checkpoint (→)", **_data(do="next"), **_aria(label="Next checkpoint")),
            html.Span(id="where", **_aria(live="off")),
        ], className="transport", role="group", **_aria(label="Checkpoint")),
    ])  # fmt: skip


def _timeline(view: View) -> Component:
    return _panel("timeline", "Over training", [
        _switch("axis", {"log": "log", "linear": "linear"}, view.axis, "Axis"),
        _switch("unit", {"sequences": "sequences", "steps": "steps"}, view.unit, "Time in"),
    ], [
        # The script adds the graph once the numbers stand: plotly takes a second to load.
        html.Div([html.Div(id="graph"), html.Div(id="cursor", hidden=True)], className="plot"),
        html.P(id="curve-progress", className="note"),
    ], "The score of each evaluator over training, as it was recorded. Bands are 95% intervals. Grey lines "
       "mark ICL's onset, peak and half-decay. Drag the slider above, click in the plot, or press ← and →. "
       "If heads are ablated, dashed curves with open markers show the same checkpoints without them.")  # fmt: skip


def _effects(run: Run) -> Component:
    head = html.Thead(html.Tr([
        html.Th("evaluator", scope="col"),
        html.Th(html.Div([html.Span("0"), html.Span(quantity(run.series.config)), html.Span("1")], className="ends"),
                scope="col", className="wide"),
        html.Th("intact", scope="col"), html.Th("ablated", scope="col"), html.Th("change", scope="col")]))  # fmt: skip
    rows = [_effect_row(run, name) for name in shown(run)]
    warning = " Read the four together: a rise of Flip alone is not recovered ICL." if "flip" in run.sets else ""
    return _panel("effect", "This checkpoint", [html.Span(id="effect-where", className="note")], [
        html.Table([head, html.Tbody(rows)], id="effect", className="numbers"),
        html.P([html.Span("●", className="key intact"), " intact  ", html.Span("○", className="key ablated"),
                " ablated  ", html.Span("┆", className="key chance"), " guessing. A framed change "
                "has an interval that excludes 0. ",
                html.Span(id="effect-note")], className="note"),
    ], "The scores of this checkpoint, intact and ablated. Brackets are 95% intervals over sequences: Wilson's, and "
       "for the change Agresti and Min's, paired on the same sequences. They say nothing about other seeds."
       + warning)  # fmt: skip


def _effect_row(run: Run, name: str) -> Component:
    def cell(what: str) -> Component:
        return html.Td([html.Span("–", **_data(cell=f"{name}.{what}")),
                        html.Small("", **_data(cell=f"{name}.{what}_ci"))])  # fmt: skip

    chance = run.chance[name]
    guess = f"guessing {chance:.3g}"
    return html.Tr([
        html.Th([html.Span([EVALUATORS[name].short,
                            html.I(GLYPHS[SYMBOLS[name]], **_aria(hidden="true"))], className="name"),
                 html.Small([EVALUATORS[name].meaning, html.Br(), "n = ", html.Span("–", **_data(cell=f"{name}.n"))])],
                scope="row", style={"--own": COLOURS[name]}),
        html.Td(html.Div([
            html.I(className="chance", style={"left": f"{100 * chance:.2f}%"}, title=guess),
            html.I(className="range intact", **_data(mark=f"{name}.intact")),
            html.I(className="range ablated", **_data(mark=f"{name}.ablated")),
            html.B(className="dot intact", **_data(dot=f"{name}.intact")),
            html.B(className="dot ablated", **_data(dot=f"{name}.ablated"))],
            className="bar", style={"--own": COLOURS[name]}, role="img", **_data(bar=name)), className="wide"),
        cell("intact"), cell("ablated"), cell("change"),
    ], **_data(row=name))  # fmt: skip


def _heads(run: Run, view: View) -> Component:
    names = {key: scale.name for key, scale in MEASURES.items() if _has(run, key)}
    return _panel("heads", "Heads", [
        _select("measure", "Colour by", names, view.measure),
        _select("evaluator", "on sequences of", {name: NAMES[name] for name in run.sets}, view.evaluator),
    ], [
        html.Div([
            html.Div([
                head_grid(run.series.config.model),
                html.Div(id="scale", className="scale"),
                html.P(id="measure-note", className="note"),
            ]),
            html.Div([
                html.H3("Ablation"),
                html.Div([_select("kind", "kind", {k: k.replace("_", " ") for k in KINDS}, view.kind),
                          html.Button("Clear", title="Put every head back (Escape)", **_data(do="clear"))],
                         className="controls"),
                html.P(id="ablated-now"), html.P(id="kind-note", className="note"),
                html.P(id="baseline-note", className="note"),
            ], className="ablation"),
        ], className="two"),
    ], "Every button is a head. Its colour and number show the chosen measure under the present ablation. A "
       "score equal to that of uniform attention has no colour. Press a head to ablate it; press it again to put it "
       "back. Shift-press keeps only that head of its layer. The layer's name ablates the whole layer. Arrow keys move "
       "between heads, Enter presses the head. Comma and full stop go to the checkpoint before and after.")  # fmt: skip


def _has(run: Run, measure: str) -> bool:
    """Whether a measure says something of this run: its evaluator is the run's, or some evaluator defines the score."""
    if measure.startswith("effect_"):
        return measure.removeprefix("effect_") in run.sets
    if MEASURES[measure].colours == "logit":
        return bool(run.sets[run.leading][:1].answers())
    return any(measure in even(run, name) for name in run.sets)


def _look(library: Library, run: Run, view: View) -> Component:
    model = run.series.config.model
    every = [(la, h) for la in range(model.n_layers) for h in range(model.n_heads)]
    heads = {"": "all heads"} | {f"{la}.{h}": f"L{la}H{h}" for la, h in every}
    others = [x for x in library.names() if x != view.run]
    one = "" if view.head is None else f"{view.head[0]}.{view.head[1]}"
    tabs = _switch("tab", {"attention": "Attention", "logits": "Logits", "compare": "Compare"}, view.tab, "Look closer")
    pick = html.Span([
        html.Button("average", className="choice", **_data(set="sequence", to=""), **_aria(pressed="false")),
        html.Span("or sequence"), html.Span(id="sequence-place"),
        _select("evaluator", "of", {name: NAMES[name] for name in run.sets}, view.evaluator),
    ], className="pick", id="pick")  # fmt: skip
    attention = html.Div([
        _hint("attention", "Rows attend to columns; a stronger colour is more attention. If heads are ablated, you see "
              "the intact pattern, the ablated one and their difference side by side. A pattern that cannot change is "
              "drawn once. Choose one sequence to see its tokens: "
              + "; ".join(f"‘{k}’ is {v}" for k, v in MARKS.items()) + "."),
        html.Div([_select("head", "Show", heads, one),
                  html.Button("circuitsvis", id="circuitsvis-toggle", className="choice",
                              title="The same data in circuitsvis' own view",
                              **_data(do="circuitsvis"), **_aria(pressed="false"))], className="controls"),
        html.Div(id="tokens"), html.P(id="answers"), html.Div(id="patterns"), html.Div(id="circuitsvis"),
        html.P(id="attention-note", className="note"),
    ], **_data(tab="attention"), role="region", **_aria(label="Attention"))  # fmt: skip
    logits = html.Div([
        _hint("logits", "What each part adds directly to the logit of each label, relative to the mean logit, with the "
              "final LayerNorm held at its value. Green raises a label, magenta lowers it. A column sums to the "
              "label's logit. Effects through later heads are not included; ablate the head to see them."),
        html.Div(id="logits-labels"), html.Div(id="logits"), html.P(id="logits-note", className="note"),
    ], **_data(tab="logits"), role="region", **_aria(label="Logits"))  # fmt: skip
    compare = html.Div([
        _hint("compare", "Two checkpoints of this run, or this run and another of the same folder, under the same "
              "ablation: numbers, heads, attention and curves. Differences on the same sequences have paired "
              "intervals; differences on other sequences have Newcombe's. Press a pattern to enlarge its head."),
        html.Div([
            *([_select("with_run", "With run", {"": "this one"} | {x: x for x in others}, view.with_run or "")]
              if others else []),
            html.Span("At checkpoint"), html.Div(id="with-slider"), html.Span(id="with-where")], className="controls"),
        html.Div(id="comparison"),
    ], **_data(tab="compare"), role="region", **_aria(label="Compare"))  # fmt: skip
    return html.Section([
        html.Div([tabs, pick], className="title"), attention, logits, compare], id="look", className="panel")


def _panel(name: str, title: str, controls: list, body: list, hint: str) -> Component:
    return html.Section([html.Div([html.H2(title), html.Span(className="space"), *controls], className="title"),
                         _hint(name, hint), *body], id=f"{name}-panel", className="panel")  # fmt: skip


def _hint(name: str, text: str) -> Component:
    return html.Div([html.P(text), html.Button("Got it", **_data(dismiss=name))], className="hint", hidden=True,
                    **_data(hint=name))  # fmt: skip


def _select(part: str, label: str, options: dict[str, str], chosen: str) -> Component:
    listed = [html.Option(text, value=value, selected=value == chosen) for value, text in options.items()]
    return html.Label([html.Span(label), html.Select(listed, **_data(set=part))], className="select")


def _switch(part: str, options: dict[str, str], chosen: str, label: str) -> Component:
    buttons = [
        html.Button(text, className="choice", **_data(set=part, to=value),
                    **_aria(pressed="true" if value == chosen else "false"))
        for value, text in options.items()
    ]  # fmt: skip
    return html.Span(buttons, className="switch", role="group", **_aria(label=label))


def _menu(title: str, entries: list[tuple[str, str, tuple[str, ...]]]) -> Component:
    rows = [
        html.Div([html.Span(text), *[html.Button(fmt.upper(), **_data(export=what, format=fmt)) for fmt in formats]])
        for text, what, formats in entries
    ]
    return html.Details([html.Summary(title), html.Div(rows, className="entries")], className="menu")


def _data(**values: str) -> dict[str, Any]:
    return {f"data-{key}": value for key, value in values.items()}


def _aria(**values: str) -> dict[str, Any]:
    return {f"aria-{key}": value for key, value in values.items()}

