"""Behind a reverse proxy with a prefix the page loads, a head is clicked and its numbers come back."""

import http.client
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from reverse_proxy import Proxy

from mechicl.interventions import AblateHeads
from mechicl.page.server import open_server, show

PREFIX = "/user/jo%C3%A3o/proxy/8050/"
NAME = "hub.example"  # conftest's `elsewhere` finds this machine under it


def httpget(port: int, path: str) -> tuple[int, str]:
    """Status and text that a proxy answers to a request by its public name."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as asked:
        asked.request("GET", path, headers={"Host": f"{NAME}:{port}", "Connection": "close"})
        answer = asked.getresponse()
        return answer.status, answer.read().decode()


def use(one, series) -> None:
    """Every kind of request that the page makes."""
    page = one.open("?run=known")
    one.head(1, 2).click()
    one.check(series, 5, AblateHeads(heads=((1, 2),)))
    page.wait_for_selector("#timeline .scatterlayer")  # Dash's and plotly's own scripts
    page.get_by_role("button", name="circuitsvis").click()
    page.frame_locator("#circuitsvis iframe").get_by_text("Head Selector").wait_for()
    page.locator(".menu summary").click()
    with page.expect_download() as caught:
        page.locator('[data-export="table"][data-format="csv"]').click()
    assert "icl" in caught.value.path().read_text()
    page.locator('[data-set="run"]').select_option("tiny")  # another page, below the same prefix
    page.wait_for_function("document.title.startsWith('tiny')")
    page.wait_for_selector("#effect[data-shown]")
    assert PREFIX in page.url


@pytest.mark.parametrize(
    ("keep_host", "strip"),
    [
        pytest.param(True, False, id="host kept-kept"),
        pytest.param(False, True, id="host rewritten-stripped"),
        pytest.param(True, True, id="host kept-stripped", marks=pytest.mark.slow),
        pytest.param(False, False, id="host rewritten-kept", marks=pytest.mark.slow),
    ],
)
def test_the_page_works_below_a_prefix(stranger, folder, known_series, strip, keep_host):
    hosts = [NAME] if keep_host else []
    app = open_server(folder / "tiny", port=0, root="/" if strip else PREFIX, allow_hosts=hosts).start()
    try:
        with Proxy(urlsplit(app.local).port, PREFIX, strip, keep_host) as proxy:
            one = stranger(f"http://{NAME}:{proxy.port}{PREFIX}")
            use(one, known_series)
            one.page.close()
            assert proxy.strays == []
    finally:
        app.stop()


@pytest.mark.slow
def test_a_hub_that_keeps_its_host_is_let_in_by_the_frames_token(stranger, folder, known_series, monkeypatch):
    """Nothing is set: the surroundings name the prefix, the frame carries the token, a cookie keeps it."""
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/jo%C3%A3o/")
    app = show(folder / "tiny")
    try:
        port = urlsplit(app.local).port
        prefix = PREFIX.replace("8050", str(port))
        assert app.url.startswith(f"{prefix}?token=")
        assert f'src="{app.url}"' in app._repr_html_()
        with Proxy(port, prefix, True, True, {"X-Forwarded-Prefix": prefix}) as proxy:
            one = stranger(f"http://{NAME}:{proxy.port}{prefix}")
            status, said = httpget(proxy.port, prefix)  # without the token: which setting lets it in
            assert (status, "--allow-host hub.example" in said) == (403, True)
            page = one.open(urlsplit(app.url).query.join(("?", "&run=known")))
            one.head(1, 2).click()
            one.check(known_series, 5, AblateHeads(heads=((1, 2),)))
            page.wait_for_function("!location.search.includes('token')")  # not in a link that is copied
            cookie = one.context.cookies()[0]
            assert cookie["path"] == prefix.rstrip("/")  # no other user's page of this Hub is sent it
            page.close()
            assert proxy.strays == []
    finally:
        app.stop()
