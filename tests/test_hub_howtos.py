"""Every command of the how-tos 'Pythia' and 'publish' runs, against a hub on loopback (hub_server.py)."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from hub_server import TOKEN
from huggingface_hub import constants
from tiny_pythia import put

from mechicl import cli, open_series

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's, of its HTTP library


def commands(page: str) -> list[str]:
    text = (ROOT / "docs" / "howto" / f"{page}.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.S)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def run(line: str) -> None:
    """As a shell would: variables before the command count for it alone."""
    words = shlex.split(line)
    with pytest.MonkeyPatch.context() as patch:
        while "=" in words[0]:
            name, value = words.pop(0).split("=")
            patch.setattr(constants, name, value == "1")  # the hub's client has read its environment already
        assert words.pop(0) == "mechicl"
        cli.main([*words, "--quiet"] if words[0] in ("open", "report", "measure") else words)


@pytest.mark.slow
def test_pythia(hub, tmp_path, monkeypatch, capsys):
    put(hub, (0, 1, 512, 1000, 2000, 10_000, 20_000), tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    lines = commands("pythia")
    verbs = {re.findall(r"mechicl (\w+)", line)[0] for line in lines}
    assert {"open", "show", "verify", "ablate", "measure", "report"} <= verbs
    for line in lines:
        run(line)
    series = open_series("checkpoints/pythia")
    assert series.steps == [0, 1, 512, 1000, 10_000, 20_000]
    assert series.sequences_seen(1000) == 1_024_000
    assert series.manifest["source"]["cache"] == 2 * 10**9
    assert (tmp_path / "scores.csv").exists()
    assert (series.root / "report.html").exists()
    assert "all unchanged" in capsys.readouterr().out


@pytest.mark.slow
def test_publish(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)
    made_here = shutil.ignore_patterns("analysis", "cache", "report.html")
    shutil.copytree(ROOT / "checkpoints" / "demo", tmp_path / "checkpoints" / "demo", ignore=made_here)
    for line in commands("publish"):
        run(line)
    again, demo = open_series("checkpoints/demo-again"), open_series("checkpoints/demo")
    assert again.steps == demo.steps
    assert [e for e in again.entries if e.kind == "weights"] == [e for e in demo.entries if e.kind == "weights"]
    assert hub.repos["me/demo"].private
    assert "all unchanged" in capsys.readouterr().out
