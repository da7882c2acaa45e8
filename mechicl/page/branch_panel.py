"""The elements of 'Train on from here', and the family tree.

assets/branches.js fills the list and draws the curves, assets/family.js draws the tree.
"""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from mechicl.attention_patterns import PATTERNS
from mechicl.measures.training_words import MATCH
from mechicl.page.branches import ways
from mechicl.page.controls import aria, data
from mechicl.page.runs import Run


def train_on(run: Run) -> Component:
    """The control and the list of branches, folded away until somebody asks for them."""
    held = [
        name for name, each in PATTERNS.items() if each.held is not None and each.task in (None, run.series.task.kind)
    ]
    patterns = [*held, *([MATCH] if run.series.task.one_answer else [])]
    return html.Details(
        [
            html.Summary("Train on from here"),
            html.Div(
                [
                    _pick("way", "What is changed", ways(run)),
                    html.Span(
                        [
                            _pick("pattern", "Pattern", {name: name.replace("_", " ") for name in patterns}),
                            _number("strength", "Strength, 0 to 1", min="0", max="1", step="0.1", value="1"),
                        ],
                        id="branch-held",
                        hidden=True,
                    ),
                    _number("steps", "To step", min="1", step="1", placeholder=f"{run.series.config.steps}"),
                    html.Label(
                        [html.Span(id="branch-fresh-place"), html.Span("new optimiser")],
                        title="Adam's moments are cleared. At a checkpoint this needs no replay, so it works on any "
                        "machine.",
                    ),
                    html.Button("Train on", id="branch-start", title="Start a new run in this run's folder"),
                ],
                className="controls",
                role="group",
                **aria(label="Train on from the chosen checkpoint"),
            ),
            html.P(id="branch-note", className="note", **aria(live="polite")),
            html.Ul(id="branches", **aria(label="Branches of this run")),
        ],
        id="train-on",
    )


def family() -> Component:
    """The family tree of the runs in the folder; it is shown where there are branches."""
    return html.Details(
        [
            html.Summary("Family tree"),
            html.Ul(id="family-tree", **aria(label="Runs of this folder and their branches")),
        ],
        id="family",
        hidden=True,
    )


def _pick(name: str, label: str, options: dict[str, str]) -> Component:
    listed = [html.Option(text, value=value) for value, text in options.items()]
    return html.Select(listed, id=f"branch-{name}", **data(branch=name), **aria(label=label))


def _number(name: str, label: str, **settings: str) -> Component:
    """A place for a number: the script puts the input there, since Dash has none of its own kind."""
    return html.Label([html.Span(label), html.Span(id=f"branch-{name}-place", **data(**settings))])
