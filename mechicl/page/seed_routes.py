"""What the page asks of several runs together."""

from __future__ import annotations

from flask import Flask, Response

from mechicl.page.answers import Answers
from mechicl.page.replies import in_turn
from mechicl.page.seed_panel import seeds_answer


def add_seed_routes(flask: Flask, answers: Answers) -> None:
    """Register the route on the app's Flask server."""

    @flask.route("/seeds")
    def seeds() -> Response:
        return in_turn(answers, "seeds", seeds_answer)
