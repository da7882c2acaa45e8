"""What the page asks of several runs together."""

from __future__ import annotations

import json
import logging

from flask import Flask, Response, request
from plotly.utils import PlotlyJSONEncoder

from mechicl.errors import ConfigError, SeriesError
from mechicl.page.answers import UNFORESEEN, Answers
from mechicl.page.seed_panel import seeds_answer

_log = logging.getLogger(__name__)


def add_seed_routes(flask: Flask, answers: Answers) -> None:
    """Register the route on the app's Flask server."""

    @flask.route("/seeds")
    def seeds() -> Response:
        query = request.query_string.decode("utf-8", "replace")
        try:
            found = {"data": seeds_answer(answers, query)}
        except (SeriesError, ConfigError) as error:
            found = {"error": str(error)}
        except Exception:
            _log.exception("answering seeds for %r failed", query)
            found = {"error": UNFORESEEN}
        body = json.dumps(found, cls=PlotlyJSONEncoder)
        return Response(body, mimetype="application/json", headers={"Cache-Control": "no-store"})
