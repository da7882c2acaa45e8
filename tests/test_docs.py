"""The documentation runs: the notebook as it is, the commands of the README and of users' pages, how-tos' examples."""

import functools
import re
import shlex
import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import nbclient
import nbformat
import pytest

import analyses
from mechicl import cli
from mechicl.series import open_series

ROOT = Path(__file__).parents[1]
_spec = spec_from_file_location("site_hooks", ROOT / "docs" / "site_hooks.py")
site_hooks = module_from_spec(_spec)
_spec.loader.exec_module(site_hooks)
README = (ROOT / "README.md").read_text()


def shell_lines(text: str = README) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.S)
    lines = [shlex.join(shlex.split(line, comments=True)) for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


COMMANDS = [line for line in shell_lines() if line.startswith("mechicl ")]
HOW_TOS = sorted((ROOT / "docs" / "howto").glob("*.md"))
PAGES = [*HOW_TOS, *(ROOT / "docs" / f"{name}.md" for name in ("index", "features", "sweeps", "interventions"))]
SHOWN = sorted({line for page in PAGES for line in shell_lines(page.read_text()) if line.startswith("mechicl ")})


def verb(command: str) -> str:
    return shlex.split(command)[1]


def test_the_readme_shows_commands():
    assert {verb(c) for c in COMMANDS} == {
        "recipes",
        "show",
        "verify",
        "analyze",
        "report",
        "train",
        "densify",
        "app",
        "sweep",
        "features",
        "ablate",
        "measure",
        "open",
        "publish",
        "branch",
        "export",
    }
    assert {"make demo", "make test"} <= set(shell_lines())


@pytest.mark.parametrize("command", [*COMMANDS, *(line for line in SHOWN if line not in COMMANDS)])
def test_every_command_parses(command, monkeypatch):
    """Each is a real command line: the parser accepts it and would run its verb."""
    seen = []

    def record(name):
        return lambda *args, **kwargs: seen.append(name)

    fresh = type(cli.app)()
    renamed = {"app": cli.open_app, "open": cli.open_checkpoints}
    for group, commands in cli.app.groups.items():
        for name in commands:
            function = renamed[name] if name in renamed else getattr(cli, name)
            fresh.command(group, name=name)(functools.wraps(function)(record(name)))
    monkeypatch.setattr(cli, "app", fresh)
    cli.main(shlex.split(command)[1:])
    assert seen == [verb(command)]


def test_examples_of_branches_of_the_demo_need_no_replay():
    """It was trained on another machine: a replay comes to other bytes."""
    steps = open_series(ROOT / "checkpoints" / "demo").steps
    lines = [*COMMANDS, *SHOWN, *re.findall(r"\$ (mechicl .*)", f"{cli.branch.__doc__}\n{cli.densify.__doc__}")]
    of_demo = [words for line in lines if "checkpoints/demo" in (words := shlex.split(line))]
    branches = [words for words in of_demo if words[1] == "branch"]
    assert len(branches) >= 7
    for words in branches:
        assert int(words[words.index("--at") + 1]) in steps, words
        assert "--fresh-moments" in words
    assert not [words for words in of_demo if words[1] == "densify"]


@pytest.mark.parametrize("command", [c for c in COMMANDS if verb(c) in ("recipes", "show", "verify")])
def test_readme_commands_that_look_run_on_the_demo(command, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    words = ["checkpoints/demo" if "demo-" in word else word for word in shlex.split(command)[1:]]
    cli.main([*dict.fromkeys(words)])  # several seeds of demo are this one, which cannot be given twice
    assert capsys.readouterr().out.strip()


@pytest.mark.slow
def test_the_report_of_the_demo_runs_its_analyses(tmp_path, monkeypatch, capsys):
    made_here = shutil.ignore_patterns("analysis", "cache", "report.html")  # as the README's commands leave them
    shutil.copytree(ROOT / "checkpoints" / "demo", tmp_path / "demo", ignore=made_here)
    monkeypatch.chdir(tmp_path)
    cli.main(["report", "demo", "--quiet"])
    assert "report.html" in capsys.readouterr().out
    assert (tmp_path / "demo" / "report.html").stat().st_size < 8e6
    assert {path.stem for path in (tmp_path / "demo" / "analysis").glob("*.parquet")} == set(analyses.REPORTED)


@pytest.mark.parametrize("page", HOW_TOS, ids=lambda page: page.stem)
def test_the_examples_of_how_tos_run(page, tmp_path, monkeypatch):
    """The Python of each how-to, from its first block to its last, beside a copy of the demo's series."""
    made_here = shutil.ignore_patterns("analysis", "cache", "report.html")
    shutil.copytree(ROOT / "checkpoints" / "demo", tmp_path / "checkpoints" / "demo", ignore=made_here)
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.S))
    exec(compile(code, page.name, "exec"), {})


def test_the_sweep_of_branches_in_its_howto_runs(tmp_path, monkeypatch, capsys):
    """Its file and its commands, and the tree that it shows."""
    page = (ROOT / "docs" / "howto" / "branches.md").read_text()
    (tmp_path / "family.toml").write_text(*re.findall(r"```toml\n(.*?)```", page, flags=re.S))
    monkeypatch.chdir(tmp_path)
    said = {}
    for line in (line for line in shell_lines(page) if "family" in line and verb(line) != "app"):
        cli.main([*shlex.split(line)[1:], *(["--quiet"] if verb(line) == "sweep" else [])])
        said[verb(line)] = capsys.readouterr().out
    assert set(said) == {"sweep", "show", "verify"}
    (drawn,) = (block for block in re.findall(r"```text\n(.*?)```", page, flags=re.S) if "├─" in block)
    assert drawn in said["show"]
    assert "12 runs" in said["verify"]


def test_the_command_line_page_has_every_verb():
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text()
    verbs = [name for commands in cli.app.groups.values() for name in commands]
    assert re.findall(r"^## (\w+)$", page, flags=re.M)[1:] == re.findall(r"<!-- help: (\w+) -->", page)
    assert sorted(re.findall(r"<!-- help: (\w+) -->", page)) == sorted(verbs)
    filled = site_hooks.filled(page)
    assert "<!--" not in filled
    assert "--resume RUN" in filled
    assert "\x1b" not in filled


def test_pages_that_docstrings_name_are_links():
    shown = site_hooks.linked("see docs/references.md#ih4, docs/none.md", "../../")
    assert shown == 'see <a href="../../references/#ih4">docs/references.md#ih4</a>, docs/none.md'


def test_links_of_notebooks_lead_to_the_pages_of_the_site():
    link = '<a class="x" href="references.md#flip-alone">why</a> <a href="https://a.b/c.md">other</a>'
    shown = site_hooks.followed(link)
    assert shown == '<a class="x" href="../references/#flip-alone">why</a> <a href="https://a.b/c.md">other</a>'


@pytest.mark.slow
def test_the_notebook_runs():
    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT / "docs")}}).execute()
    texts = [o.get("text", "") + str(o.get("data", "")) for c in notebook.cells for o in c.get("outputs", [])]
    assert any("Phases(" in t for t in texts)
