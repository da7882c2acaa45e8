"""Figures as files: every ending, and every refusal."""

import importlib.util
import sys
import xml.etree.ElementTree as ET
from io import BytesIO

import plotly.graph_objects as go
import pytest
from PIL import Image

import mechicl
from mechicl.errors import ConfigError
from mechicl.figures.save import PICTURES

FIGURE = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name="a line")).update_layout(title="A title", width=300, height=200)


def test_html_opens_offline_and_makes_its_folder(tmp_path):
    path = mechicl.save_figure(FIGURE, tmp_path / "new" / "x.html")
    text = path.read_text()
    assert path == tmp_path / "new" / "x.html"
    assert "A title" in text
    assert "<script src=" not in text
    assert len(text) > 3_000_000  # plotly itself
    assert [p.name for p in path.parent.iterdir()] == ["x.html"]


@pytest.mark.parametrize("name", ["x.gif", "x", "x.json"])
def test_another_ending_is_refused_by_name(tmp_path, name):
    with pytest.raises(ConfigError, match=r"a figure is saved as \.html, \.png, \.svg, \.pdf"):
        mechicl.save_figure(FIGURE, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_what_is_no_figure_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected a plotly figure to save, got dict"):
        mechicl.save_figure({"data": []}, tmp_path / "x.html")  # type: ignore[arg-type]


def test_without_kaleido_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(ConfigError, match=r"extra `figures`.*pip install 'kaleido.*\.html file does not need it"):
        mechicl.save_figure(FIGURE, tmp_path / "x.png")
    mechicl.save_figure(FIGURE, tmp_path / "x.html")


needs_kaleido = pytest.mark.skipif(importlib.util.find_spec("kaleido") is None, reason="kaleido is not installed")


@needs_kaleido
@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("ChromeNotFoundError", "Chrome or Chromium, and neither was found: install one"),
        ("BrowserFailedError", "the browser failed to draw the image: no display"),
    ],
)
def test_without_a_browser_the_error_says_what_to_install(tmp_path, monkeypatch, error, said):
    import kaleido
    import kaleido.errors

    def fails(*args, **kwargs):
        raise getattr(kaleido.errors, error)("no display")

    monkeypatch.setattr(kaleido, "calc_fig_sync", fails)
    with pytest.raises(ConfigError, match=said):
        mechicl.save_figure(FIGURE, tmp_path / "x.svg")
    assert not list(tmp_path.iterdir())


@needs_kaleido
@pytest.mark.parametrize("kind", [pytest.param(k, marks=[pytest.mark.slow] * (k not in ("png",))) for k in PICTURES])
def test_every_picture_of_a_real_browser(tmp_path, kind):
    try:
        path = mechicl.save_figure(FIGURE, tmp_path / f"x.{kind}", scale=2)
    except ConfigError as error:
        if "neither was found" in str(error):
            pytest.skip("there is no Chrome or Chromium")
        raise
    data = path.read_bytes()
    if kind == "svg":
        root = ET.fromstring(data)
        assert (root.get("width"), root.get("height")) == ("300", "200")
        assert "A title" in "".join(root.itertext())
    elif kind == "pdf":
        assert data.startswith(b"%PDF-")
    else:
        assert Image.open(BytesIO(data)).size == (600, 400)
