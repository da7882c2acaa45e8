"""What a user names is settled once: absolute, home expanded, links as they were named."""

import ast
import importlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mechicl import open_series, report, train
from mechicl.config import BankConfig
from mechicl.errors import ConfigError
from mechicl.series.verify import verify
from mechicl.sweeps.plan import read_plan
from mechicl.system.files import write_json
from mechicl.system.paths import given, name_of, shown
from mechicl.training.ensemble import train_seeds

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home folder, and a working directory beside it."""
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def test_every_way_to_name_a_folder(home):
    work = home.parent / "work"
    assert given("~") == home
    assert given("~/runs/a") == home / "runs" / "a"
    assert given(".") == given("") == work
    assert given("a") == given(Path("a")) == given("./a") == given(work / "a") == work / "a"
    assert given("..") == home.parent
    assert given("../home/./x") == home / "x"
    assert given("a~b") == work / "a~b"


def test_links_keep_their_name_and_what_is_above_one_is_above_what_it_leads_to(home):
    (home / "deep" / "run").mkdir(parents=True)
    Path("link").symlink_to(home / "deep" / "run")
    assert given("link").name == "link"
    assert given("link/..") == home / "deep"
    assert given("link/../run") == home / "deep" / "run"


def test_an_unknown_user_and_a_deleted_directory(home, monkeypatch):
    with pytest.raises(ConfigError, match=r"~nobody-of-that-name/x.*\./~nobody-of-that-name/x"):
        given("~nobody-of-that-name/x")
    Path("gone").mkdir()
    monkeypatch.chdir("gone")
    (home.parent / "work" / "gone").rmdir()
    with pytest.raises(ConfigError, match="was deleted"):
        given("x")
    assert given(home) == home
    assert shown(home) == str(home)


def test_paths_are_shown_as_they_can_be_typed_from_here(home):
    work = home.parent / "work"
    assert shown(work / "checkpoints" / "demo") == "checkpoints/demo"
    assert shown(home) == str(home)


def test_a_name_reads_the_same_in_every_locale(tmp_path):
    assert name_of(tmp_path / "été") == "été"
    latin = os.fsdecode(b"\xe9t\xe9")
    assert name_of(tmp_path / latin) == "\ufffdt\ufffd"


# Through the door.


def test_a_notebook_may_change_its_directory(tiny_series, home, monkeypatch):
    shutil.copytree(tiny_series.root, "run")
    series, here = open_series("run"), Path.cwd()
    monkeypatch.chdir(home)
    assert len(series.metrics) == len(tiny_series.metrics) > 0
    assert series.weights(20).keys() == tiny_series.weights(20).keys()
    assert series.params([10, 20]).keys() == tiny_series.params([10, 20]).keys()
    assert open_series(series.root).root == here / "run"
    monkeypatch.chdir(here / "run")
    assert open_series(".").name == "run"
    assert open_series("weights/..").name == "run"
    assert verify(".") == []


def test_home_is_home_wherever_a_path_is_given(tiny_config, home):
    root = train(tiny_config, "~/runs/a", progress=False).root
    assert root == home / "runs" / "a"
    assert open_series("~/runs/a").steps == open_series(root).steps
    runs = train_seeds(tiny_config, [3], "~/runs/b", jobs=1, progress=False)
    assert [series.root for series in runs] == [home / "runs" / "b-s3"]
    assert verify("~/runs/b-s3") == []
    shutil.copy(ROOT / "research" / "sweeps" / "dimension.toml", home / "mine.toml")
    assert read_plan("~/mine.toml").name == "mine"
    assert list(Path.cwd().iterdir()) == []  # no folder called ~


def test_the_report_goes_where_it_was_told(tiny_series, home, monkeypatch):
    monkeypatch.setattr(importlib.import_module("mechicl.reporting.report"), "render", lambda series, found: "page")
    monkeypatch.setattr("analyses.reported", lambda: [])
    assert report(tiny_series, "~/page.html", progress=False) == home / "page.html"
    (home / "folder").mkdir()
    assert report(tiny_series, "~/folder", progress=False) == home / "folder" / "report.html"
    assert list(Path.cwd().iterdir()) == []


def test_a_run_behind_a_link_has_the_links_name(tiny_series, home):
    Path("mine").symlink_to(tiny_series.root)
    series = open_series("mine")
    assert series.name == "mine"
    assert set(series.metrics.run) == {"mine"}
    assert series.weights(20).keys() == tiny_series.weights(20).keys()


def test_where_images_are_is_kept_whole_and_old_runs_open(tiny_copy, home, monkeypatch):
    def told(recorded) -> object:
        write_json(tiny_copy.root / "manifest.json", tiny_copy.manifest | {"data": recorded})
        return open_series(tiny_copy.root).data

    assert told(None) is None
    assert told("images") == home.parent / "work" / "images"
    assert told(str(home)) == home
    assert told("~nobody-of-that-name") is told(7) is None  # a stranger's; read only where images are needed
    assert open_series(tiny_copy.root, "~/images").data == home / "images"


def test_a_run_records_the_whole_path_of_its_data(tiny_config, home, monkeypatch):
    bank = tiny_config.bank
    sizes = bank.n_classes + bank.n_holdout_classes, bank.n_exemplars + bank.n_holdout_exemplars, bank.dim
    np.save("mine.npy", np.random.default_rng(0).normal(size=sizes))
    of_file = BankConfig(
        kind="file",
        n_classes=bank.n_classes,
        n_exemplars=bank.n_exemplars,
        n_holdout_classes=bank.n_holdout_classes,
        n_holdout_exemplars=bank.n_holdout_exemplars,
        dim=bank.dim,
    )
    series = train(replace(tiny_config, bank=of_file), "run", data="mine.npy", progress=False)
    assert series.manifest["data"] == str(home.parent / "work" / "mine.npy")


def test_every_file_is_utf_8_whatever_the_locale():
    """No file is opened as text without saying in which encoding."""
    found = []
    for folder in ("mechicl", "analyses", "research", "benchmarks", "docs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and not _says_how(node):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def _says_how(call: ast.Call) -> bool:
    """Whether a call opens no text file, or names its encoding."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    if any(key.arg in ("encoding", None) for key in call.keywords):
        return True
    if name in ("read_text", "write_text"):
        return False
    if name == "open" and not (isinstance(owner, ast.Name) and owner.id in ("os", "Image", "webbrowser", "self")):
        modes = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        return any("b" in mode for mode in modes)
    begins = name in ("run", "Popen", "check_output")  # of subprocess
    return not (begins and any(key.arg in ("text", "universal_newlines") for key in call.keywords))


def test_the_check_of_encodings_can_fail():
    bad = ["open(p)", "open(p, 'w')", "p.read_text()", "p.write_text('x')", "p.open()", "run(x, text=True)"]
    good = ["open(p, 'rb')", "open(p, encoding='utf-8')", "p.read_text(encoding='utf-8')", "os.open(p, 0)", "run(x)"]
    calls = {text: next(n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)) for text in bad + good}
    assert [text for text, call in calls.items() if not _says_how(call)] == bad
