"""`mechicl show` and `mechicl verify` of a sweep's folder: the tree, the summary, and every run's problems by name."""

import shutil

import pytest

from mechicl import cli
from mechicl.training.branching import branch


@pytest.fixture(scope="module")
def folder(swept, tmp_path_factory):
    root = tmp_path_factory.mktemp("look") / "small"
    shutil.copytree(swept, root)
    branch(root / "n_labels-4-s0", 20, out=root / "as-before-s0", progress=False)
    return root


def test_show_draws_the_tree_and_the_summary(folder, capsys):
    cli.main(["show", str(folder)])
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("small: 5 runs")
    tree = [line.strip().split("  ")[0] for line in said[2:7]]
    assert tree == ["n_labels-4-s0", "└─ as-before-s0", "n_labels-4-s3", "n_labels-none-s0", "n_labels-none-s3"]
    assert "at step 20: as before; equal to its parent; 60 steps" in said[3]
    assert said[8].startswith("median over seeds")


def test_verify_checks_every_run_and_draws_the_tree(folder, tmp_path, capsys):
    cli.main(["verify", str(folder)])
    said = capsys.readouterr().out
    assert "└─ as-before-s0" in said
    assert said.endswith("5 runs, 10 checkpoints, all unchanged.\n")
    shutil.copytree(folder, tmp_path / "small")
    weights = next((tmp_path / "small" / "n_labels-none-s3" / "weights").iterdir())
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    (tmp_path / "small" / "as-before-s0" / "manifest.json").write_text("{")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["verify", str(tmp_path / "small")])
    assert stopped.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["as-before-s0", "n_labels-none-s3", "n_labels-none-s3"]
    assert "mechicl densify" in lines[2]  # what writes the damaged checkpoint again
    assert weights.name in lines[1]
