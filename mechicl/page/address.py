"""Where a reader reaches the page: on this machine, on the network, or behind a notebook server's proxy.

The page itself only uses addresses relative to its own, so a proxy that strips its prefix needs no setting. What is
found out here is which address to frame or print, and which host names may be asked for.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from mechicl.errors import ConfigError

_HOST = re.compile(r"\.?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[?[0-9a-f:]+\]?", re.IGNORECASE)
_AWAY = (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6))  # addresses for documentation


@dataclass(frozen=True)
class Reach:
    """The page as seen through a proxy.

    root: the path that the page has there, '/user/x/proxy/8050/'. origin: 'https://hub.example', or '' where only the
    reader's browser knows it. hosts: names under which the proxy may ask for the page. via: the proxy's name.
    """

    root: str
    origin: str = ""
    hosts: tuple[str, ...] = ()
    via: str = "a proxy"


def root_path(given: str, port: int) -> str:
    """A prefix as it is used: with '/' at both ends, and the port in the place of '{port}'.

    Raises:
        ConfigError: it is not a path.
    """
    text = given.replace("{port}", str(port))
    parts = text.strip("/").split("/") if text.strip("/") else []
    if "//" in text or any(part in (".", "..") for part in parts) or re.search(r"[\\?#\s\x00-\x1f]", text):
        raise ConfigError(
            f"root path {given!r}: expected the path under which a proxy shows the page, "
            "such as /user/me/proxy/8050/ ('{port}' stands for the port)."
        )
    return "/" + "".join(quote(part, safe="%~@!$&'()*+,;=:") + "/" for part in parts)


def host_names(given: Iterable[str]) -> tuple[str, ...]:
    """Names that may be asked for, in lower case.

    Raises:
        ConfigError: one is not a host's name.
    """
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if not _HOST.fullmatch(name):
            raise ConfigError(
                f"host {name!r}: expected a name without scheme, port or path, such as hub.example.org "
                "or .example.org for every name under it."
            )
    return tuple(name.lower() for name in names)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def bare(host: str) -> str:
    """A Host header without its port, in lower case."""
    name, _, port = host.rpartition(":")
    return (name if port.isdecimal() else host).lower()


def admits(names: Iterable[str], host: str) -> bool:
    """Whether a name (without its port) is one of those allowed; '.example.org' allows all under it."""
    return any(host == name.lstrip(".") or (name.startswith(".") and host.endswith(name)) for name in names)


def detect(port: int, environ: Mapping[str, str] = os.environ) -> Reach | None:
    """The proxy that this process is most likely looked at through, or None.

    Colab, code-server and the like (VSCODE_PROXY_URI), GitHub's Codespaces, JupyterHub and Binder with
    jupyter-server-proxy.
    """
    colab = _colab(port)
    if colab:
        return _at(colab, "Colab")
    template = environ.get("VSCODE_PROXY_URI", "")
    if "{{port}}" in template:
        return _at(template.replace("{{port}}", str(port)), "the editor's proxy")
    name = environ.get("CODESPACE_NAME")
    if name and environ.get("CODESPACES") == "true":
        domain = environ.get("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN", "app.github.dev")
        return _at(f"https://{name}-{port}.{domain}/", "Codespaces")
    prefix = environ.get("JUPYTERHUB_SERVICE_PREFIX")
    if prefix:
        origin = environ.get("JUPYTERHUB_PUBLIC_URL") or environ.get("JUPYTERHUB_HOST") or ""
        found = urlsplit(origin if "://" in origin else "")
        via = "Binder" if environ.get("BINDER_SERVICE_HOST") or environ.get("BINDER_LAUNCH_HOST") else "JupyterHub"
        return _at(f"{found.scheme}://{found.netloc}" * bool(found.netloc) + f"{prefix.rstrip('/')}/proxy/{port}/", via)
    return None


def _at(url: str, via: str) -> Reach | None:
    """A proxy's address, taken apart; None where it is not one."""
    found = urlsplit(url if "://" in url else "/" + url.lstrip("./"))
    try:
        root = root_path(found.path or "/", 0)
        hosts = host_names([found.hostname] if found.hostname else [])
    except ConfigError:
        return None
    return Reach(root, f"{found.scheme}://{found.netloc}" if found.netloc else "", hosts, via)


def _colab(port: int) -> str:
    """The address that Colab gives a port, or ''. Only its own kernels have loaded its module."""
    output = getattr(sys.modules.get("google.colab"), "output", None) or sys.modules.get("google.colab.output")
    if output is None:
        return ""
    try:
        return str(output.eval_js(f"google.colab.kernel.proxyPort({port})") or "")
    except Exception:  # no page listens: a script, or a notebook that runs by itself
        return ""


def in_url(host: str) -> str:
    """A host as it stands in an address."""
    return f"[{host}]" if ":" in host else host


def openable(host: str) -> str:
    """A name or address at which others reach what listens on `host`: of 0.0.0.0 and ::, which are no
    address, this machine's own."""
    try:
        if not ipaddress.ip_address(host).is_unspecified:
            return host
    except ValueError:
        return host
    for address, family in _AWAY if host != "::" else _AWAY[::-1]:
        # Which of its addresses this machine would send from; nothing is sent.
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((address, 9))
                return probe.getsockname()[0]
        except OSError:
            continue
    return socket.gethostname()
