"""The server: one process, loopback unless told otherwise, and then only with a token.

On loopback, requests must name this machine or a host that was allowed (guard.py). Beyond loopback, every request needs
the token that the start-up line prints, once as `?token=`, from then on as a cookie. Responses carry a content policy
under which the browser itself would stop a request to any other machine.
"""

from __future__ import annotations

import html
import logging
import secrets
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import dash
from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from mechicl.errors import ConfigError
from mechicl.page.address import Reach, detect, host_names, in_url, is_loopback, openable, root_path
from mechicl.page.answers import Answers
from mechicl.page.branch_routes import add_branch_routes
from mechicl.page.branches import Branches, place_for
from mechicl.page.callbacks import wire
from mechicl.page.circuit_routes import add_circuit_routes
from mechicl.page.guard import HEALTH, Door, UnderPrefix, guard
from mechicl.page.jobs import Jobs
from mechicl.page.layout import skeleton
from mechicl.page.measured import end
from mechicl.page.routes import add_routes
from mechicl.page.runs import Library
from mechicl.page.seed_routes import add_seed_routes
from mechicl.page.sharing import add_page_route
from mechicl.page.view import Workbench
from mechicl.system.paths import given

PORT = 8050
_HERE = "/.mechicl-relative/"  # stands in Dash's page for the page's own address


class Server:
    """A running app. `url` opens it for its reader, `local` on this machine; `stop` ends it. In a notebook it shows
    itself."""

    def __init__(
        self,
        http: BaseWSGIServer,
        url: str,
        height: int = 900,
        ready: Callable[[], object] = bool,
        local: str = "",
        note: str = "",
        jobs: Jobs | None = None,
    ):
        self._http = http
        self.url: str = url
        self.height: int = height
        self.local: str = local or url
        self.note: str = note
        self._jobs = jobs
        self._thread: threading.Thread | None = None
        self._ready = threading.Thread(target=ready, name="mechicl-ready", daemon=True)

    def start(self) -> Server:
        """Serve from a thread of its own; returns self."""
        self._ready.start()
        self._begin_jobs()
        self._thread = threading.Thread(target=self._http.serve_forever, name="mechicl-app", daemon=True)
        self._thread.start()
        return self

    def serve(self) -> None:
        """Serve until interrupted: the process then ends."""
        self._ready.start()
        self._begin_jobs()
        try:
            self._http.serve_forever()
        finally:
            self._end_jobs()
            self._http.server_close()
            end()

    def stop(self) -> None:
        """End a server that `start` began, and free its port. A page that is still open is told so
        by its browser: connections that wait to be accepted are reset."""
        self._end_jobs()
        self._http.shutdown()
        if self._thread is not None:
            self._thread.join(5)
        self._http.server_close()

    def _begin_jobs(self) -> None:
        if self._jobs is not None:
            self._jobs.begin()  # what an earlier server left unfinished

    def _end_jobs(self) -> None:
        if self._jobs is not None:
            self._jobs.end()

    @property
    def running(self) -> bool:
        """Whether it still answers."""
        return self._thread is not None and self._thread.is_alive()

    def __repr__(self) -> str:
        return f"<mechicl app at {self.url}>"

    def _repr_html_(self) -> str:
        said = f'<p style="margin:4px 0;font:12px sans-serif;color:#666">{html.escape(self.note)}</p>'
        note = said if self.note else ""
        return (
            f'<iframe src="{html.escape(self.url)}" style="width:100%;height:{self.height}px;border:0" '
            f'title="mechicl" allow="clipboard-write"></iframe>{note}'
        )


def build(library: Library, default_run: str, bench: Workbench | None = None, door: Door | None = None) -> dash.Dash:
    """The Dash app over a folder of runs.

    Args:
        library: the runs that it may show.
        default_run: which one a bare address opens.
        door: who is answered; default: requests that name a loopback host.
    """
    answers = Answers(library, bench or Workbench(), default_run)
    return _app(answers, door or Door(), Jobs(place_for(library.folder)))


class _Page(dash.Dash):
    """A page whose parts are found from its own address, under whatever prefix a proxy shows it."""

    def interpolate_index(self, **kwargs: str) -> str:
        page = super().interpolate_index(**kwargs).replace("<html>", '<html lang="en">', 1)  # Dash names no language
        return page.replace(_HERE, "./").replace(_HERE.replace("/", "\\u002f"), "./")  # in addresses and in JSON


def _app(answers: Answers, door: Door, jobs: Jobs) -> dash.Dash:
    app = _Page(
        __name__,
        title="mechicl",
        update_title="",
        serve_locally=True,
        health_endpoint=HEALTH,
        assets_folder=str(Path(__file__).parent / "assets"),
        enable_mcp=False,
        routes_pathname_prefix="/",
        requests_pathname_prefix=_HERE,
    )
    app.layout = skeleton()
    wire(app, answers)
    flask: Flask = app.server  # type: ignore[assignment]
    add_routes(flask, answers)
    add_seed_routes(flask, answers)
    add_circuit_routes(flask, answers)
    add_page_route(flask, answers)
    add_branch_routes(flask, answers, Branches(answers.library, jobs))
    guard(flask, door)
    flask.wsgi_app = UnderPrefix(flask.wsgi_app, door.root)  # type: ignore[method-assign]
    return app


