"""What the server answers, to whom, and what it refuses: without a browser."""

import json
import re
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest

from mechicl import cli
from mechicl.errors import ConfigError, SeriesError
from mechicl.interventions import AblateHeads
from mechicl.page import answers as module
from mechicl.page import server
from mechicl.page.answers import PANELS, UNFORESEEN
from mechicl.page.guard import Door
from mechicl.page.layout import page, trouble
from mechicl.page.runs import Library
from mechicl.page.server import build, open_server
from mechicl.page.state import View
from mechicl.page.timelines import timeline
from mechicl.page.view import Chunk


@pytest.fixture
def client(library):
    return build(library, "tiny").server.test_client()


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_answers_as_plain_data(client, panel):
    answer = client.get(f"/answer/{panel}/0?step=60&heads=0.1&with_step=20&sequence=2")
    assert answer.status_code == 200
    assert list(answer.json) == ["data"]
    assert "Infinity" not in answer.text


@pytest.mark.parametrize("panel", PANELS)
def test_trouble_is_a_sentence(client, panel):
    assert client.get(f"/answer/{panel}/0?step=7").json["error"].startswith("tiny has no checkpoint at step 7")
    assert "'nothing'" in client.get("/answer/nothing/0").json["error"]


def test_what_nobody_foresaw_is_a_sentence_too_and_is_logged(answers, monkeypatch, caplog):
    monkeypatch.setattr(module.Answers, "effect", lambda self, query: 1 / 0)
    assert answers.to("effect", "") == {"error": UNFORESEEN}
    assert "ZeroDivisionError" in caplog.text


def test_the_page_has_a_button_for_every_head_and_an_element_for_every_number(answers):
    run, view = answers.view("?heads=0.1")
    text = json.dumps(page(answers.library, run, view), default=lambda c: c.to_plotly_json())
    for layer in (0, 1):
        for head in (0, 1):
            assert text.count(f'"head-{layer}-{head}"') == 1
    for name in ("icl", "flip", "ciwl", "iwl", "train"):
        for what in ("intact", "ablated", "change", "intact_ci", "n"):
            assert text.count(f'"{name}.{what}"') >= 1
    link = trouble("x", SimpleNamespace(names=lambda: ["a+b & c"])).children[3].children[0].children.href
    assert View.from_query(link).run == "a+b & c"
    assert "Runs in this folder" in json.dumps(trouble("x", answers.library), default=lambda c: c.to_plotly_json())


def test_figures_to_take_along(client):
    for name in ("timeline", "effect", "heads", "track", "attention", "logits", "compare", "compare_attention"):
        figure = client.get(f"/figure/{name}.json?step=60&heads=0.1")
        assert figure.status_code == 200, figure.text
        assert {"data", "layout"} <= set(figure.json)
        page = client.get(f"/export/{name}.html?step=60&heads=0.1")
        assert f"filename=tiny-step60-{name}.html" in page.headers["Content-Disposition"]
        assert "plotly.js v" in page.text
    assert "CircuitsVis.render" in client.get("/export/circuitsvis.html?step=60").text
    for wrong in ("/figure/nothing.json", "/export/nothing.html", "/export/table.exe", "/figure/effect.json?step=7"):
        answer = client.get(wrong)
        assert answer.status_code == 400
        assert answer.mimetype == "text/plain"
    assert "ablated" in client.get("/figure/attention.json?step=60&heads=0.1&head=1.0").text


def test_a_timeline_says_at_how_many_checkpoints_the_ablation_is_known(client):
    def title(query):
        return client.get(f"/figure/timeline.json?step=60{query}").json["layout"]["title"]["text"]

    assert "as recorded, with 95% intervals<" in title("")
    client.get("/answer/effect/0?step=60&heads=0.1")
    assert "; dashed: zero L0H1, at 1 of 9 checkpoints" in title("&heads=0.1")
    done = 0
    while done < 9:
        done = client.get(f"/answer/curve/{done}?step=60&heads=0.1").json["data"]["next"]
    assert "; dashed: zero L0H1, at 9 of 9 checkpoints" in title("&heads=0.1")


