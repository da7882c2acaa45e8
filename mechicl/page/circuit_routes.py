"""What the page asks about circuits, and about measures over training."""

from __future__ import annotations

from flask import Flask, Response

from mechicl.page.answers import Answers, told
from mechicl.page.circuit_panel import circuit_answer
from mechicl.page.replies import as_json, query
from mechicl.page.track_panel import track_answer


def add_circuit_routes(flask: Flask, answers: Answers) -> None:
    """Register the routes on the app's Flask server."""

    @flask.route("/circuit")
    def circuit() -> Response:
        return as_json(told("circuit", query(), lambda: circuit_answer(answers, query())))

    @flask.route("/track")
    def track() -> Response:
        return as_json(told("track", query(), lambda: track_answer(answers, query())))
