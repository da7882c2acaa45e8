"""What the page asks about circuits, and about measures over training."""

from __future__ import annotations

from flask import Flask, Response

from mechicl.page.answers import Answers
from mechicl.page.circuit_panel import circuit_answer
from mechicl.page.replies import in_turn
from mechicl.page.track_panel import track_answer


def add_circuit_routes(flask: Flask, answers: Answers) -> None:
    """Register the routes on the app's Flask server."""

    @flask.route("/circuit")
    def circuit() -> Response:
        return in_turn(answers, "circuit", circuit_answer)

    @flask.route("/track")
    def track() -> Response:
        return in_turn(answers, "track", track_answer)
