"""The documentation runs: the notebook as it is, and every command of the README."""

import re
import shlex
from pathlib import Path

import pytest

from mechicl.cli import app, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def shell_lines() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.S)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


COMMANDS = [line for line in shell_lines() if line.startswith("mechicl ")]
QUICK = [c for c in COMMANDS if not c.startswith(("mechicl train", "mechicl densify"))]


def test_the_readme_shows_commands():
    assert len(COMMANDS) >= 8
    assert {"make demo", "make test"} <= set(shell_lines())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_readme_command_parses(command, monkeypatch):
    """Each is a real command line: tyro accepts it, up to running the verb."""
    seen = []
    monkeypatch.setattr(
        "mechicl.cli.app", type(app)(), raising=True
    )
    import mechicl.cli as cli

    fresh = cli.app
    for function in (cli.recipes, cli.train, cli.analyze, cli.report, cli.densify, cli.verify, cli.show):
        import functools

        def record(*args, _name=function.__name__, **kwargs):
            seen.append(_name)

        fresh.command(functools.wraps(function)(record))
    main(shlex.split(command)[1:])
    assert seen == [shlex.split(command)[1]]


@pytest.mark.parametrize("command", [c for c in QUICK if "report" not in c and "analyze" not in c])
def test_readme_commands_run_on_the_demo(command, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    if "demo-s" in command:
        command = "mechicl show checkpoints/demo checkpoints/demo"
    main(shlex.split(command)[1:])
    assert capsys.readouterr().out.strip()


@pytest.mark.slow
def test_the_notebook_runs():
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT / "docs")}}).execute()
    texts = [o.get("text", "") + str(o.get("data", "")) for c in notebook.cells for o in c.get("outputs", [])]
    assert any("induction" in t or "Phases(" in t for t in texts)
