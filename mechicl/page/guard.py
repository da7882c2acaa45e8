"""Who is answered, and under which path.

A browser on this machine can be made to ask this app in the name of any page (DNS rebinding): such a request names a
foreign host. So a request must name this machine, a host that was allowed, or carry the token of the printed address.
Headers that a proxy adds (X-Forwarded-Host) admit nobody: that page could set them, too.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from flask import Flask, Response, request

from mechicl.errors import ConfigError
from mechicl.page.address import admits, bare, is_loopback, root_path
from mechicl.system.commands import command

HEALTH = "health"
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; frame-src 'self'; object-src 'none'; base-uri 'none'"
)  # plotly.js writes styles and compiles functions; nothing may come from elsewhere


@dataclass(frozen=True)
class Door:
    """Who may enter.

    token: admits whoever brings it. public: everyone must bring it, since others than this machine can ask.
    hosts: names other than this machine's that may be asked for without it. root: the path that a proxy puts before
    every request and may or may not take away.
    """

    token: str | None = None
    public: bool = False
    hosts: tuple[str, ...] = ()
    root: str = "/"


def guard(flask: Flask, door: Door) -> None:
    """Let a Flask app answer only what the door admits."""
    token = (door.token or "").encode()
    # Browsers keep one jar for all ports of a host: two apps must not overwrite one another's.
    cookie = "mechicl_" + hashlib.sha256(token).hexdigest()[:12]

    def is_token(given: str | None) -> bool:
        return bool(token and given) and hmac.compare_digest((given or "").encode(), token)

    @flask.before_request
    def check() -> Response | None:
        if not (is_token(request.args.get("token")) or is_token(request.cookies.get(cookie))):
            if door.public:
                if request.path != f"/{HEALTH}":
                    return _plain("Open the address with the token that `mechicl app` printed.", 401)
            elif not (is_loopback(bare(request.host)) or admits(door.hosts, bare(request.host))):
                return _plain(_stranger(bare(request.host)), 403)
        if request.view_args and "path" in request.view_args and request.endpoint == "/<path:path>":
            return _plain(_nowhere(request.path), 404)  # Dash would show its page, whose parts would be missing
        return None

    @flask.after_request
    def label(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        if is_token(request.args.get("token")):
            # Without a path a browser keeps to the page's own, whatever prefix it has there.
            response.set_cookie(cookie, token.decode(), path=None, httponly=True, samesite="Strict")
        return response


def _stranger(host: str) -> str:
    return (
        f"This app accepts only requests to names of this machine, but the request was to {host[:200]!r}. If that is "
        f"your proxy, start the app with {command('app', 'RUN', '--allow-host', host[:200])} (in a notebook "
        f"`mechicl.app(series, allow_hosts=[{host[:200]!r}])`), or open its address with the token that it printed."
    )


def _nowhere(path: str) -> str:
    return (
        f"There is nothing at {path[:200]!r}. If a proxy puts a prefix before the page's address and keeps it, name "
        f"the prefix: {command('app', 'RUN', '--root-path', path[:200])} (in a notebook "
        f"`mechicl.app(series, root_path={path[:200]!r})`)."
    )


def _plain(text: str, status: int) -> Response:
    return Response(text + "\n", status, mimetype="text/plain")


class UnderPrefix:
    """A WSGI app that also answers below a prefix, as where a proxy passes it on.

    The prefix is the one set, or what a proxy on this machine says in X-Forwarded-Prefix: the header only shortens
    a path, it opens nothing.
    """

    def __init__(self, app: Callable[..., Any], root: str):
        self._app, self._root = app, root

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        for root in (self._root, self._said(environ)):
            prefix = unquote(root.rstrip("/"), "latin-1")  # as WSGI writes paths
            if prefix and path == prefix:  # relative addresses need the slash
                query = environ.get("QUERY_STRING", "")
                there = root + (f"?{query}" if query else "")
                start("308 Permanent Redirect", [("Location", there), ("Content-Length", "0")])
                return []
            if prefix and path.startswith(prefix + "/"):
                environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + prefix
                environ["PATH_INFO"] = path[len(prefix) :]
                break
        return self._app(environ, start)

    def _said(self, environ: dict[str, Any]) -> str:
        said = environ.get("HTTP_X_FORWARDED_PREFIX", "")
        if not said or not is_loopback(environ.get("REMOTE_ADDR", "")):
            return "/"
        try:
            return root_path(said, 0)
        except ConfigError:
            return "/"
