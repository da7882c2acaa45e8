"""What the page asks of several runs together."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response

from mechicl.page.answers import Answers, told
from mechicl.page.replies import as_json, leaving, query
from mechicl.page.seed_panel import seeds_answer


def add_seed_routes(flask: Flask, answers: Answers) -> None:
    """Register the route on the app's Flask server."""

    @flask.route("/seeds")
    def seeds() -> Response:
        asked, left = query(), leaving()

        def compute() -> dict[str, Any]:
            return {"data": None} if left() else told("seeds", asked, lambda: seeds_answer(answers, asked))

        return as_json(answers.bench.turns.compute(compute))