def open_server(
    run: Path,
    host: str = "127.0.0.1",
    port: int | None = None,
    bench: Workbench | None = None,
    height: int = 900,
    root: str | None = None,
    allow_hosts: Iterable[str] = (),
    device: str | None = None,
    out: Path | None = None,
    together: Iterable[Path] = (),
) -> Server:
    """A server for a run and its neighbours, bound but not serving yet.

    Args:
        run: the run's directory; the others of its folder can be compared with.
        host: where to listen. Not loopback: a token is asked for.
        port: default 8050, or any free one if that is taken; 0 is any.
        root: the path under which a proxy shows the page, '/user/me/proxy/{port}/'; default: found out where the
            surroundings tell (`address.detect`), else none. '/' is none.
        allow_hosts: host names, other than this machine's, under which a proxy asks for the page.
        device: where runs are evaluated (`open_series`).
        out: where branches are put (default: beside the run, or in the user's cache folder).
        together: the runs, of the same folder, that are shown together with it, such as other seeds.

    Raises:
        SeriesError: the run cannot be opened.
        ConfigError: the address cannot be listened on, or a setting is none.
    """
    if root is not None:
        root_path(root, 0)  # before anything is opened
    hosts = host_names(allow_hosts)
    named = given(run)
    name = named.name
    library = Library(named.parent, name, device, tuple(given(each).name for each in together))
    library.run(name)
    answers = Answers(library, bench or Workbench(), name)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no line per request
    http = _listen(host, port)
    public = not is_loopback(host)
    if root is not None:
        reach = Reach(root_path(root, http.server_port))
    else:
        reach = (None if public else detect(http.server_port)) or Reach("/")
    door = Door(secrets.token_urlsafe(24), public, (*hosts, *reach.hosts), reach.root)
    jobs = Jobs(place_for(library.folder, out))
    http.app = _app(answers, door, jobs).server
    # Compiled loops load while the reader's browser starts, and the first page has its numbers.
    return Server(
        http,
        height=height,
        jobs=jobs,
        ready=lambda: answers.to("ahead", ""),
        **_addresses(library, host, http.server_port, reach, door),
    )


def _listen(host: str, port: int | None) -> BaseWSGIServer:
    if port is not None and not 0 <= port <= 65535:
        raise ConfigError(f"--port {port}: expected a port, 1 to 65535; 0 means any free port.")
    wanted = [PORT, 0] if port is None else [port]
    for each in wanted:
        try:  # the app follows, once the port is known
            return make_server(host, each, lambda environ, start: [], threaded=True, request_handler=_Handler)
        except (OSError, SystemExit) as error:  # werkzeug exits where a port is taken
            if each == wanted[-1]:
                raise ConfigError(
                    f"cannot listen on {host}:{each}: the port is taken, or the address is not this "
                    "machine's. Choose another with --port; 0 means any free port."
                ) from error
    raise AssertionError("one of them has returned or raised")


def _addresses(library: Library, host: str, port: int, reach: Reach, door: Door) -> dict[str, str]:
    """url: for the reader; local: on this machine; note: what should be said beside them."""
    unspecified = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    local = f"http://{in_url(unspecified.get(host, host))}:{port}/" + (f"?token={door.token}" if door.public else "")
    if reach.root != "/" or reach.origin:
        known = bool(door.hosts) and not door.public
        url = reach.origin + reach.root + ("" if known else f"?token={door.token}")
        where = "" if reach.origin else ", below the address at which you see it"
        note = f"Through {reach.via}{where}. On this machine: {local}"
        if reach.via in ("JupyterHub", "Binder"):
            note += ". If the page stays empty, the Hub's server lacks jupyter-server-proxy: `pip install` it there."
        return {"url": url, "local": local, "note": note}
    if not door.public:
        return {"url": local, "local": local, "note": ""}
    where = "every address of this machine" if host in unspecified else host
    note = (
        f"It listens on {where}. Anyone who can reach this machine and has the address with its token can see "
        f"every run in {library.folder}. On this machine: {local}"
    )
    return {"url": f"http://{in_url(openable(host))}:{port}/?token={door.token}", "local": local, "note": note}


# What notebooks show, by run: an address is of this process alone.
_shown: dict[Path, tuple[tuple[Any, ...], Server]] = {}


def show(
    run: Path,
    height: int = 900,
    port: int = 0,
    root: str | None = None,
    allow_hosts: Iterable[str] = (),
    device: str | None = None,
) -> Server:
    """A server for a notebook's run: the one that this process has, else a new one.

    With other settings the one that there was is stopped first, so that no run has two. Args as `open_server`.
    """
    run, settings = run.resolve(), (port, root, host_names(allow_hosts), device)
    known = _shown.get(run)
    if known is not None and known[1].running:
        if known[0] == settings:
            known[1].height = height
            return known[1]
        known[1].stop()
    server = open_server(run, port=port, height=height, root=root, allow_hosts=settings[2], device=device).start()
    _shown[run] = settings, server
    return server


class _Handler(WSGIRequestHandler):
    """Answers at once, without waiting for more to send. Werkzeug closes a connection after each
    answer; servers that keep them open (waitress, cheroot) were within 0.7 of its 4.5 ms."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
