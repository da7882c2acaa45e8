"""The circuit of a checkpoint: the panel's elements, and its answer to a view. assets/circuit.js draws it.

Every component has its place whether it is drawn or not (`figures.circuit`), so that what one sees while one scrubs
are the paths.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from dash import html
from dash.development.base_component import Component

from mechicl.evaluators import EVALUATORS
from mechicl.figures.circuit import HALF, PORTS, Place, component_places, course_of, stroke
from mechicl.figures.style import NAMES
from mechicl.interventions import every_path
from mechicl.interventions.components import Component as End
from mechicl.interventions.components import parse
from mechicl.page.answers import SLICE, Answers
from mechicl.page.circuit_numbers import Circuit, Share, circuit, has_circuits
from mechicl.page.controls import aria, data, panel, select
from mechicl.page.payloads import place, shade
from mechicl.page.runs import Run
from mechicl.page.state import View
from mechicl.page.texts import end, plain, signed

STOPS = (0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)  # of the slider
_LOW, _HIGH = -0.5, 1.5  # the ends of a share's bar


def circuit_panel(run: Run, view: View) -> list[Component]:
    """The panel, if the run's model has paths that can be cut; else nothing."""
    if not has_circuits(run):
        return []
    return [
        panel(
            "circuit",
            "Circuit",
            [
                html.Label(
                    [
                        html.Span("Effect of at least"),
                        html.Span(id="threshold-place", **data(stops=",".join(map(str, STOPS)))),
                        html.Span(id="threshold-text"),
                    ],
                    className="select",
                ),
                select("evaluator", "on", {name: NAMES[name] for name in run.sets}, view.evaluator),
            ],
            [
                html.P(id="circuit-says", **aria(live="polite")),
                html.Div(
                    [
                        html.Div(
                            [html.Div(html.Div(id="circuit-graph"), id="circuit-scroll"), _legend()],
                            id="circuit-drawn",
                        ),
                        html.Div(
                            [
                                html.Div(id="circuit-shares"),
                                html.P(id="circuit-random", className="note"),
                                html.Div(id="circuit-paths", role="group", **aria(label="Paths: click one to cut it")),
                            ],
                            id="circuit-beside",
                        ),
                    ],
                    className="two",
                ),
                html.P(id="circuit-note", className="note"),
            ],
            "Which component reads the output of which other one. Each line is a path from one component's output to "
            "another's input. Its width is the change of the evaluator if this path alone is cut in the intact model. "
            "The paths are chosen on other sequences than those that measure their effects. Click a line, or its name "
            "in the list, to cut the path in the panels above. Move the checkpoint to see the circuit form and "
            "disappear.",
        )
    ]


def _legend() -> Component:
    """What kinds of lines there are."""
    kinds = [("q", "read as a query (q)"), ("k", "as a key (k)"), ("v", "as a value (v)")]
    listed = [html.Span([html.I(className=f"kind {part}"), text]) for part, text in kinds]
    for place_, text in ((0.1, "cutting it lowers"), (0.9, "cutting it raises")):
        listed.append(html.Span([html.I(className="kind", style={"borderTopColor": shade(place_, "effect")[0]}), text]))
    return html.P(listed, id="circuit-legend", className="note")


def circuit_answer(answers: Answers, query: str, seconds: float = SLICE) -> dict[str, Any]:
    """What the panel shows of a view, as far as it is computed: `left` says whether to ask again.

    Raises:
        SeriesError: the view cannot be shown.
    """
    run, view = answers.view(query)
    assert view.step is not None
    found = circuit(answers.bench, run, view, seconds)
    every = every_path(run.series.config.model)
    so_far = f"Computed at {found.steps:,} of {len(run.steps):,} checkpoints so far."
    ahead = so_far if found.steps < len(run.steps) else ""
    out = {"place": place(view.step, run), "left": found.left, "ahead": ahead, **drawn(every)}
    if found.effects is None:
        return out | {"edges": None, "says": f"Step {view.step:,}: each of {len(every):,} paths is being cut …"}
    return out | {
        "edges": edges(found, every),
        "says": _says(found, view),
        "baseline": f"Replacement for what is cut: {found.effects.baseline.iloc[0]}.",
        "shares": {name: _share(share) for name, share in found.shares.items()},
        "random": _random(found),
    }


