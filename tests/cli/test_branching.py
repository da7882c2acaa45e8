"""`mechicl branch`: its options are the function's, and its mistakes are one line."""

from __future__ import annotations

import shlex
import shutil

import pytest

from mechicl import cli
from mechicl.series import open_series
from mechicl.training.branching import branch


@pytest.fixture
def run(tiny_series, tmp_path, monkeypatch):
    shutil.copytree(tiny_series.root, tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "tiny"


def test_every_option_is_the_functions(run, capsys):
    words = "--at 20 --steps 50 --without L0H1 --clamp self:L0H0=0.5 --clamp match:L1H1 --set sequences.burstiness=0"
    table = '{kind = "freeze", groups = ["unembedding"]}'
    cli.main(["branch", "tiny", *words.split(), "--intervene", table, "--quiet"])
    said = capsys.readouterr().out
    (made,) = [path for path in run.parent.iterdir() if path != run]
    series = open_series(made)
    kinds = [(each.kind, each.strength, each.start) for each in series.config.training_interventions]
    assert kinds == [("ablate", 1, 20), ("clamp", 0.5, 20), ("clamp_match", 1, 20), ("freeze", 1, 20), ("data", 1, 20)]
    assert f"{made.name}: 4 checkpoints, from step 20 to 50." in said
    assert "branch of tiny at step 20: ablate L0H1; clamp self 0.5 L0H0; clamp_match 1 L1H1; freeze unembedding" in said
    again = branch(
        run,
        20,
        steps=50,
        out=run.parent / "again",
        interventions=series.config.training_interventions,
        progress=False,
    )
    assert [e.sha256 for e in again.entries] == [e.sha256 for e in series.entries]


def test_the_control_says_that_it_is_equal(run, capsys):
    cli.main(["branch", "tiny", "--at", "40", "--out", "same", "--quiet"])
    assert "equal to its parent: 2 checkpoints and 1 states with their moments" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--at 20 --without L0", "--without L0: expected layers and heads"),
        (
            "--at 20 --clamp nothing:L0H0",
            "there is no pattern 'nothing': expected one of uniform, previous, self, forbid_previous, match",
        ),
        ("--at 20 --clamp self", "expected PATTERN:HEADS=STRENGTH, such as previous:L0H5=0.8"),
        ("--at 20 --clamp self:L0H0=much", "its strength 'much' is not a number"),
        ("--at 20 --clamp forbid_previous:L0H0=0.5", "masks attention, which has no strength"),
        ("--at 20 --intervene kind", "it is not a TOML table"),
        ('--at 20 --intervene {kind="thaw"}', "thaw"),
        ("--at 20 --set nothing=1", "the config has no such field"),
        ("--at 99", "has steps 0..60, no step 99. More: `mechicl train --resume tiny --steps 99`"),
    ],
)
def test_mistakes_are_one_line(run, capsys, words, says):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["branch", "tiny", *words.split(), "--quiet"])
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.count("\n") == 1
    assert [path.name for path in run.parent.iterdir()] == ["tiny"]


def test_where_a_replay_differs_the_command_that_needs_none_keeps_all_options(run, capsys):
    """On another machine: the suggested command does what was asked."""
    index = run / "index.jsonl"
    sha = open_series(run).entry(30).sha256
    index.write_text(index.read_text().replace(sha, "0" * 64))
    shutil.rmtree(run / "state")
    words = "--at 34 --steps 50 --without L0H1 --reset-memory --clamp self:L0H0=0.5 --set sequences.burstiness=0"
    with pytest.raises(SystemExit):
        cli.main(["branch", "tiny", *words.split(), "--out", "made", "--quiet"])
    err = capsys.readouterr().err
    assert "can begin at step 30, the nearest one with saved weights" in err
    again = shlex.split(err.partition("Use `mechicl ")[2].partition("`")[0])
    index.write_text(index.read_text().replace("0" * 64, sha))  # the file is as before
    cli.main(again)
    made = open_series(run.parent / "made")
    assert (made.origin.step, made.config.steps) == (30, 50)
    kinds = [each.kind for each in made.config.training_interventions]
    assert kinds == ["ablate", "reset", "fresh_moments", "clamp", "data"]
