"""The family tree of a folder: every run once, below the run that it began from, and what is said of it."""

import shutil

import pytest

from mechicl.errors import SeriesError
from mechicl.series.tree import is_folder_of_runs, runs_in, tree, tree_lines
from mechicl.training.branching import branch


@pytest.fixture(scope="module")
def folder(tiny_series, tmp_path_factory):
    root = tmp_path_factory.mktemp("tree") / "runs"
    shutil.copytree(tiny_series.root, root / "tiny")
    shutil.copytree(tiny_series.root, root / "another")
    branch(root / "tiny", 25, without=((0, 1),), out=root / "a-treated", progress=False)
    branch(root / "tiny", 20, out=root / "control", progress=False)
    branch(root / "a-treated", 40, changes={"sequences.burstiness": 0}, steps=50, out=root / "child", progress=False)
    return root


def test_every_run_stands_below_its_parent_by_the_step_that_it_begins_at(folder):
    assert tree_lines(tree(runs_in(folder))) == [
        "another       60 steps",
        "tiny          60 steps",
        "├─ control    at step 20: as before; equal to its parent; 60 steps",
        "└─ a-treated  at step 25: ablate L0H1; 60 steps",
        "   └─ child   at step 40: data burstiness=0; 50 steps",
    ]


def test_a_parent_elsewhere_is_a_line_of_its_own(folder, tmp_path):
    for name in ("control", "child"):
        shutil.copytree(folder / name, tmp_path / "runs" / name)
    said = tree_lines(tree(runs_in(tmp_path / "runs")))
    assert [line.split("  ")[0] for line in said] == ["a-treated", "└─ child", "tiny", "└─ control"]
    assert said[0].endswith("not in this folder")
    assert "equal to its parent" in said[3]  # it is where the manifest says


def test_an_unfinished_run_and_a_control_that_differs_say_so(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "runs")
    index = tmp_path / "runs" / "tiny" / "index.jsonl"
    lines = index.read_text().splitlines(True)
    index.write_text("".join(line.replace('"step": 60', '"step": 61') for line in lines))
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "manifest.json").write_text("{")
    said = {member.name: member.says for member in tree(runs_in(tmp_path / "runs"))}
    assert set(said) == {"another", "tiny", "control", "a-treated", "child"}
    assert said["tiny"] == "step 60 of 60"


def test_a_folder_of_runs_is_told_from_a_run(folder, tmp_path):
    assert is_folder_of_runs(folder)
    assert not is_folder_of_runs(folder / "tiny")
    assert not is_folder_of_runs(tmp_path)
    with pytest.raises(SeriesError, match="is no run, and holds none"):
        runs_in(tmp_path)
