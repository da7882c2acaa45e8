"""What the page hands out that takes seconds: 'Export page', the file that `mechicl export` writes, and figures as
PDF."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import plotly.graph_objects as go
from dash import html
from dash.development.base_component import Component
from flask import Flask, Response

from mechicl.errors import ConfigError, SeriesError
from mechicl.figures.save import save_figure
from mechicl.page.answers import Answers
from mechicl.page.controls import data
from mechicl.page.replies import download, query, refused
from mechicl.page.runs import Run
from mechicl.registry import EVALUATORS

_one = threading.Lock()  # a file takes seconds, and tens of megabytes or a browser: one after the other


def hindrance(run: Run) -> str:
    """Why a run cannot be exported, or ''."""
    from mechicl.export.shape import check_series

    try:
        check_series(run.series)
        for name in run.shown:
            run.sets[name][:1].shipped(run.series.config.model, EVALUATORS[name].primary_metric)
    except (ConfigError, SeriesError) as error:
        return str(error)
    return ""


def page_entry(run: Run) -> Component:
    """The entry of the Export menu; it cannot be clicked where the run cannot be exported, and says why."""
    why = hindrance(run)
    title = why or "Write one HTML file that opens without Python (takes some seconds)"
    button = html.Button(
        "HTML", id="export-page-button", disabled=bool(why), title=title, **data(export="page", format="html")
    )
    return html.Div([html.Span("Export page, works without Python"), button], id="export-page", title=title)


def add_page_route(flask: Flask, answers: Answers) -> None:
    """Register the download on the app's Flask server."""

    @flask.route("/export/page.html")
    def page() -> Response:
        try:
            run, view = answers.view(query())
            return download(written(run), view.run, "page.html", "text/html")
        except (SeriesError, ConfigError) as error:
            return refused(error)


def written(run: Run) -> bytes:
    """What `mechicl export` writes of a run.

    Raises:
        ConfigError, SeriesError: as `mechicl.export.export`.
    """
    from mechicl.export import export

    with _one, tempfile.TemporaryDirectory() as folder:
        return export(run.series, Path(folder) / "page.html", progress=False).read_bytes()


def as_pdf(figure: go.Figure) -> bytes:
    """A figure as a browser beside the server draws it.

    Raises:
        ConfigError: kaleido or a browser is missing, or the browser failed.
    """
    with _one, tempfile.TemporaryDirectory() as folder:
        return save_figure(figure, Path(folder) / "figure.pdf").read_bytes()
