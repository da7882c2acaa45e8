"""`mechicl sweep`: what it prints and how it exits; the example file is a plan."""

import shutil
import tomllib
from pathlib import Path

import pandas as pd
import pytest

from mechicl import cli
from mechicl.sweeps.plan import plan, read_plan
from mechicl.system.files import append_line

ROOT = Path(__file__).parents[2]


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = 0
    try:
        cli.main(["sweep", *map(str, arguments), "--quiet"])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    got = capsys.readouterr()
    return code, got.out, got.err


def test_trains_then_gathers(capsys, small_file, swept, tmp_path):
    out = tmp_path / "out"
    code, text, _ = run(capsys, small_file, "--out", out, "--jobs", 1, "--dry-run")
    assert code == 0
    assert "4 to train" in text
    assert "4 new" not in text
    assert not out.exists()
    code, text, _ = run(capsys, small_file, "--out", out, "--jobs", 1)
    assert code == 0
    assert "n_labels-none" in text
    table = pd.read_parquet(out / "table.parquet")
    assert table.equals(pd.read_parquet(swept / "table.parquet"))
    assert f"{len(table):,} rows" in text
    (out / "table.parquet").unlink()
    code, _, _ = run(capsys, small_file, "--out", out, "--gather")
    assert code == 0
    assert (out / "table.parquet").is_file()


def test_the_default_place_is_under_checkpoints(capsys, small_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, error = run(capsys, small_file, "--gather")
    assert code == 2
    assert "checkpoints/small has no runs to gather" in error


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid:RuntimeWarning")
def test_failures_are_printed_and_the_exit_code_is_1(capsys, small_file, tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text(small_file.read_text().replace("lr = 1e-2", "lr = 1e30").replace("[0, 3]", "[0]"))
    out = tmp_path / "out"
    code, text, _ = run(capsys, file, "--out", out, "--jobs", 1)
    assert code == 1
    assert "Diverged, and left alone (--retry trains them again): n_labels-none-s0, n_labels-4-s0." in text
    assert "n_labels-4-s0 failed: " in text
    code, text, _ = run(capsys, file, "--out", out, "--jobs", 1)
    assert code == 1  # as before, though nothing was tried
    assert "Diverged, and left alone" in text


def test_a_wrong_file_is_one_message(capsys, tmp_path):
    code, out, error = run(capsys, tmp_path / "none.toml")
    assert (code, out) == (2, "")
    assert "none.toml cannot be read" in error
    assert "Traceback" not in error


def test_a_failure_of_an_earlier_call_does_not_hide_a_finished_run(capsys, small_file, swept, tmp_path):
    shutil.copytree(swept, tmp_path / "small")
    append_line(tmp_path / "small" / "failures.jsonl", {"run": "n_labels-4-s0", "diverged": True, "error": "x"})
    code, text, _ = run(capsys, small_file, "--out", tmp_path / "small")
    assert code == 0
    assert "Diverged" not in text


@pytest.mark.parametrize("file", sorted((ROOT / "research" / "sweeps").glob("*.toml")), ids=lambda p: p.name)
def test_the_examples_are_plans(file):
    assert read_plan(file).runs


def test_the_documented_example_is_the_file():
    shown = (ROOT / "docs" / "sweeps.md").read_text()
    example = read_plan(ROOT / "research" / "sweeps" / "dimension.toml")
    given = shown.split("```toml\n")[1].split("```")[0]
    documented = plan(tomllib.loads(given), "dimension")
    assert {c.config for c in example.conditions} < {c.config for c in documented.conditions}
    assert documented.seeds == example.seeds
