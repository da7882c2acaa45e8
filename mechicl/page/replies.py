"""How the server replies: JSON for the page's script, files to take along, refusals as text."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable
from typing import Any

from flask import Response, request, send_file
from plotly.utils import PlotlyJSONEncoder

from mechicl.page.answers import Answers

_AT_ONCE = getattr(socket, "MSG_DONTWAIT", None)  # Windows has no such flag


def query() -> str:
    """The view that is asked about."""
    return request.query_string.decode("utf-8", "replace")


def leaving() -> Callable[[], bool]:
    """What says whether whoever asks now has closed the connection: what nobody reads need not be computed."""
    line = request.environ.get("werkzeug.socket")
    return (lambda: False) if line is None or _AT_ONCE is None else (lambda: _closed(line))


def _closed(line: socket.socket) -> bool:
    try:
        return line.recv(1, socket.MSG_PEEK | (_AT_ONCE or 0)) == b""
    except BlockingIOError:
        return False  # open, with nothing more to say
    except OSError:
        return True


def in_turn(answers: Answers, panel: str, answer: Callable[[Answers, str], dict[str, Any]]) -> Response:
    """What a panel asks for, computed when nobody waits for something shorter, and not if nobody waits for it any
    more. answer: of the answers and the view's query string."""
    asked = query()
    return as_json(answers.in_turn(panel, asked, lambda: answer(answers, asked), leaving()))


def as_json(found: dict[str, Any]) -> Response:
    """What the page's script gets: numbers of now, which no browser keeps."""
    body = json.dumps(found, cls=PlotlyJSONEncoder)
    return Response(body, mimetype="application/json", headers={"Cache-Control": "no-store"})


def refused(error: Exception) -> Response:
    """Why something that has an address of its own cannot be had."""
    return Response(f"{error}\n", 400, mimetype="text/plain")


def download(data: bytes, run: str, rest: str, kind: str) -> Response:
    """A file to take along, named after the run: `<run>-<rest>`."""
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in run)
    return send_file(io.BytesIO(data), mimetype=kind, as_attachment=True, download_name=f"{safe}-{rest}")
