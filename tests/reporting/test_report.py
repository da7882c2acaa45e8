"""The report is one page that opens offline, says what the analyses say, and lets no name break out."""

import dataclasses
import html
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import CHROMIUM
from known_models import induction_model
from known_series import rise_and_fall, write_series

import analyses
from mechicl.errors import SeriesError
from mechicl.figures.attention import circuitsvis_bundle, show_attention
from mechicl.figures.style import short
from mechicl.reporting.report import render, report
from mechicl.series import open_series


class Page(HTMLParser):
    """What a browser would see: elements, what they ask for, the text of each kind of element."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.asks: list[str] = []
        self.text: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._open.append(tag)
        self.asks += [v for k, v in attrs if k in ("src", "href", "srcset", "data", "action", "poster", "srcdoc")]
        self.text.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if self._open:
            self.text[self._open[-1]][-1] += data


def browse(path: Path, profile: Path) -> tuple[str, str]:
    """The page's elements after its scripts ran, and what the browser logged. No network: no name resolves."""
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --virtual-time-budget=20000 --enable-logging=stderr "
        "--host-resolver-rules=MAP*~NOTFOUND --dump-dom"
    ).replace("MAP*~", "MAP * ~")
    arguments = re.split(r" (?=--)", flags)
    done = subprocess.run(
        [CHROMIUM, *arguments, f"--user-data-dir={profile}", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=os.environ | {"HOME": str(profile)},
    )
    return done.stdout, done.stderr


def quiet(log: str) -> bool:
    """No script failed, and none asked for anything: every name would have failed to resolve."""
    return not any(word in log for word in ("Uncaught", "ERR_NAME_NOT_RESOLVED", "Failed to load resource"))


@pytest.fixture(scope="module")
def written(tiny_series, tmp_path_factory):
    """A copy of the tiny series, with its report."""
    root = tmp_path_factory.mktemp("report") / "tiny"
    shutil.copytree(tiny_series.root, root)
    series = open_series(root)
    return series, report(series, progress=False)


@pytest.fixture(scope="module")
def text(written) -> str:
    return written[1].read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def found(tiny_series):
    return {name: analyses.get(name)(tiny_series, progress=False) for name in analyses.REPORTED}


def test_it_lies_in_the_run_beside_the_tables(written):
    series, path = written
    assert path == series.root / "report.html"
    assert 5_000_000 < path.stat().st_size < 8 * 2**20
    assert {p.stem for p in (series.root / "analysis").glob("*.parquet")} == set(analyses.REPORTED)


def test_it_asks_for_nothing(text):
    page = Page(text)
    assert page.asks == []
    assert not {"link", "iframe", "img", "object", "base"} & set(page.tags)
    assert "@import" not in "".join(page.text["style"])
    assert "url(" not in "".join(page.text["style"])
    for script in page.text["script"]:
        if len(script) < 1_000_000:  # ours; the two bundles are the libraries'
            assert "http:" not in script
            assert "https:" not in script


def test_each_library_is_there_once(text):
    scripts = Page(text).text["script"]
    assert sum(len(s) > 1_000_000 for s in scripts) == 2
    assert text.count(circuitsvis_bundle()) == 1
    assert sum("plotly.js v" in s for s in scripts) == 1


def test_every_figure_and_every_sentence_of_the_analyses_is_in_it(text, found):
    figures = sum(len(f.figures) for f in found.values())
    assert figures >= 12
    assert re.findall(r'id="(figure-\d+)"', text) == [f"figure-{i}" for i in range(figures)]
    assert text.count("Plotly.newPlot(") - text.count("Plotly.newPlot(n") >= figures
    items = [html.unescape(x) for x in re.findall(r"<li>(.*?)</li>", text)]
    for findings in found.values():
        for line in findings.text:
            assert line in items, line
    headings = [html.unescape(x) for x in re.findall(r"<h2>(.*?)</h2>", text)]
    assert len(headings) == 6
    assert {found[n].question for n in analyses.REPORTED if n != "transience"} <= set(headings)


def test_the_phase_table_and_the_summary(tmp_path):
    series = rise_and_fall(tmp_path / "known")
    text = report(series, tmp_path / "elsewhere.html", progress=False).read_text()
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    cells = [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in rows]
    assert cells[0] == ["evaluator", "chance", "onset", "peak at", "peak", "half-decay", "final"]
    flip = series.curve("flip")[1]
    onset = short(40 * (0.75 - flip[0]) / (1 - flip[0]))
    assert cells[2] == ["Flip", "0.500", onset, "40", "1.000", "50", "0.000"]
    assert cells[4] == ["IWL (full vocabulary)", "0.062", "61", "80", "1.000", "–", "1.000"]
    assert len(cells) == 6
    lead = html.unescape(re.findall(r"<p class=\"lead\">(.*?)</p>", text)[0])
    for words in (
        "2 layers, 4 heads, width 128, attention only; 16 classes x 4 exemplars of 24 Gaussian features, "
        "of norm 1 as made",
        "2 pairs per sequence",
        "80 training sequences, 3 checkpoints, init seed 0.",
    ):
        assert words in lead
    assert "not finished" not in text
    assert not (series.root / "report.html").exists()
    assert text.count("CircuitsVis.render(") - circuitsvis_bundle().count("CircuitsVis.render(") == 3


def test_it_is_the_same_page_every_time(written, text, found):
    series, _ = written
    again = {name: analyses.get(name)(series, progress=False) for name in analyses.REPORTED}
    assert render(series, again) == text
    assert render(series, found) == text  # the folder's place does not show


def test_a_run_in_progress_says_so(tmp_path):
    config, circuit = induction_model()
    series = write_series(tmp_path / "begun", config, {0: circuit})
    text = report(series, progress=False).read_text()
    assert "<b>This run is not finished.</b>" in text


def test_a_run_without_metrics_is_refused(tmp_path):
    series = write_series(tmp_path / "empty", induction_model()[0], {})
    with pytest.raises(SeriesError, match="has no metrics yet: `mechicl train --resume"):
        report(series, progress=False)
    assert not (series.root / "report.html").exists()


@pytest.fixture(scope="module")
def hostile(tiny_series, tmp_path_factory):
    """A run whose folder's name is markup."""
    root = tmp_path_factory.mktemp("names") / "<img src=x onerror=alert(1)><script>alert(2)<&quot;'\"`${x}"
    shutil.copytree(tiny_series.root, root)
    series = open_series(root)
    return series, report(series, root.parent / "page.html", progress=False)


def test_a_runs_name_is_text_and_nothing_else(hostile, text):
    series, path = hostile
    page, plain = Page(path.read_text()), Page(text)
    assert page.tags == plain.tags  # no element more
    assert page.asks == []
    assert page.text["h1"] == [series.name]
    assert page.text["title"] == [f"{series.name} | mechicl"]
    for script in page.text["script"]:
        if len(script) < 1_000_000:
            assert "<img" not in script
            assert "<script" not in script


def test_it_prints_nothing_and_shows_no_bar(tiny_series, tmp_path, capfd, found, monkeypatch):
    monkeypatch.setattr("analyses.get", lambda name: lambda series, progress: found[name])
    shutil.copytree(tiny_series.root, tmp_path / "tiny")
    report(open_series(tmp_path / "tiny"), progress=False)
    assert capfd.readouterr() == ("", "")


needs_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason="no chromium here")


