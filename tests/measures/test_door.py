"""Measures register themselves: the documentation lists them as they say, and one's own is refused or there."""

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mechicl import measures
from mechicl.cli.measuring import run
from mechicl.errors import ConfigError
from mechicl.measures.door import measure
from mechicl.series.choosing import chosen

PAGE = (Path(__file__).parents[2] / "docs" / "measures.md").read_text()


def test_the_documentation_lists_every_measure_as_it_says_of_itself():
    registered = measures.registered()
    assert {"attention_scores", "head_effects", "logit_attribution", "seed_bands"} <= set(registered)
    for m in registered.values():
        assert f"| `{m.name}` | {m.rows} | {m.value} | {m.against} |" in PAGE, m.name


def test_a_measure_is_of_a_series_or_of_runs():
    with pytest.raises(ConfigError, match="its first argument must be `series`"):
        measure("wrong", rows="step", value="nothing")(lambda model: None)


def test_a_measure_needs_nothing_but_its_series(plugin_folder):
    with pytest.raises(ConfigError, match=r"'wrong' takes x, y without a default: .* <lambda>\(series, x=\.\.\.\)"):
        measure("wrong", rows="step", value="nothing")(lambda series, x, steps=None, *, y: None)
    assert measure("right", rows="step", value="nothing")(lambda series, *more, **others: None)


def test_one_of_several_runs(tiny_series):
    seeds = replace(tiny_series.config.seeds, init=7)
    other = replace(tiny_series, config=replace(tiny_series.config, seeds=seeds))
    text = run([tiny_series, other], "seed_bands", None, None, None, None)
    assert re.search(r"^seed_bands: a row per evaluator and time", text)
    with pytest.raises(ConfigError, match="takes one run, but 2 were given"):
        run([tiny_series] * 2, "attention_scores", None, None, None, None)


def test_what_is_no_table_or_no_step_is_refused(plugin_folder, tiny_series):
    measure("seven", rows="none", value="7")(lambda series: 7)
    with pytest.raises(ConfigError, match="returned int: expected a pandas DataFrame"):
        run([tiny_series], "seven", None, None, None, None)
    with pytest.raises(ConfigError, match="--steps x: expected a list of steps"):
        chosen(tiny_series, "x")
    with pytest.raises(ConfigError, match=r"no measure named 'attention_score'.*Did you mean 'attention_scores'"):
        run([tiny_series], "attention_score", None, None, None, None)


def test_the_table_is_kept(tiny_series, tmp_path):
    text = run([tiny_series], "attention_scores", [0, 60], "icl", 10, tmp_path / "x.parquet")
    table = pd.read_parquet(tmp_path / "x.parquet")
    assert set(table.step) == {0, 60}
    assert f"{len(table):,} rows." in text
