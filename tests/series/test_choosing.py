"""Some checkpoints of a series, chosen on the command line."""

import pandas as pd
import pytest

from mechicl import cli
from mechicl.errors import ConfigError, SeriesError
from mechicl.measures.attention import attention_scores
from mechicl.series.choosing import chosen


@pytest.mark.parametrize(
    ("steps", "every", "kept"),
    [
        (None, None, [0, 1, 5, 10, 20, 30, 40, 50, 60]),
        ("20,5", None, [5, 20]),
        ("5..35", None, [5, 10, 20, 30]),
        (None, 20, [0, 20, 40, 60]),
        (None, 25, [0, 30, 60]),
        (None, 50, [0, 50, 60]),
        ("1..35", 15, [1, 20, 30]),
    ],
)
def test_which_checkpoints(tiny_series, steps, every, kept):
    some = chosen(tiny_series, steps, every)
    assert some.steps == kept
    assert some.complete
    assert some.evaluated == tiny_series.evaluated
    assert attention_scores(some, n=5, progress=False).step.unique().tolist() == kept


@pytest.mark.parametrize(
    ("steps", "every", "error", "said"),
    [
        ("a", None, ConfigError, "0,500, or a range, such as 0..3000"),
        ("1..2..3", None, ConfigError, "a range"),
        ("5,20", 10, ConfigError, r"--steps 5\.\.20 --every 10"),
        ("7", None, SeriesError, "no checkpoint at step 7"),
        ("6..9", None, SeriesError, "no checkpoints there; it has 9, from step 0 to 60"),
        (None, 0, ConfigError, "--every 0: expected at least one step"),
    ],
)
def test_what_cannot_be_chosen(tiny_series, steps, every, error, said):
    with pytest.raises(error, match=said):
        chosen(tiny_series, steps, every)


def test_on_the_command_line(tiny_copy, tmp_path):
    run, out = str(tiny_copy.root), tmp_path / "scores.csv"
    cli.main(["measure", run, "attention_scores", "--steps", "0..40", "--every", "20", "--out", str(out)])
    assert pd.read_csv(out).step.unique().tolist() == [0, 20, 40]
    cli.main(["analyze", run, "induction_heads", "--every", "30", "--quiet"])
    table = pd.read_parquet(tiny_copy.root / "analysis" / "induction_heads.parquet")
    assert {0, 30, 60} <= set(table.step) < {0, 1, 5, 10, 20, 30, 40, 50, 60}  # and what its sentences are about