@needs_chromium
@pytest.mark.slow
def test_in_a_browser_every_figure_is_drawn(written, text, tmp_path):
    dom, log = browse(written[1], tmp_path / "profile")
    drawn = len(re.findall(r'class="[^"]*js-plotly-plot', dom))
    assert drawn == len(re.findall(r'id="figure-\d+"', text)) >= 12
    assert len(re.findall(r'<svg class="main-svg"', dom)) >= drawn
    assert dom.count("Head Selector") - circuitsvis_bundle().count("Head Selector") == 3  # onset, peak, end
    for head in ("L0H0", "L0H1", "L1H0", "L1H1"):
        assert dom.count(head) > text.count(head)
    assert quiet(log), log


@needs_chromium
@pytest.mark.slow
def test_in_a_browser_a_hostile_name_runs_nothing(hostile, tmp_path):
    dom, log = browse(hostile[1], tmp_path / "profile")
    assert "js-plotly-plot" in dom
    assert "<img" not in re.sub(r"<script.*?</script>", "", dom, flags=re.S)
    assert quiet(log), log


@needs_chromium
def test_in_a_browser_the_attention_view_shows_its_heads_and_runs_no_class_name(tiny_series, tmp_path, monkeypatch):
    name = "</script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    bank = dataclasses.replace(tiny_series.bank, names=(name,) * 12)
    monkeypatch.setattr("mechicl.series.Series.source", property(lambda self: bank))
    path = show_attention(tiny_series, 60, "flip", sequence=0).save(tmp_path / "view.html")
    dom, log = browse(path, tmp_path / "profile")
    body = re.sub(r"<script.*?</script>", "", dom, flags=re.S)
    assert "Head Selector" in body
    assert all(f"L{la}H{h}" in body for la in (0, 1) for h in (0, 1))
    assert "<canvas" in body
    assert "<img" not in body
    assert re.search("<title>(.*?)</title>", dom)[1] == "attention"
    assert quiet(log), log
