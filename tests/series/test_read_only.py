"""Runs and folders that may be read and not written to: what only reads works, what writes says so before it works."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mechicl.system.files import read_jsonl
from mechicl.training.loop import train

ROOT = Path(__file__).parents[2]

# Runs command lines one after another in one process; says of each its exit code, output and errors.
SCRIPT = """
import contextlib, io, json, sys
from mechicl import cli
for line in json.loads(sys.argv[1]):
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main(line)
        except SystemExit as stopped:
            code = stopped.code or 0
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


def run(lines: list[list[object]], cwd: Path) -> list[tuple[int, str, str]]:
    """As a user whom permissions bind: root is one only without its capabilities."""
    text = json.dumps([[str(word) for word in line] for line in lines])
    bound = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    if bound and not shutil.which("setpriv"):
        pytest.skip("root may write anywhere, and there is no setpriv to change that")
    env = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cwd / "no-home"), "TMPDIR": str(cwd)}
    done = subprocess.run(
        [*bound, sys.executable, "-c", SCRIPT, text], capture_output=True, text=True, cwd=cwd, env=env
    )
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.fixture
def frozen(tmp_path):
    """Takes every right to write from a folder; gives them back afterwards."""
    folders = []

    def freeze(folder: Path) -> Path:
        folders.append(folder)
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode & ~0o222)
        return folder

    yield freeze
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)


def listing(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.slow
def test_a_read_only_run(tiny_copy, frozen, tmp_path):
    root, work = frozen(tiny_copy.root), tmp_path / "work"
    work.mkdir()
    before = listing(root)
    shown, sound, finished, report, elsewhere, here, page, dense = run(
        [
            ["show", root],
            ["verify", root],
            ["train", "--resume", root],
            ["report", root, "--out", work / "page.html", "--quiet"],
            ["analyze", root, "transience", "--out", work / "found", "--quiet"],
            ["analyze", root, "transience", "--quiet"],
            ["report", root, "--quiet"],
            ["densify", root, "--from", 0, "--to", 5, "--every", 1, "--quiet"],
        ],
        work,
    )
    for code, out, err in (shown, sound, finished, report, elsewhere):
        assert (code, err) == (0, "")
        assert out
    assert "to step 60" in finished[1]
    assert (work / "page.html").stat().st_size > 1e6
    assert (work / "found" / "transience.parquet").is_file()
    for code, out, err in (here, page, dense):
        assert (code, out) == (2, "")
        assert err.startswith(f"mechicl: {root} cannot be written to: Permission denied.")
    assert "--out DIR" in here[2]
    assert "--out FILE" in page[2]
    assert listing(root) == before


@pytest.mark.slow
def test_an_unfinished_run_and_a_folder_without_permission(tiny_copy, frozen, tmp_path):
    index = tiny_copy.root / "index.jsonl"
    lines = [line for line in read_jsonl(index) if line["step"] < 50]  # as interrupted there
    index.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    folder = tmp_path / "folder"
    folder.mkdir()
    frozen(tiny_copy.root)
    frozen(folder)
    hidden = tmp_path / "hidden"
    shutil.copytree(tiny_copy.root, hidden / "run")
    hidden.chmod(0)
    try:
        resumed, new, swept, unseen = run(
            [
                ["train", "--resume", tiny_copy.root, "--quiet"],
                ["train", "demo", "--out", folder / "run", "--quiet"],
                ["sweep", ROOT / "research" / "sweeps" / "dimension.toml", "--out", folder / "sweep", "--quiet"],
                ["show", hidden / "run"],
            ],
            tmp_path,
        )
    finally:
        hidden.chmod(0o700)
    for (code, out, err), where in ((resumed, tiny_copy.root), (new, folder), (swept, folder)):
        assert (code, out) == (2, "")
        assert err.startswith(f"mechicl: {where} cannot be written to: Permission denied.")
    assert unseen[:2] == (2, "")
    assert unseen[2] == f"mechicl: {hidden / 'run' / 'manifest.json'} cannot be read: Permission denied.\n"
    assert list(folder.iterdir()) == []


def test_nothing_is_trained_where_it_cannot_be_kept(tiny_config, tmp_path, monkeypatch):
    """The folder is asked before the bank is made."""
    (tmp_path / "file").write_bytes(b"")
    module = importlib.import_module("mechicl.training.loop")
    monkeypatch.setattr(module, "checked_source", lambda *args: pytest.fail("work has begun"))
    with pytest.raises(ValueError, match="file cannot be written to: Not a directory"):
        train(tiny_config, tmp_path / "file" / "run", progress=False)
