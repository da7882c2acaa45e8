"""The server: one process, loopback unless told otherwise, and then only with a token.

On loopback, requests must name a loopback host: a page elsewhere that points its own name at
this machine (DNS rebinding) is refused. Beyond loopback, every request needs the token that
the start-up line prints, once as `?token=`, from then on as a cookie. Responses carry a
content policy under which the browser itself would stop a request to any other machine.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

import dash
from flask import Flask, Response, request
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from mechicl.app.answers import Answers
from mechicl.app.callbacks import wire
from mechicl.app.layout import skeleton
from mechicl.app.routes import add_routes
from mechicl.app.runs import Library
from mechicl.app.view import Workbench
from mechicl.config import ConfigError
from mechicl.paths import given

PORT = 8050
HEALTH = "health"
_COOKIE = "mechicl_token"
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; frame-src 'self'; object-src 'none'; base-uri 'none'"
)  # plotly.js writes styles and compiles functions; nothing may come from elsewhere


class Server:
    """A running app. `url` opens it; `stop` ends it. In a notebook it shows itself."""

    def __init__(self, http: BaseWSGIServer, url: str, height: int = 900, ready: Callable[[], object] = bool):
        self._http, self.url, self.height = http, url, height
        self._thread: threading.Thread | None = None
        self._ready = threading.Thread(target=ready, name="mechicl-ready", daemon=True)

    def start(self) -> Server:
        """Serve from a thread of its own; returns self."""
        self._ready.start()
        self._thread = threading.Thread(target=self._http.serve_forever, name="mechicl-app", daemon=True)
        self._thread.start()
        return self

    def serve(self) -> None:
        """Serve until interrupted."""
        self._ready.start()
        try:
            self._http.serve_forever()
        finally:
            self._http.server_close()

    def stop(self) -> None:
        """End a server that `start` began, and free its port. A page that is still open is told so
        by its browser: connections that wait to be accepted are reset."""
        self._http.shutdown()
        if self._thread is not None:
            self._thread.join(5)
        self._http.server_close()

    def __repr__(self) -> str:
        return f"<mechicl app at {self.url}>"

    def _repr_html_(self) -> str:
        return f'<iframe src="{self.url}" style="width:100%;height:{self.height}px;border:0" title="mechicl"></iframe>'


def build(library: Library, default_run: str, bench: Workbench | None = None, token: str | None = None) -> dash.Dash:
    """The Dash app over a folder of runs.

    Args:
        library: the runs that it may show.
        default_run: which one a bare address opens.
        token: required of every request; None: requests must name a loopback host instead.
    """
    return _app(Answers(library, bench or Workbench(), default_run), token)


def _app(answers: Answers, token: str | None) -> dash.Dash:
    app = dash.Dash(
        __name__, title="mechicl", update_title="", serve_locally=True, health_endpoint=HEALTH,
        assets_folder=str(Path(__file__).parent / "assets"), enable_mcp=False,
    )  # fmt: skip
    app.layout = skeleton()
    wire(app, answers)
    flask: Flask = app.server  # type: ignore[assignment]
    add_routes(flask, answers)
    _guard(flask, token)
    return app


def open_server(
    run: Path, host: str = "127.0.0.1", port: int | None = None, bench: Workbench | None = None,
    height: int = 900,
) -> Server:  # fmt: skip
    """A server for a run and its neighbours, bound but not serving yet.

    Args:
        run: the run's directory; the others of its folder can be compared with.
        host: where to listen. Not loopback: a token is asked for.
        port: default 8050, or any free one if that is taken; 0 is any.

    Raises:
        SeriesError: the run cannot be opened. ConfigError: the address cannot be listened on.
    """
    named = given(run)
    name = named.name
    library = Library(named.parent, str(run.parent if run.name else named.parent), name)
    library.run(name)
    token = None if is_loopback(host) else secrets.token_urlsafe(24)
    answers = Answers(library, bench or Workbench(), name)
    app = _app(answers, token)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no line per request
    wanted = [PORT, 0] if port is None else [port]
    for i, each in enumerate(wanted):
        try:
            http = make_server(host, each, app.server, threaded=True, request_handler=_Handler)  # type: ignore[arg-type]
            break
        except (OSError, SystemExit) as error:  # werkzeug exits where a port is taken
            if i == len(wanted) - 1:
                raise ConfigError(f"cannot listen on {host}:{each}: it is taken or not this machine's. "
                                  "Choose another with --port, or --port 0 for any free one.") from error  # fmt: skip
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{http.server_port}/" + (f"?token={token}" if token else "")
    # Compiled loops load while the reader's browser starts, and the first page has its numbers.
    return Server(http, url, height, lambda: answers.to("ahead", ""))


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class _Handler(WSGIRequestHandler):
    """Answers at once, without waiting for more to send. Werkzeug closes a connection after each
    answer; servers that keep them open (waitress, cheroot) were within 0.7 of its 4.5 ms."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True


def _guard(flask: Flask, token: str | None) -> None:
    @flask.before_request
    def check() -> Response | None:
        if token is None:
            host = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdecimal() else request.host
            if is_loopback(host):
                return None
            return Response("This app answers on this machine's own address only.\n", 403, mimetype="text/plain")
        if request.path == f"/{HEALTH}":
            return None
        given = request.args.get("token") or request.cookies.get(_COOKIE) or ""
        if hmac.compare_digest(given.encode(), token.encode()):
            return None
        return Response("Open the address with the token that `mechicl app` printed.\n", 401, mimetype="text/plain")

    @flask.after_request
    def label(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        if token is not None and hmac.compare_digest(request.args.get("token", "").encode(), token.encode()):
            response.set_cookie(_COOKIE, token, httponly=True, samesite="Strict")
        return response