@lru_cache(maxsize=8)  # of a run's model: an answer asks for the graph and for its lines
def _placed(every: tuple[str, ...]) -> tuple[dict[End, Place], dict[str, float], Place]:
    """Where each component stands, each row's height, and the corner that places are counted from."""
    places, ladder = component_places(map(parse, every))
    return places, ladder, _corner(places)


def drawn(every: list[str]) -> dict[str, Any]:
    """The graph's size, its rows' names and its components. x in heads from the left, y in rows from the top."""
    places, ladder, corner = _placed(tuple(every))
    nodes = [
        {"name": str(end), "x": x, "y": y, "head": end.kind == "head"}
        for end, (x, y) in ((end, _from(corner, places[end])) for end in sorted(places))
    ]
    return {
        "heads": max(node["x"] for node in nodes) + 0.5,
        "rows": [{"name": name, "y": corner[1] - y} for name, y in ladder.items()],
        "nodes": nodes,
        "half": HALF,
        "ports": PORTS,
    }


def edges(found: Circuit, every: list[str]) -> list[dict[str, Any]]:
    """The circuit's paths, the strongest first: their course (places as in `drawn`), width in pixels and colour, and
    what they say."""
    assert found.effects is not None
    places, _, corner = _placed(tuple(every))
    rows = found.effects.set_index("intervention").loc[list(found.paths)]
    out = []
    for name, row in rows.sort_values("effect", key=abs, ascending=False, kind="stable").iterrows():
        path = parse(str(name))
        width, colour = stroke(float(row.effect), found.limit)
        out.append(
            {
                "path": str(path),
                "course": [_from(corner, point) for point in course_of(path, places)],
                "width": round(width, 2),
                "colour": shade((1 + colour) / 2, "effect")[0],
                "part": path.receiver.part,
                "effect": signed(row.effect),
                "interval": f"[{signed(row.effect_low)}, {signed(row.effect_high)}]",
            }
        )
    return out


def _corner(places: dict[End, Place]) -> Place:
    """Half a head left of the leftmost component, and the topmost row."""
    return min(x for x, _ in places.values()) - 0.5, max(y for _, y in places.values())


def _from(corner: Place, place: Place) -> Place:
    return round(place[0] - corner[0], 3), round(corner[1] - place[1], 3)


def _says(found: Circuit, view: View) -> str:
    assert found.effects is not None
    what, n = EVALUATORS[view.evaluator], int(found.effects.n.iloc[0])
    size, all_ = len(found.paths), len(found.effects)
    says = f"{size} of {all_:,} paths change {what.short} ({what.quantity}) by {_brief(view.threshold)} or more"
    says += " when each is cut alone, on the sequences on which they are chosen"
    return f"{says}. Their effects here are on n = {n:,} others. The widest line is {_brief(found.limit)}."


def _brief(value: float) -> str:
    """.02, 1.5: without zeros that say nothing."""
    return f"{value:g}".removeprefix("0") if value < 1 else f"{value:g}"


def _share(share: Share) -> dict[str, Any]:
    """A row of the table: its texts, and in percent of the bar, where its marks go."""
    if math.isnan(share.value):
        return {"value": "–", "interval": "undefined", "random": "", "bar": None, "others": []}
    others = sorted(x for x in share.random if not math.isnan(x))
    random = f"{plain(float(np.median(others)), 2)} ({plain(others[0], 2)} to {plain(others[-1], 2)})" if others else ""
    return {
        "value": plain(share.value, 2),
        "interval": f"[{plain(share.low, 2)}, {plain(share.high, 2)}]",
        "random": random,
        "bar": [_percent(x) for x in (share.value, share.low, share.high)],
        "others": [_percent(x) for x in others],
    }


def _percent(value: float) -> float:
    return round(100 * (min(max(value, _LOW), _HIGH) - _LOW) / (_HIGH - _LOW), 2)


def _random(found: Circuit) -> str:
    if not found.paths:
        return "No path has an effect of this size: there is no circuit to measure."
    if not found.shares:
        return "How much the circuit carries is being measured …"
    if not found.of_random:
        return "The model is no better than with every path cut, so a circuit cannot carry anything."
    so_far = f"{found.random} of {found.of_random}" if found.random < found.of_random else f"{found.of_random}"
    rest = " so far …" if found.random < found.of_random else ", their median and range."
    bar = f"Bars go from {end(_LOW)} to {end(_HIGH)}; the dotted line is 1."
    return f"Controls: {so_far} random circuits with as many paths of each kind{rest} {bar}"
