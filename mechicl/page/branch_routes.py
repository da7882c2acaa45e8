"""What the page asks of branches. Reading is a GET; what starts, ends or deletes something is a POST of JSON with a
header of our own, which a page of another site cannot send."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request

from mechicl.errors import ConfigError
from mechicl.page.answers import Answers, told
from mechicl.page.branches import Branches
from mechicl.page.replies import as_json, query

HEADER = "X-Mechicl"


def add_branch_routes(flask: Flask, answers: Answers, branches: Branches) -> None:
    """Register the routes on the app's Flask server."""

    def reply(answer: Callable[[], dict[str, Any]]) -> Response:
        return as_json(told(request.path, query(), answer))

    @flask.before_request
    def only_our_page() -> Response | None:
        if request.method == "POST" and request.path.startswith("/branches/") and request.headers.get(HEADER) != "1":
            return Response("This is for the page itself.\n", 403, mimetype="text/plain")
        return None

    @flask.route("/branches")
    def listed() -> Response:
        return reply(lambda: branches.listed(answers.view(query())[0]))

    @flask.route("/branches/family")
    def family() -> Response:
        return reply(lambda: branches.family(answers.view(query())[0]))

    @flask.route("/branches/base")
    def base() -> Response:
        """What the page's script knows of its run, again: a run that is trained has grown."""
        return reply(lambda: answers.base(query()))

    @flask.route("/branches/start", methods=["POST"])
    def start() -> Response:
        what = request.get_json(silent=True)
        if not isinstance(what, dict):
            return reply(lambda: _refuse("expected a JSON object."))
        return reply(lambda: branches.start(*answers.view(query()), what))

    @flask.route("/branches/act/<verb>", methods=["POST"])
    def act(verb: str) -> Response:
        what = request.get_json(silent=True)
        name = what.get("name") if isinstance(what, dict) else None
        return reply(lambda: branches.act(str(name), verb))


def _refuse(why: str) -> dict[str, Any]:
    raise ConfigError(why)