def test_attention_of_two_checkpoints_is_one_figure_where_they_have_a_difference(folder):
    client = build(Library(folder), "tiny").server.test_client()
    figure = client.get("/figure/compare_attention.json?step=60&with_step=20&head=1.0").json
    assert [x["text"] for x in figure["layout"]["annotations"]] == ["L1H0 A", "L1H0 B", "L1H0 B − A"]
    refused = client.get("/figure/compare_attention.json?step=60&with_run=known")
    assert refused.status_code == 400
    assert "no difference" in refused.text


def test_names_in_figures_are_escaped(answers, folder, hostile):
    run = Library(folder).run(hostile)
    client = build(Library(folder), "tiny").server.test_client()
    for name in ("timeline", "effect", "heads", "attention", "logits", "compare"):
        # Read, and not as sent: plotly's JSON writes "<" as an escape of its own.
        text = str(client.get(f"/figure/{name}.json", query_string={"run": hostile}).json)
        assert "<img" not in text, name
        assert "<script" not in text, name
        page = client.get(f"/export/{name}.html", query_string={"run": hostile})
        assert "<img src=x" not in page.text
        assert re.fullmatch(r"attachment; filename=[\w.-]+", page.headers["Content-Disposition"])
    assert run.series.name == hostile


def test_the_timeline_has_the_traces_that_the_page_relies_on(run):
    points = Chunk(1, 9, [(60, 960, dict.fromkeys(("icl", "flip", "ciwl", "iwl", "train"), 0.5))])
    for axis in ("log", "linear"):
        for unit in ("sequences", "steps"):
            fig = timeline(run, axis, unit, 20, AblateHeads(heads=((0, 1),)), points)
            assert len(fig.data) == 20
            assert [t.name for t in fig.data[2:15:3]] == ["ICL", "Flip", "CIWL", "IWL (full vocabulary)", "Train"]
            assert all(t.name.endswith(", ablated") for t in fig.data[15:])
            assert fig.data[15].x[0] == (60 if unit == "steps" else 960)
            assert fig.layout.shapes[0].x0 == (20 if unit == "steps" else 320)
            assert fig.layout.xaxis.type == axis
            assert list(fig.data[2].y) == run.curve("icl").value.tolist()


def test_only_this_machine_is_answered_by_name(client):
    assert client.get("/health").status_code == 200
    for host in ("127.0.0.1:8050", "localhost", "[::1]:8050"):
        assert client.get("/", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "evil.example:8050", "127.0.0.1.evil.example", "10.0.0.1"):
        answer = client.get("/", headers={"Host": host})
        assert answer.status_code == 403
        assert "this machine" in answer.text


def test_beyond_this_machine_a_token_is_asked_for(library):
    app = build(library, "tiny", door=Door(token="s3cret", public=True)).server
    stranger, friend = app.test_client(), app.test_client()
    for path in ("/", "/answer/effect/0", "/export/table.csv", "/_dash-layout", "/circuitsvis.js", "/?token=wrong"):
        assert stranger.get(path).status_code == 401
    assert stranger.get("/health").status_code == 200
    first = friend.get("/?token=s3cret")
    assert first.status_code == 200
    cookie = first.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "data" in friend.get("/answer/effect/0?step=60").json


def test_the_browser_is_told_to_ask_nobody_else(client):
    headers = client.get("/").headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert "*" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "cdn" not in client.get("/").text


def test_open_serve_and_stop(tiny_series):
    running = open_server(tiny_series.root, port=0).start()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", running.url)
    with urllib.request.urlopen(running.url + "health") as answer:
        assert answer.status == 200
    assert running.url in running._repr_html_()
    with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1:"):
        open_server(tiny_series.root, port=int(running.url.rstrip("/").rsplit(":", 1)[1]))
    running.stop()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(running.url + "health")


