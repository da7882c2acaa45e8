"""A run as text: every number in it is the series' own, and the bars are the curve."""

import dataclasses
import math
import re

import numpy as np
import pytest
from altered_runs import without_weights
from known_models import induction_model, lookup_model
from known_series import write_series

import analyses
from mechicl.errors import SeriesError
from mechicl.figures.style import short
from mechicl.reporting.report import report
from mechicl.reporting.summary import one, several, sparkline
from mechicl.series import open_series
from mechicl.series.recorded import lacking
from mechicl.series.verify import verify
from mechicl.training.replay import densify

BARS = " ▁▂▃▄▅▆▇█"


def row(text: str, label: str) -> str:
    (line,) = [x for x in text.splitlines() if x.strip().startswith(label + " ")]
    return line


def test_one_run(known_series):
    text = one(known_series)
    assert text.startswith(f"{known_series.root}  complete\n")
    assert "2 layers x 4 heads, width 128, attention only; 16 labels; seeds init 0 data 0" in text
    assert "16 classes x 4 exemplars of 24 Gaussian features, of norm 1 as made" in text
    assert "3 checkpoints, 80 sequences seen" in text
    flip = row(text, "flip")
    assert flip.endswith("peak 1.000 at    40, ends at 0.000")
    bars = flip[14 : 14 + 56]
    assert bars[0] == "█"  # step 0 has no place on a log axis: the line begins at the peak
    assert bars[-1] == " "
    levels = [BARS.index(b) for b in bars]
    assert levels == sorted(levels, reverse=True)
    assert row(text, "iwl")[14:70] == bars[::-1]
    assert row(text, "train").endswith("ends at 1.000")
    assert row(text, "loss").endswith("ends at 0.010")
    assert "n = 500 sequences per evaluator: 95% intervals within +-0.044" in text
    assert text.endswith("chance: icl 0.500, flip 0.500, ciwl 0.500, iwl 0.062, icl_holdout 0.500")
    shown = [x for x in re.findall(r"^  ([a-z_]+)", text, flags=re.M) if x not in ("n", "chance")]
    assert shown == ["train", "icl", "flip", "ciwl", "iwl", "icl_holdout", "loss"]


def test_a_run_that_never_formed_icl_shows_where_it_ends(tiny_series):
    x, y = tiny_series.curve("icl")
    text = row(one(tiny_series), "icl")
    if max(y) < 0.6:
        assert text.endswith(f"  ends at {y[-1]:.3f}")
        assert "peak" not in text
    else:
        assert f"peak {max(y):.3f} at {short(x[np.argmax(y)]):>5}" in text


def test_a_run_whose_metrics_were_cut_short_says_which_and_what_helps(tiny_copy):
    path = tiny_copy.root / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    cut = open_series(tiny_copy.root)
    said = (
        "6 checkpoints have no metrics: steps 10, 20, 30, ..., 60. To mend this, copy metrics.jsonl again if this run "
        f"is a copy; else `mechicl densify {cut.root} --from 5 --to 60 --every 55` measures them again."
    )
    assert f"  INCOMPLETE METRICS: {said}\n" in one(cut)
    for name in analyses.NAMES[:2]:
        with pytest.raises(SeriesError, match="6 checkpoints have no metrics: steps 10, 20") as error:
            analyses.get(name)(cut, progress=False)
        assert str(error.value) == f"{cut.root}: {said}"
    with pytest.raises(SeriesError, match="6 checkpoints have no metrics"):
        report(cut, progress=False)
    mended = densify(cut.root, 5, 60, 55, progress=False)
    assert lacking(mended) is None
    assert verify(mended.root) == []
    assert "INCOMPLETE" not in one(mended)


def test_a_run_in_progress_says_how_to_go_on(tmp_path):
    config, weights = induction_model()
    series = write_series(tmp_path / "begun", config, {0: weights})
    text = one(series)
    assert f"NOT FINISHED: `mechicl train --resume {series.root}`" in text
    assert "1 checkpoints, 0 sequences seen" in text
    assert row(text, "icl").endswith("ends at 1.000")
    assert "loss" not in text
    both = several([series, write_series(tmp_path / "other", config.with_seed(1), {0: weights})])
    assert re.search(r"^final training loss +- +-", both, flags=re.M)
    assert re.search(r"^loss at ICL's peak +- +-", both, flags=re.M)


def test_a_run_that_keeps_no_weights_yet_shows_all_that_was_recorded(known_series):
    begun = without_weights(known_series, 5, 10)
    text, whole = one(begun), one(known_series)
    assert "NOT FINISHED" in text
    assert "1 checkpoints, 80 sequences seen" in text
    assert text.splitlines()[4:] == whole.splitlines()[4:]
    axis = row(whole, "40")
    assert re.match(r"^ {14}40 +80  sequences, log scale", axis)
    assert axis.index("80") + 2 == 14 + 56


