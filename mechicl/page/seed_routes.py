"""What the page asks of several runs together."""

from __future__ import annotations

from flask import Flask, Response

from mechicl.page.answers import Answers, told
from mechicl.page.replies import as_json, query
from mechicl.page.seed_panel import seeds_answer


def add_seed_routes(flask: Flask, answers: Answers) -> None:
    """Register the route on the app's Flask server."""

    @flask.route("/seeds")
    def seeds() -> Response:
        return as_json(told("seeds", query(), lambda: seeds_answer(answers, query())))
