"""Who is answered: this machine, allowed names, and whoever has the token; below a prefix or not."""

import pytest

from mechicl.page.guard import Door
from mechicl.page.server import build

PREFIX = "/user/jo%C3%A3o/proxy/8050/"
FORGED = {
    "X-Forwarded-Host": "127.0.0.1",
    "X-Forwarded-For": "127.0.0.1",
    "Forwarded": "host=localhost",
    "X-Forwarded-Prefix": PREFIX,
}


def client(library, **door):
    return build(library, "tiny", door=Door(**door)).server.test_client()


PATHS = ("/", "/answer/effect/0", "/_dash-layout", "/export/table.csv", "/assets/app.js", "/health")


@pytest.mark.parametrize("path", PATHS)
def test_a_foreign_name_is_refused_whatever_headers_it_brings(library, path):
    """DNS rebinding: the page of evil.example, in a browser on this machine, can set any of them."""
    for headers in ({}, FORGED):
        answer = client(library, token="s3cret").get(path, headers={"Host": "evil.example:8050"} | headers)
        assert answer.status_code == 403
        assert "--allow-host evil.example" in answer.text  # which setting lets it in
        assert "allow_hosts=['evil.example']" in answer.text


def test_allowed_names_and_the_token_are_let_in(library):
    asked = client(library, token="s3cret", hosts=("hub.example", ".lab.example"))
    for host in ("hub.example", "HUB.example:8443", "a.lab.example"):
        assert asked.get("/", headers={"Host": host}).status_code == 200
    assert asked.get("/", headers={"Host": "hub.example.evil"}).status_code == 403
    other = {"Host": "unknown.example"}
    for wrong in ("", "s3cre", "S3cret", "é"):
        assert asked.get("/", query_string={"token": wrong}, headers=other).status_code == 403
    first = asked.get("/?token=s3cret", headers=other)
    assert first.status_code == 200
    cookie = first.headers["Set-Cookie"]
    assert "Path" not in cookie  # the browser takes the page's own, with the proxy's prefix
    another = client(library, token="other").get("/?token=other").headers["Set-Cookie"]
    assert cookie.split("=")[0] != another.split("=")[0]  # two apps on a host's ports share its cookies
    assert asked.get("/answer/effect/0", headers={"Cookie": cookie.split(";")[0]} | other).status_code == 200


def test_no_token_admits_nobody(library):
    assert client(library).get("/?token=", headers={"Host": "evil.example"}).status_code == 403


def test_everything_is_answered_with_the_prefix_and_without(library):
    asked = client(library, root=PREFIX)
    for base in ("/", PREFIX):
        page = asked.get(base)
        assert page.status_code == 200
        assert 'src="./_dash-component-suites/' in page.text
        assert 'src="/' not in page.text
        assert 'href="/' not in page.text
        assert "mechicl-relative" not in page.text
        assert asked.get(base + "answer/effect/0?step=60").json["data"]
        assert asked.get(base + "_dash-layout").is_json
        assert asked.get(base + "assets/app.css", buffered=True).status_code == 200
    bare = asked.get(PREFIX.rstrip("/") + "?step=20")
    assert (bare.status_code, bare.headers["Location"]) == (308, PREFIX + "?step=20")


def test_a_proxy_on_this_machine_may_say_its_prefix(library):
    asked = client(library)
    said = {"X-Forwarded-Prefix": "/p/8050"}
    assert asked.get("/p/8050/answer/effect/0?step=60", headers=said).json["data"]
    assert asked.get("/answer/effect/0?step=60", headers=said).json["data"]
    far = {"REMOTE_ADDR": "10.0.0.9"}  # others may not
    assert asked.get("/p/8050/health", headers=said, environ_base=far).status_code == 404
    assert asked.get("//evil.example", headers={"X-Forwarded-Prefix": "//evil.example"}).status_code != 308


def test_an_unknown_prefix_names_its_setting(library):
    answer = client(library).get("/user/me/proxy/8050/")
    assert answer.status_code == 404
    assert "--root-path /user/me/proxy/8050/" in answer.text
