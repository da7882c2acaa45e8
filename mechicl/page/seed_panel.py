"""The panel of several runs: its elements, and its answer to a view. assets/seeds.js draws it."""

from __future__ import annotations

from typing import Any

import pandas as pd
from dash import html
from dash.development.base_component import Component

from mechicl.figures.style import NAMES
from mechicl.measures.phases import leading_phases
from mechicl.page.answers import SLICE, Answers
from mechicl.page.controls import aria, panel, select
from mechicl.page.runs import Library, Run
from mechicl.page.seed_figure import interval, seed_figure
from mechicl.page.seed_numbers import laid_over
from mechicl.page.seed_over import Over
from mechicl.page.seeds import RULE, Condition, Together, counted, formed, together
from mechicl.page.state import View
from mechicl.page.texts import plain, signed


def seeds_panel(library: Library, run: Run, view: View) -> list[Component]:
    """The panel, if the view shows several runs; else nothing."""
    found = together(library, run, view)
    if found is None:
        return []
    return [
        panel(
            "seeds",
            "Over seeds",
            [
                select("over", "Evaluator", {name: NAMES[name] for name in run.shown}, view.over or run.leading),
                select("against", "Lay over", _choices(found, run), view.against),
            ],
            [
                html.P(id="seeds-count", title=RULE),
                html.Div(id="seeds-list", role="group", **aria(label="Runs: click one to look at it")),
                html.Div(html.Div(id="seeds-figure"), className="plot"),
                html.P(id="seeds-note", className="note", **aria(live="polite")),
            ],
            "Several runs. The thick curve is the chosen run, thin curves are the others, the dark curve is their "
            "median. The band goes from the lowest to the highest. Click a run to see it in the panels below. The "
            "comparison is dashed. Its control, as many random heads, is dotted. The difference with its 95% interval "
            "is below the curves. " + RULE,
        )
    ]


def _choices(found: Together, run: Run) -> dict[str, str]:
    own, name = found.of(run.series.name), run.series.name
    out = {"": "nothing", "own": "each seed without its own heads"}
    others = [c for c in found.conditions if c is not own]
    out |= {f"condition/{c.runs[0].series.name}": f"condition {c.label}, all seeds" for c in others}
    return out | {f"run/{r.series.name}": f"run {r.series.name}" for r in found.runs if r.series.name != name}


def seeds_answer(answers: Answers, query: str, seconds: float = SLICE) -> dict[str, Any]:
    """What the panel shows of a view, as far as it is computed: `left` says whether to ask again.

    Raises:
        SeriesError: the view cannot be shown.
    """
    run, view = answers.view(query)
    found = together(answers.library, run, view)
    if found is None:
        return {"runs": [], "left": False}
    evaluator, condition = view.over or run.leading, found.of(run.series.name)
    over = laid_over(answers.bench, found, run, view, evaluator, seconds)
    several = len(found.conditions) > 1
    counts = [(f"{c.label}: " if several else "") + counted(c) for c in found.conditions]
    lost = [f"{name} cannot be opened: {why}" for name, why in found.lost.items()]
    return {
        "counted": ". ".join(counts) + ".",
        "runs": [_row(c, each, run, several) for c in found.conditions for each in c.runs],
        "figure": seed_figure(condition, run, evaluator, over, view.axis, view.unit).to_plotly_json(),
        "note": " ".join([*said(over), *lost]),
        "left": over is not None and over.done < over.total,
    }


def _row(condition: Condition, each: Run, chosen: Run, several: bool) -> dict[str, Any]:
    led, has = leading_phases(each.phases), formed(each)
    says = {False: "never formed", None: "not formed yet"}.get(has, "")
    if has and led is not None and led.phases.peak is not None and led.phases.peak_value is not None:
        says = f"{led.short} {'peaks' if led.best == 'peak' else 'is lowest'} at {plain(led.phases.peak_value, 2)}"
    return {
        "run": each.series.name,
        "name": f"{condition.label}, {condition.name(each)}" if several else condition.name(each),
        "says": says,
        "formed": has,
        "chosen": each.series.name == chosen.series.name,
    }


def said(over: Over | None) -> list[str]:
    """What is laid over, in sentences, with its last value."""
    if over is None:
        return []
    words = _last(over.difference, over.meaning)
    if over.control is not None:
        words += _last(over.control.difference, over.control.meaning)
        words += _last(over.control.beyond, over.control.beyond_meaning)
    if over.done < over.total:
        words.append(f"{over.done:,} of {over.total:,} evaluations so far …")
    return [*words, *over.notes]


def _last(table: pd.DataFrame, meaning: str) -> list[str]:
    """What a table of differences is of, and its last row."""
    if not len(table):
        return [f"{meaning}."]
    last = table.iloc[-1]
    return [f"{meaning}; at {int(last.x):,} sequences {signed(last.value)}{interval(last.low, last.high)}."]
