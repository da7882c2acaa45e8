"""Which address a reader is given, and which host names are let in."""

import socket
import sys
from types import SimpleNamespace

import pytest

from mechicl.errors import ConfigError
from mechicl.page.address import Reach, admits, bare, detect, host_names, is_loopback, openable, root_path


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/user/me/proxy/{port}/", "/user/me/proxy/8050/"),
        ("user/me", "/user/me/"),
        ("/", "/"),
        ("", "/"),
        ("/user/João/", "/user/Jo%C3%A3o/"),
        ("/user/a%40b/", "/user/a%40b/"),
    ],
)
def test_a_root_path_has_slashes_at_both_ends(given, path):
    assert root_path(given, 8050) == path


@pytest.mark.parametrize(
    "given", ["https://hub.example/x/", "//evil.example/", "/a/../b/", "/a?b", "/a#b", "a b", "\\x", "/a\n"]
)
def test_what_is_no_path_is_refused(given):
    with pytest.raises(ConfigError, match=r"expected the path under which a proxy shows the page"):
        root_path(given, 8050)


def test_names_of_hosts():
    assert host_names(["Hub.Example", ".lab.example", "10.0.0.1", "::1"]) == (
        "hub.example",
        ".lab.example",
        "10.0.0.1",
        "::1",
    )
    assert host_names("hub.example") == ("hub.example",)  # one, not its letters
    for wrong in ("*", "https://hub.example", "hub.example:8050", "hub/x", "", "a b"):
        with pytest.raises(ConfigError, match="expected a name without scheme, port or path"):
            host_names([wrong])
    allowed = host_names(["hub.example", ".lab.example"])
    assert all(admits(allowed, host) for host in ("hub.example", "lab.example", "a.b.lab.example"))
    assert not any(admits(allowed, h) for h in ("a.hub.example", "evillab.example", "hub.example.evil", ""))
    assert [bare(h) for h in ("Hub.example:80", "[::1]:8050", "[::1]", "x")] == ["hub.example", "[::1]", "[::1]", "x"]


@pytest.mark.parametrize(
    ("environ", "reach"),
    [
        ({}, None),
        ({"JUPYTERHUB_SERVICE_PREFIX": "/user/me/"}, Reach("/user/me/proxy/8050/", via="JupyterHub")),
        (
            {"JUPYTERHUB_SERVICE_PREFIX": "/user/a%40b/", "JUPYTERHUB_PUBLIC_URL": "https://hub.example/user/a%40b/"},
            Reach("/user/a%40b/proxy/8050/", "https://hub.example", ("hub.example",), "JupyterHub"),
        ),
        (
            {"JUPYTERHUB_SERVICE_PREFIX": "/user/repo-x1/", "BINDER_LAUNCH_HOST": "https://mybinder.org/"},
            Reach("/user/repo-x1/proxy/8050/", via="Binder"),
        ),
        (
            {"VSCODE_PROXY_URI": "https://code.example/proxy/{{port}}/"},
            Reach("/proxy/8050/", "https://code.example", ("code.example",), "the editor's proxy"),
        ),
        (
            {"VSCODE_PROXY_URI": "https://x-{{port}}.code.example"},
            Reach("/", "https://x-8050.code.example", ("x-8050.code.example",), "the editor's proxy"),
        ),
        ({"VSCODE_PROXY_URI": "./proxy/{{port}}"}, Reach("/proxy/8050/", via="the editor's proxy")),
        ({"VSCODE_PROXY_URI": "https://no port/"}, None),
        (
            {"CODESPACES": "true", "CODESPACE_NAME": "tidy-owl"},
            Reach("/", "https://tidy-owl-8050.app.github.dev", ("tidy-owl-8050.app.github.dev",), "Codespaces"),
        ),
    ],
)
def test_the_surroundings_tell_where_the_page_is(environ, reach):
    assert detect(8050, environ) == reach


def test_colab_is_asked_for_its_address(monkeypatch):
    asked = []
    output = SimpleNamespace(eval_js=lambda code: asked.append(code) or "https://8050-gpu-1-colab.example/")
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace(output=output))
    assert detect(8050, {}) == Reach("/", "https://8050-gpu-1-colab.example", ("8050-gpu-1-colab.example",), "Colab")
    assert asked == ["google.colab.kernel.proxyPort(8050)"]
    output.eval_js = lambda code: 1 / 0  # no page there to ask
    assert detect(8050, {}) is None


class Probe:
    """A socket of a machine with one address, on one kind of network."""

    def __init__(self, family, kind):
        assert kind == socket.SOCK_DGRAM  # connecting one sends nothing
        self.family = family

    def __enter__(self):
        return self

    def __exit__(self, *args):
        pass

    def connect(self, address):
        if self.family != socket.AF_INET:
            raise OSError("no route")

    def getsockname(self):
        return "192.168.7.5", 1


def test_every_address_is_no_address(monkeypatch):
    assert openable("192.168.7.5") == "192.168.7.5"
    assert openable("box.lab") == "box.lab"
    monkeypatch.setattr(socket, "socket", Probe)
    assert openable("0.0.0.0") == openable("::") == "192.168.7.5"
    monkeypatch.setattr(Probe, "connect", lambda self, address: (_ for _ in ()).throw(OSError("offline")))
    assert openable("0.0.0.0") == socket.gethostname()


@pytest.mark.parametrize(
    ("host", "yes"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("192.168.1.5", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_what_counts_as_this_machine(host, yes):
    assert is_loopback(host) == yes