def test_another_host_prints_an_address_that_can_be_opened(tiny_series, capsys, monkeypatch):
    nothing = lambda *args, **kwargs: SimpleNamespace(server_port=1234)  # noqa: E731
    with monkeypatch.context() as patched:  # nothing listens beyond this machine in a test
        patched.setattr(server, "make_server", nothing)
        patched.setattr(server, "openable", lambda host: "192.168.7.5" if host == "0.0.0.0" else host)
        opened = open_server(tiny_series.root, host="0.0.0.0", port=0)
        assert re.fullmatch(r"http://192\.168\.7\.5:1234/\?token=[\w-]{20,}", opened.url)
        assert opened.local == opened.url.replace("192.168.7.5", "127.0.0.1")
        assert "every address of this machine" in opened.note
        assert str(tiny_series.root.parent) in opened.note  # what others can look at
        opened = open_server(tiny_series.root, host="::", port=0)
        assert opened.local.startswith("http://[::1]:1234/?token=")
        opened = open_server(tiny_series.root, host="10.0.0.7", port=0)
        assert opened.url.startswith("http://10.0.0.7:1234/?token=")
    monkeypatch.setattr(server.Server, "serve", lambda self: self._http.server_close())
    cli.main(["app", str(tiny_series.root), "--port", "0", "--no-browser"])
    assert re.search(r"is open at http://127\.0\.0\.1:\d+/ ", capsys.readouterr().out)


def test_the_command_line_takes_a_proxys_settings(tiny_series, capsys, monkeypatch):
    doors = []
    monkeypatch.setattr(
        server, "_app", lambda answers, door, *others: doors.append(door) or SimpleNamespace(server=None)
    )
    monkeypatch.setattr(server.Server, "serve", lambda self: self._http.server_close())
    run = ["app", str(tiny_series.root), "--port", "0", "--no-browser"]
    cli.main([*run, "--root-path", "/user/me/proxy/{port}/", "--allow-host", "hub.example", ".lab.example"])
    port = int(re.search(r"proxy/(\d+)/", doors[0].root)[1])
    assert doors[0].root == f"/user/me/proxy/{port}/"
    assert doors[0].hosts == ("hub.example", ".lab.example")
    out = capsys.readouterr().out
    assert f"is open at /user/me/proxy/{port}/ " in out
    assert f"On this machine: http://127.0.0.1:{port}/" in out
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/me/")
    cli.main(run)
    assert re.fullmatch(r"/user/me/proxy/\d+/", doors[1].root)  # found out
    cli.main([*run, "--root-path", "/"])
    assert doors[2].root == "/"  # unless told otherwise
    for wrong in (["--root-path", "https://x/"], ["--allow-host", "*"]):
        with pytest.raises(SystemExit):
            cli.main([*run, *wrong])
        assert "expected" in capsys.readouterr().err


def test_a_notebooks_cell_run_again_shows_the_same_server(tiny_series):
    import mechicl

    first = mechicl.app(tiny_series)
    again = mechicl.app(tiny_series, height=500)
    try:
        assert again is first
        assert "height:500px" in again._repr_html_()
        other = mechicl.app(tiny_series, allow_hosts=["hub.example"])  # other settings: one server still
        assert other is not first
        assert not first.running
        other.stop()
        last = mechicl.app(tiny_series, allow_hosts=["hub.example"])  # that was stopped by hand
        assert last is not other
        assert last.running
        last.stop()
    finally:
        for one in (first, again):
            if one.running:
                one.stop()


def test_a_folder_that_is_no_run_is_one_message(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["app", str(tmp_path / "nothing"), "--no-browser"])
    assert stopped.value.code == 2
    assert "not a run of this folder" in capsys.readouterr().err
    with pytest.raises(SeriesError):
        open_server(tmp_path)


def test_a_port_that_cannot_be_is_refused(tiny_series):
    """The system took it modulo 65,536."""
    with pytest.raises(ConfigError, match="--port 99999: expected a port, 1 to 65535"):
        open_server(tiny_series.root, port=99999)
