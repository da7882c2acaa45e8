"""What the page links to: tables and figures to take along, the circuitsvis view, Python lines."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
from flask import Flask, Response

from mechicl.errors import ConfigError, SeriesError
from mechicl.figures.attention import circuitsvis_bundle, circuitsvis_element, patterns, show_attention
from mechicl.figures.circuit import circuit_graph
from mechicl.figures.style import FONT, NAMES, short
from mechicl.page import figures, timelines
from mechicl.page.answers import Answers
from mechicl.page.circuit_numbers import cut_kind, drawn_circuit, has_circuits
from mechicl.page.compare import compare, fitting
from mechicl.page.heads import head_grid
from mechicl.page.inside import Attention, attention, logit_view
from mechicl.page.python import as_python
from mechicl.page.replies import as_json, download, leaving, query, refused
from mechicl.page.runs import Run
from mechicl.page.seed_picture import seed_picture
from mechicl.page.sharing import as_pdf
from mechicl.page.state import View
from mechicl.page.tables import TABLES, to_take_along
from mechicl.page.track_panel import track_picture

YEAR = 31_536_000
PARQUET = "application/vnd.apache.parquet"


def add_routes(flask: Flask, answers: Answers) -> None:
    """Register the routes on the app's Flask server."""

    def routed(rule: str) -> Callable[..., Any]:
        def add(answer: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(answer)
            def call(**parts: str) -> Response:
                try:
                    return answer(*answers.view(query()), **parts)
                except (SeriesError, ConfigError) as error:
                    return refused(error)

            flask.add_url_rule(rule, view_func=call)
            return call

        return add

    @flask.route("/answer/<panel>/<int:start>")
    def answer(panel: str, start: int) -> Response:
        return as_json(answers.to(panel, query(), start, leaving()))

    @routed("/python")
    def python(run: Run, view: View) -> Response:
        other, step = answers.library.beside(run, view)
        shown = replace(view, with_step=step)
        circuit = cut_kind(view) if has_circuits(run) else None
        lines = as_python(shown, str(answers.library.folder), fitting(other, view) is None, circuit)
        return Response(lines, mimetype="text/plain")

    @routed("/figure/<name>.json")
    def figure_json(run: Run, view: View, name: str) -> Response:
        return Response(_figure(answers, run, view, name).to_json(), mimetype="application/json")

    @routed("/export/<name>.html")
    def figure_html(run: Run, view: View, name: str) -> Response:
        assert view.step is not None
        if name == "circuitsvis":
            layer = view.head[0] if view.head else None
            found = show_attention(run.series, view.step, view.evaluator, view.sequence, layer, view.intervention)
            return download(found.html.encode(), view.run, _file(view, name, "html"), "text/html")
        page = _figure(answers, run, view, name).to_html(
            include_plotlyjs=True, config={"displaylogo": False, "toImageButtonOptions": {"format": "svg"}}
        )
        return download(page.encode(), view.run, _file(view, name, "html"), "text/html")

    @routed("/export/<name>.pdf")
    def figure_pdf(run: Run, view: View, name: str) -> Response:
        page = as_pdf(_figure(answers, run, view, name))
        return download(page, view.run, _file(view, name, "pdf"), "application/pdf")

    @routed("/export/<name>.<form>")
    def table_file(run: Run, view: View, name: str, form: str) -> Response:
        if form not in ("csv", "parquet"):
            raise SeriesError(f"there is no {name}.{form}: tables are {', '.join(TABLES)}, as csv or parquet.")
        found = to_take_along(answers.bench, answers.library, run, view, name)
        if form == "csv":
            return download(found.to_csv(index=False).encode(), view.run, _file(view, name, form), "text/csv")
        return download(found.to_parquet(index=False), view.run, _file(view, name, form), PARQUET)

    @routed("/circuitsvis")
    def circuitsvis(run: Run, view: View) -> Response:
        assert view.step is not None
        shown = patterns(run.series, [view.step], view.evaluator, view.sequence, view.intervention)
        layers = [view.head[0]] if view.head else range(run.series.config.model.n_layers)
        body = circuitsvis_element(shown, 0, layers, "attention")
        what = html.escape(f"{shown.what}. {shown.note}")
        page = (
            f"<!doctype html><html lang='en'><meta charset='utf-8'><title>attention</title><body style=\""
            f'font-family:{FONT};background:#fff;color:#222"><p>{what}</p>'
            f"<script src='circuitsvis.js?{_bundle()[1]}'></script>{body}</body></html>"
        )
        return Response(page, mimetype="text/html")

    @flask.route("/circuitsvis.js")
    def circuitsvis_js() -> Response:
        """Once: the address names the version, so the browser keeps it for good."""
        return Response(
            _bundle()[0], mimetype="text/javascript", headers={"Cache-Control": f"public, max-age={YEAR}, immutable"}
        )


@functools.cache
def _bundle() -> tuple[str, str]:
    """Circuitsvis' script and what names its version."""
    from importlib.metadata import version

    return circuitsvis_bundle(), version("circuitsvis")


def _figure(answers: Answers, run: Run, view: View, name: str) -> go.Figure:
    """A panel's figure, with what it shows written on it."""
    assert view.step is not None
    bench, model = answers.bench, run.series.config.model
    at = f"{view.run}, step {view.step:,} ({short(run.series.sequences_seen(view.step))} sequences)"
    done = f"; {view.intervention}" if view.intervention else "; intact"
    if name == "timeline":
        # As far as it is computed: a figure to take along does not start an hour's work.
        points = bench.known_curve(run, view.intervention) if view.intervention else None
        fig = timelines.timeline(run, view.axis, view.unit, view.step, view.intervention, points, 460)
        says = "as recorded, with 95% intervals"
        if points:
            says += f"; dashed: {view.intervention}, at {len(points.points):,} of {points.total:,} checkpoints"
        return _titled(fig, f"{view.run}: over training", says)
    if name == "effect":
        return figures.effects_figure(bench.effects(run, view.step, view.intervention), "This checkpoint", at + done)
    if name == "heads":
        grid = head_grid(bench, run, view)
        on = NAMES[view.evaluator] if grid.measure.on_evaluator else f"kind {view.kind}"
        n = next(iter(grid.values.values())).n if grid.values else 0
        return figures.heads_figure(grid, model.n_layers, model.n_heads, f"{at}; {on}; n = {n:,}{done}")
    if name == "attention":
        found = attention(bench, run, view)
        note = f"<br>{view.intervention.note}" if view.intervention else ""
        return figures.attention_figure(found, f"{at}; {found.what}{done}", view.head, note=note)
    if name == "logits":
        found = logit_view(bench, run, view)
        return _titled(figures.logits_figure(found), "Logits: what each part adds", f"{at}; {found.what}{done}")
    if name == "compare_attention":
        found = compare(bench, answers.library, run, view)
        if not found.aligned:
            raise SeriesError(
                "the two models have different heads or positions, so there is no difference of their patterns."
            )
        both = Attention(found.a.attention.what, found.a.attention.tokens, found.a.patterns, found.b.patterns)
        subtitle = f"A: {at}; B: {found.b.run.series.name}, step {found.b.step:,}; {both.what}{done}"
        note = f"<br>{found.caution}" if found.caution else ""
        return figures.attention_figure(both, subtitle, view.head, ("A", "B"), note)
    if name == "compare":
        found = compare(bench, answers.library, run, view)
        fig = timelines.two_timelines(found.a, found.b, view.unit, view.axis)
        return _titled(fig, "Compare", f"{at}; with {found.b.run.series.name}, step {found.b.step:,}")
    if name == "circuit":
        found = drawn_circuit(bench, run, view)
        assert found.effects is not None
        threshold, paths = view.threshold, found.paths
        return circuit_graph(found.effects, view.step, view.evaluator, threshold, paths, limit=found.limit)
    if name == "track":
        fig, says = track_picture(answers, run, view)
        return _titled(fig, f"{view.run}: {view.track.replace('_', ' ')} over training", says)
    if name == "seeds":
        return seed_picture(answers, run, view)
    known = "timeline, effect, heads, circuit, track, attention, logits, compare, compare_attention, seeds"
    raise SeriesError(f"there is no figure {name!r}: {known}.")


def _titled(fig: go.Figure, title: str, subtitle: str) -> go.Figure:
    text = f"<b>{html.escape(title)}</b><br><span style='font-size:12px;color:#555'>{html.escape(subtitle)}</span>"
    fig.update_layout(title={"text": text}, margin={"t": 96}, height=fig.layout.height + 60)  # type: ignore[attr-defined]
    return fig


def _file(view: View, name: str, form: str) -> str:
    return f"step{view.step}-{name}.{form}"
