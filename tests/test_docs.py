"""The documentation runs: the notebook as it is, and every command of the README."""

import functools
import re
import shlex
import shutil
from pathlib import Path

import nbclient
import nbformat
import pytest

import analyses
from mechicl import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def shell_lines() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.S)
    lines = [shlex.join(shlex.split(line, comments=True)) for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


COMMANDS = [line for line in shell_lines() if line.startswith("mechicl ")]


def verb(command: str) -> str:
    return shlex.split(command)[1]


def test_the_readme_shows_commands():
    assert {verb(c) for c in COMMANDS} == {"recipes", "show", "verify", "analyze", "report", "train", "densify", "app",
                                           "sweep", "features", "ablate", "measure"}  # fmt: skip
    assert {"make demo", "make test"} <= set(shell_lines())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_readme_command_parses(command, monkeypatch):
    """Each is a real command line: the parser accepts it and would run its verb."""
    seen = []

    def record(name):
        return lambda *args, **kwargs: seen.append(name)

    fresh = type(cli.app)()
    verbs = ("recipes", "train", "features", "sweep", "ablate", "measure", "analyze", "report", "densify", "verify",
             "show")  # fmt: skip
    for name in verbs:
        fresh.command(functools.wraps(getattr(cli, name))(record(name)))
    fresh.command(name="app")(functools.wraps(cli.open_app)(record("app")))
    monkeypatch.setattr(cli, "app", fresh)
    cli.main(shlex.split(command)[1:])
    assert seen == [verb(command)]


@pytest.mark.parametrize("command", [c for c in COMMANDS if verb(c) in ("recipes", "show", "verify")])
def test_readme_commands_that_look_run_on_the_demo(command, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    words = ["checkpoints/demo" if "demo-" in word else word for word in shlex.split(command)[1:]]
    cli.main(words)
    assert capsys.readouterr().out.strip()


def test_the_report_of_the_demo_runs_its_analyses(tmp_path, monkeypatch, capsys):
    made_here = shutil.ignore_patterns("analysis", "cache", "report.html")  # as the README's commands leave them
    shutil.copytree(ROOT / "checkpoints" / "demo", tmp_path / "demo", ignore=made_here)
    monkeypatch.chdir(tmp_path)
    cli.main(["report", "demo", "--quiet"])
    assert "report.html" in capsys.readouterr().out
    assert (tmp_path / "demo" / "report.html").stat().st_size < 8e6
    assert {path.stem for path in (tmp_path / "demo" / "analysis").glob("*.parquet")} == set(analyses.REPORTED)


def test_the_notebook_runs():
    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT / "docs")}}).execute()
    texts = [o.get("text", "") + str(o.get("data", "")) for c in notebook.cells for o in c.get("outputs", [])]
    assert any("Phases(" in t for t in texts)
