"""The panel that looks inside one checkpoint: attention, logits, and two checkpoints compared."""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from mechicl.figures.style import NAMES
from mechicl.page.controls import aria, data, hint, select, switch
from mechicl.page.runs import Library, Run
from mechicl.page.sequence import choose_one
from mechicl.page.state import View


def look(library: Library, run: Run, view: View) -> Component:
    model, noun = run.series.config.model, run.series.task.answer
    every = [(la, h) for la in range(model.n_layers) for h in range(model.n_heads)]
    heads = {"": "all heads"} | {f"{la}.{h}": f"L{la}H{h}" for la, h in every}
    others = [x for x in library.names() if x != view.run]
    one = "" if view.head is None else f"{view.head[0]}.{view.head[1]}"
    tabs = switch("tab", {"attention": "Attention", "logits": "Logits", "compare": "Compare"}, view.tab, "Look closer")
    pick = html.Span(
        [
            html.Button("average", className="choice", **data(set="sequence", to=""), **aria(pressed="false")),
            html.Span("or sequence"),
            html.Span(id="sequence-place"),
            select("evaluator", "of", {name: NAMES[name] for name in run.sets}, view.evaluator),
        ],
        className="pick",
        id="pick",
    )
    attention = html.Div(
        [
            hint(
                "attention",
                "Rows attend to columns; a stronger colour is more attention. If something is ablated, you see "
                "the intact pattern, the ablated one and their difference side by side. A pattern that cannot "
                "change is "
                "drawn once. " + choose_one(run),
            ),
            html.Div(
                [
                    select("head", "Show", heads, one),
                    html.Button(
                        "circuitsvis",
                        id="circuitsvis-toggle",
                        className="choice",
                        title="The same data in circuitsvis' own view",
                        **data(do="circuitsvis"),
                        **aria(pressed="false"),
                    ),
                ],
                className="controls",
            ),
            html.Div(id="tokens"),
            html.P(id="answers"),
            html.Div(id="patterns"),
            html.Div(id="circuitsvis"),
            html.P(id="attention-note", className="note"),
        ],
        **data(tab="attention"),
        role="region",
        **aria(label="Attention"),
    )
    logits = html.Div(
        [
            hint(
                "logits",
                f"What each part adds directly to the logit of each {noun}, relative to the mean logit, with the final "
                f"LayerNorm held at its value. Green raises it, magenta lowers it. A column sums to the {noun}'s "
                "logit. Effects through later heads are not included; ablate the head to see them.",
            ),
            html.Div(id="logits-labels"),
            html.Div(id="logits"),
            html.P(id="logits-note", className="note"),
        ],
        **data(tab="logits"),
        role="region",
        **aria(label="Logits"),
    )
    compare = html.Div(
        [
            hint(
                "compare",
                "Two checkpoints of this run, or this run and another in the same folder, under the same "
                "ablation: numbers, heads, attention and curves. Differences on the same sequences have paired "
                "intervals; differences on other sequences have Newcombe's. Click a pattern to enlarge its head.",
            ),
            html.Div(
                [
                    *(
                        [select("with_run", "With run", {"": "this one"} | {x: x for x in others}, view.with_run or "")]
                        if others
                        else []
                    ),
                    html.Span("At checkpoint"),
                    html.Div(id="with-slider"),
                    html.Span(id="with-where"),
                ],
                className="controls",
            ),
            html.Div(id="comparison"),
        ],
        **data(tab="compare"),
        role="region",
        **aria(label="Compare"),
    )
    return html.Section(
        [html.Div([tabs, pick], className="title"), attention, logits, compare], id="look", className="panel"
    )
