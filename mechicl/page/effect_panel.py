"""The table of this checkpoint: every evaluator intact and ablated."""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from mechicl.figures.style import COLOURS, SYMBOLS
from mechicl.page.controls import aria, data, panel
from mechicl.page.numbers import percent
from mechicl.page.runs import Run
from mechicl.page.texts import end
from mechicl.page.view import shown
from mechicl.registry import EVALUATORS, MARKERS, quantity

_READ = (
    "The scores of this checkpoint, intact and ablated. Brackets are 95% intervals over sequences: Wilson's, and for "
    "the change Agresti and Min's, paired on the same sequences. They say nothing about other seeds. Below the change "
    "stands what the same done to random others changes."
)


def effects(run: Run) -> Component:
    """The panel: a row for each evaluator. assets/ fills in the numbers."""
    together = {*run.spans.values()} == {(0.0, 1.0)}  # one scale for all rows; else each says its own
    head = html.Thead(
        html.Tr(
            [
                html.Th("evaluator", scope="col"),
                html.Th(
                    _ends("0", quantity(run.series.config), "1") if together else quantity(run.series.config),
                    scope="col",
                    className="wide",
                ),
                html.Th("intact", scope="col"),
                html.Th("ablated", scope="col"),
                html.Th("change", scope="col"),
            ]
        )
    )
    rows = [_effect_row(run, name, together) for name in shown(run)]
    cautions = [EVALUATORS[name].caution for name in run.sets if EVALUATORS[name].caution]
    return panel(
        "effect",
        "This checkpoint",
        [html.Span(id="effect-where", className="note")],
        [
            html.Table([head, html.Tbody(rows)], id="effect", className="numbers"),
            html.P(
                [
                    html.Span("●", className="key intact"),
                    " intact  ",
                    html.Span("○", className="key ablated"),
                    " ablated  ",
                    html.Span("┆", className="key chance"),
                    " guessing. A framed change has an interval that excludes 0. ",
                    html.Span(id="effect-note"),
                ],
                className="note",
            ),
        ],
        " ".join([_READ, *cautions]),
    )


def _ends(low: str, what: str, high: str) -> Component:
    return html.Div([html.Span(low), html.Span(what), html.Span(high)], className="ends")


def _effect_row(run: Run, name: str, together: bool) -> Component:
    def cell(what: str, *more: Component) -> Component:
        said = [html.Span("–", **data(cell=f"{name}.{what}")), html.Small("", **data(cell=f"{name}.{what}_ci"))]
        return html.Td([*said, *more])

    chance = run.chance[name]
    guess, span = f"guessing {chance:.3g}", run.spans[name]
    ends = [] if together else [_ends(end(span[0]), EVALUATORS[name].quantity, end(span[1]))]
    return html.Tr(
        [
            html.Th(
                [
                    html.Span(
                        [EVALUATORS[name].short, html.I(MARKERS[SYMBOLS[name]], **aria(hidden="true"))],
                        className="name",
                    ),
                    html.Small([EVALUATORS[name].meaning, html.Br(), "n = ", html.Span("–", **data(cell=f"{name}.n"))]),
                ],
                scope="row",
                style={"--own": COLOURS[name]},
            ),
            html.Td(
                [
                    html.Div(
                        [
                            html.I(className="chance", style={"left": f"{percent(chance, span):.2f}%"}, title=guess),
                            html.I(className="range intact", **data(mark=f"{name}.intact")),
                            html.I(className="range ablated", **data(mark=f"{name}.ablated")),
                            html.B(className="dot intact", **data(dot=f"{name}.intact")),
                            html.B(className="dot ablated", **data(dot=f"{name}.ablated")),
                        ],
                        className="bar",
                        style={"--own": COLOURS[name]},
                        role="img",
                        **data(bar=name),
                    ),
                    *ends,
                ],
                className="wide",
            ),
            cell("intact"),
            cell("ablated"),
            cell("change", html.Small("", **data(cell=f"{name}.controls_ci"))),
        ],
        **data(row=name),
    )