def test_a_run_without_checkpoints_says_how_to_go_on(tmp_path):
    series = write_series(tmp_path / "empty", induction_model()[0], {})
    with pytest.raises(SeriesError, match="has no metrics yet: `mechicl train --resume"):
        one(series)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Three runs whose flip peaks at 40, 40 and 80 sequences and ends at 0, 1 and 1."""
    config, circuit = induction_model()
    table = lookup_model()[1]
    config = dataclasses.replace(config, n_eval=100)
    plans = [(table, circuit, table), (table, circuit, circuit), (table, table, circuit)]
    root = tmp_path_factory.mktemp("seeds")
    return [
        write_series(
            root / f"s{i}",
            dataclasses.replace(config, seeds=dataclasses.replace(config.seeds, init=i)),
            dict(zip((0, 5, 10), plan, strict=True)),
            {5: 0.5, 10: (i + 1) / 10},
        )
        for i, plan in enumerate(plans)
    ]


def test_several_seeds_have_each_value_and_the_spread(seeds):
    text = several(seeds)
    lines = text.splitlines()
    assert re.split(r"  +", lines[0].strip()) == ["s0", "s1", "s2", "median", "range", "mean, 95% interval"]

    def cells(label):
        (line,) = [x for x in lines if x.startswith(label + "  ")]
        return re.split(r"  +", line.strip())[1:]

    mean, half = 160 / 3, 4.302652729749464 * math.sqrt(1600 / 3) / math.sqrt(3)  # t, two degrees of freedom
    spread = f"{mean:.0f} [{mean - half:.0f}, {mean + half:.0f}]*"  # below 0, where no time is
    assert cells("flip peak") == ["40", "40", "80", "40", "40 to 80", spread]
    assert cells("flip peak value")[:5] == ["1.000"] * 4 + ["1.000 to 1.000"]
    assert cells("flip onset")[:3] == ["30", "30", "70"]
    assert cells("flip final value")[:5] == ["0.000", "1.000", "1.000", "1.000", "0.000 to 1.000"]
    assert cells("flip half decay") == ["50", "-", "-", "50 (1 of 3)", "50 to 50", "-"]  # one seed: no interval
    assert cells("final training loss") == ["0.100", "0.200", "0.300"]
    assert cells("loss at ICL's peak") == ["0.500", "0.500", "0.300"]
    assert len({len(line) for line in lines[:-2]}) == 1
    assert lines[-1].startswith("* reaches beyond what it can be")


def test_runs_that_are_not_seeds_stand_side_by_side(seeds):
    more = dataclasses.replace(seeds[1], config=dataclasses.replace(seeds[1].config, steps=90, batch_size=5))
    *lines, _, said = several([seeds[0], more]).splitlines()
    assert said == (
        "No median and no interval: these runs differ in batch_size, steps: they are not seeds of one recipe."
    )
    assert re.split(r"  +", lines[0].strip()) == ["s0", "s1"]
    again = dataclasses.replace(seeds[1], config=seeds[0].config)
    assert "these runs have the same seed (init 0, data 0), both" in several([seeds[0], again])
    with pytest.raises(SeriesError, match="s0 was given twice: give each run once"):
        several([seeds[0], seeds[1], seeds[0]])


def test_sparkline_of_accuracies():
    x = [0, 1, 10, 100]
    got = sparkline(x, [0.9, 0.0, 0.5, 1.0])  # x = 0 is left out; a straight line over log x
    assert len(got) == 56
    assert got[0] == " "
    assert got[-1] == "█"
    assert got[27:29] in ("▄▄", "▄▅")
    levels = [BARS.index(b) for b in got]
    assert levels == sorted(levels)
    assert sparkline(x, [0, 0.25, 0.25, 0.25]) == "▂" * 56
    assert sparkline([0], [0.5]) == " " * 56


def test_sparkline_of_anything_else_uses_its_own_range():
    got = sparkline([1, 10, 100], [5.0, 3.0, -1.0])
    assert (got[0], got[-1]) == ("█", " ")
    assert sparkline([1, 10], [7.0, 7.0]) == " " * 56


@pytest.mark.parametrize(
    ("sequences", "want"),
    [
        (0, "0"),
        (80, "80"),
        (999, "999"),
        (1000, "1k"),
        (12_345, "12.3k"),
        (999_400, "999k"),
        (999_680, "1M"),
        (3_200_000, "3.2M"),
        (1.6e9, "1.6G"),
        (999_999_999, "1G"),
    ],
)
def test_short_numbers(sequences, want):
    assert short(sequences) == want
