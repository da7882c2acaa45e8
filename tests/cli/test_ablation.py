"""`mechicl ablate`, and that every example of docs/interventions.md runs."""

import re
from pathlib import Path

import pandas as pd
import pytest

from mechicl import cli
from mechicl.cli.ablation import asked, table
from mechicl.errors import ConfigError
from mechicl.interventions import AblateHeads, AblateMLPs, Together

ROOT = Path(__file__).parents[2]


def test_what_a_line_names():
    heads = AblateHeads(heads=((0, 5), (1, 3)), kind="mean", hold=("k", "v"))
    assert asked(heads="L0H5,L1H3", kind="mean", hold="v,k") == heads
    assert asked(mlp="0,1") == AblateMLPs(layers=(0, 1))
    both = Together(parts=(heads, AblateMLPs(layers=(1,), kind="mean")))
    assert asked(heads="L0H5,L1H3", kind="mean", hold="v,k", mlp="1") == both


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "nothing to ablate was given"),
        ({"heads": "0.5"}, "as L0H5,L1H3"),
        ({"heads": "L0H1", "hold": "x"}, "hold"),
        ({"mlp": "a"}, "--mlp 1"),
        ({"hold": "k", "mlp": "1"}, "can only be used with --heads"),
        ({"heads": "L0H1", "kind": "x"}, "kind"),
    ],
)
def test_what_it_cannot_name_is_refused(given, words):
    with pytest.raises(ConfigError, match=words):
        asked(**given)


def test_the_numbers_are_those_of_evaluate(known_series):
    condition = asked(heads="L0H1")
    printed, rows = table(known_series, condition, 5)
    want = known_series.evaluate([5], ablate=condition, metrics=None)
    for name, row in printed.iterrows():
        got = want[want.evaluator == name].set_index("intervention").value
        assert (row.intact, row.ablated) == (got["intact"], got["zero L0H1"])
        assert row.change == pytest.approx(row.ablated - row.intact)
        assert row.low <= row.change <= row.high
    assert printed.loc["flip", "change"] == pytest.approx(-0.5, abs=0.07)
    assert printed.loc["flip", "controls_low"] == printed.loc["flip", "controls_high"] == 0  # no other head matters
    assert rows.effect.isna().sum() == len(printed)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_command_prints_and_saves(known_series, tmp_path, capsys, suffix):
    out = tmp_path / f"lost.{suffix}"
    cli.main(["ablate", str(known_series.root), "--heads", "L0H1", "--step", "5", "--n", "100", "--out", str(out)])
    said = capsys.readouterr().out
    lost, none = r"-0\.\d{3}", r"\+0\.000"  # what it does, and what the controls do
    assert re.search(rf"^flip +1\.000 +0\.\d{{3}} +{lost} +{lost} \.\. {lost} +100 +{none} \.\. {none}$", said, re.M)
    assert "step 5" in said
    saved = pd.read_csv(out) if suffix == "csv" else pd.read_parquet(out)
    assert {"zero L0H1", "intact"} < set(saved.intervention)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--position", "match_label:1"], "zero match_label before L1"),
        (["--patch", "L1H2"], "patch L1H2"),
        (["--graft", "ov.1@0"], "graft ov.1 from step 0"),
        (["--without-subspace", "flip"], "of 8 random sets of as many random directions"),
        (["--graft", "embeddings@0", "--heads", "L1H2"], "graft embeddings from step 0 + zero L1H2"),
    ],
)
def test_each_takes_icl_from_the_circuit_and_its_controls_do_not(known_series, capsys, line, said):
    cli.main(["ablate", str(known_series.root), "--step", "5", "--n", "100", *line])
    out = capsys.readouterr().out
    assert said in out
    lost, _low, _high, *controls = re.findall(r"[+-]\d\.\d{3}", re.search(r"^icl .*", out, re.M)[0])
    assert float(lost) < -0.3
    assert all(abs(float(x)) < 0.1 for x in controls)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--position", ":1"], "as match_label:1"),
        (["--graft", "qk.1"], "as qk.1@1400"),
        (["--without-subspace", "icl"], "flip, ciwl, iwl"),
        (["--patch", "L1"], "--patch L1"),
        (["--heads", "L0H9"], "there is no head L0H9"),
        (["--mlp", "1"], "no MLP in layer 1"),
        ([], "nothing to ablate was given"),
        (["--heads", "L0H1", "--step", "7"], "step"),
        (["--heads", "L0H1", "--out", "x.txt"], ".csv or .parquet"),
    ],
)
def test_what_cannot_be_is_one_message(known_series, capsys, line, words):
    with pytest.raises(SystemExit) as ended:
        cli.main(["ablate", str(known_series.root), *line])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_several_checkpoints(known_series, tmp_path, capsys):
    """A line each, the numbers those of one at a time, the controls the same at each, its own directions too."""
    for words in (["--heads", "L0H1"], ["--without-subspace", "flip"]):
        out = tmp_path / "over_time.csv"
        line = ["ablate", str(known_series.root), *words, "--n", "100", "--quiet"]
        cli.main([*line, "--steps", "0..10", "--every", "5", "--out", str(out)])
        said = capsys.readouterr().out
        assert re.search(r"^ +step .*icl", said, re.M)
        assert [int(x) for x in re.findall(r"^ +(\d+) +[(+-]", said, re.M)] == known_series.steps
        table = pd.read_csv(out)
        for step in known_series.steps:
            cli.main([*line, "--step", str(step), "--out", str(tmp_path / "one.csv")])
            capsys.readouterr()
            one = pd.read_csv(tmp_path / "one.csv")
            at = table[table.step == step].reset_index(drop=True)
            key = ["intervention", "evaluator"]
            at, one = (t.sort_values(key, kind="stable", ignore_index=True) for t in (at, one))
            pd.testing.assert_frame_equal(at, one, rtol=1e-5, atol=1e-6)


def test_one_checkpoint_or_several(known_series, capsys):
    with pytest.raises(SystemExit):
        cli.main(["ablate", str(known_series.root), "--heads", "L0H1", "--step", "5", "--steps", "0,5"])
    assert "not both" in capsys.readouterr().err


@pytest.mark.slow
def test_every_example_of_the_page_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "interventions.md").read_text(), flags=re.S)
    assert len(blocks) >= 8
    made: dict = {"__name__": "the_page"}
    for block in blocks:
        exec(block, made)
    assert 0 <= made["share"] <= 1
