"""'Export page': what `mechicl export` writes, from the page's menu."""

from __future__ import annotations

from dash import html

from mechicl.export import export
from mechicl.page.runs import Library
from mechicl.page.server import build
from mechicl.page.sharing import hindrance, page_entry


def button(run) -> html.Button:
    entry = page_entry(run)
    return next(child for child in entry.children if isinstance(child, html.Button))


def test_the_download_is_what_the_command_writes(library, run, tmp_path):
    client = build(library, "tiny").server.test_client()
    answer = client.get("/export/page.html?run=tiny&step=20", headers={"Host": "127.0.0.1"})
    assert answer.status_code == 200
    assert "tiny-page.html" in answer.headers["Content-Disposition"]
    assert answer.data == export(run.series, tmp_path / "page.html", progress=False).read_bytes()
    assert not button(run).disabled
    assert sorted(p.name for p in run.series.root.iterdir() if p.suffix == ".html") == []


def test_a_run_that_cannot_be_exported_does_not_offer_it_and_says_why(token_series, monkeypatch):
    monkeypatch.delattr("mechicl.tasks.text.batch.TokenBatch.shipped")
    library = Library(token_series.root.parent)
    run = library.run(token_series.root.name)
    assert button(run).disabled
    assert "cannot be exported" in button(run).title
    answer = (
        build(library, run.series.name).server.test_client().get("/export/page.html", headers={"Host": "127.0.0.1"})
    )
    assert answer.status_code == 400
    assert answer.text == hindrance(run) + "\n"
