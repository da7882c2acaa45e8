"""A reverse proxy on loopback, as JupyterHub, code-server and nginx put one before a port."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


class Proxy:
    """Forwards what comes below `prefix` to a port of this machine; everything else is 404, as where other people's
    pages live.

    strip: take the prefix away. keep_host: pass the browser's Host on, else this machine's. headers: what it adds.
    `strays`: paths that were asked for outside of the prefix.
    """

    def __init__(self, port: int, prefix: str, strip: bool, keep_host: bool, headers: dict[str, str] | None = None):
        proxy = self
        self.strays: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                if not self.path.startswith(prefix):
                    proxy.strays.append(self.path)
                    self.send_error(404)
                    return
                path = "/" + self.path.removeprefix(prefix) if strip else self.path
                kept = {k: v for k, v in self.headers.items() if k.lower() not in ("connection", "host")}
                kept |= {"Host": self.headers["Host"] if keep_host else f"127.0.0.1:{port}"} | (headers or {})
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                try:
                    upstream.request(self.command, path, body or None, kept)
                    answer = upstream.getresponse()
                    content = answer.read()
                finally:
                    upstream.close()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = forward

            def log_message(self, *args: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = False  # `server_close` waits for them, so that every connection is closed
            held: ClassVar[list[socket.socket]] = []

            def process_request(self, request: socket.socket, address: object) -> None:
                self.held.append(request)
                super().process_request(request, address)

            def handle_error(self, request: object, address: object) -> None:
                pass  # a browser that closed its page

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.port = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._http.shutdown()
        self._thread.join(5)
        for connection in self._http.held:  # what a browser keeps open
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._http.server_close()
