"""One file, whole or not at all, of the size asked for; it says what it leaves out."""

import json
import math
import re

import pytest

from mechicl import cli
from mechicl.errors import ConfigError, SeriesError
from mechicl.export import export
from mechicl.series import choosing


def data_of(path):
    return json.loads(re.search(r'id="data">(.*?)</script>', path.read_text())[1])


def test_everything_fits(known_series, tmp_path):
    path = export(known_series, tmp_path, progress=False)
    assert path == tmp_path / "page.html"
    data = data_of(path)
    assert data["steps"] == known_series.steps
    assert data["first"] == 5  # ICL's peak
    assert sorted(map(int, re.findall(r'id="w-(\d+)"', path.read_text()))) == known_series.steps
    assert export(known_series, tmp_path / "again.html", progress=False).read_bytes() == path.read_bytes()


def test_with_less_room_it_ships_fewer_checkpoints_and_says_so(tiny_series, tmp_path):
    whole = export(tiny_series, tmp_path / "all.html", progress=False)
    most = whole.stat().st_size - 20_000
    small = export(tiny_series, tmp_path / "some.html", max_mb=most / 1e6, progress=False)
    steps = data_of(small)["steps"]
    assert small.stat().st_size <= most
    assert 2 <= len(steps) < len(tiny_series.steps)
    assert {tiny_series.steps[0], tiny_series.steps[-1], data_of(small)["first"]} <= set(steps)
    assert f"{len(steps)} of {len(tiny_series.steps)} checkpoints" in " ".join(data_of(small)["without"])


def test_checkpoints_that_were_not_asked_for_are_said_too(tiny_series, tmp_path):
    asked = choosing.chosen(tiny_series, "0,20,60")
    said = " ".join(data_of(export(asked, tmp_path / "x.html", max_mb=math.inf, progress=False))["without"])
    assert f"3 of {len(tiny_series.steps)} checkpoints are in this file. The curves" in said
    assert "With Python and the run's folder, mechicl app RUN has them." in said


def test_fewer_sequences_are_said_and_float32_too(tiny_series, tmp_path):
    data = data_of(export(tiny_series, tmp_path / "x.html", n=20, progress=False))
    said = " ".join(data["without"])
    assert "of 20 sequences" in said
    assert "rounded to float16" in said
    assert {e["set"]["n"] for e in data["evaluators"]} == {20}
    assert data["size"] == " --n 20"


def test_what_cannot_be_is_said_before_anything_is_written(tiny_series, token_series, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="--max-mb"):
        export(tiny_series, tmp_path / "x.html", max_mb=0.01, progress=False)
    with pytest.raises(ConfigError, match="max_mb=-1"):
        export(tiny_series, tmp_path / "x.html", max_mb=-1, progress=False)
    monkeypatch.delattr("mechicl.tasks.text.batch.TokenBatch.shipped")
    with pytest.raises(ConfigError, match="cannot be exported"):
        export(token_series, tmp_path / "x.html", progress=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(SeriesError, match="--out FILE"):
        export(tiny_series, tmp_path / "file" / "x.html", progress=False)
    assert not list(tmp_path.glob("*.html"))


def test_the_command_says_where_it_is(known_series, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cli.main(["export", str(known_series.root), "--out", "page.html", "--steps", "0,5", "--quiet"])
    assert re.fullmatch(r"page\.html \(\d\.\d MB\): open it in a browser\.\n", capsys.readouterr().out)
    assert data_of(tmp_path / "page.html")["steps"] == [0, 5]
