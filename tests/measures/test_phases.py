"""Phase times on curves drawn by hand, with exact crossings; and on a series that rises and falls."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analyses import transience
from analyses.head_ablations import costly_heads
from mechicl.errors import SeriesError
from mechicl.evaluators import evaluation_set
from mechicl.measures.paired_effects import gains, head_effects
from mechicl.measures.phases import (
    MIN_RISE,
    Phases,
    leading_phases,
    over_seeds,
    phase_table,
    phase_times,
    series_phases,
)
from mechicl.registry import EVALUATORS, is_error
from mechicl.reporting.summary import one
from mechicl.series import open_series
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.batch import Batch
from mechicl.tasks.markov.batch import METRICS as MARKOV
from mechicl.tasks.text.spans import RepeatBatch, TextBatch


def times(values: list[float], chance: float = 0.5, at: list[float] | None = None) -> Phases:
    x = np.arange(len(values)) * 100.0 if at is None else np.array(at)
    return phase_times(x, np.array(values), chance)


@pytest.mark.parametrize(
    ("values", "want"),
    [
        # Half-way between .5 and .9 is .7: crossed 3/4 of the way up, and 1/4 of the way down.
        ([0.5, 0.4, 0.8, 0.9, 0.8, 0.4], Phases(175.0, 300.0, 0.9, 425.0, 0.4)),
        # A rise and fall within one interval each; level .75.
        ([0.5, 1.0, 0.5], Phases(50.0, 100.0, 1.0, 150.0, 0.5)),
        # It only rises: no half-decay.
        ([0.5, 0.6, 0.8, 1.0], Phases(175.0, 300.0, 1.0, None, 1.0)),
        # It falls, but not half-way (.75).
        ([0.5, 1.0, 0.8, 0.76], Phases(50.0, 100.0, 1.0, None, 0.76)),
        # It falls exactly half-way, at a checkpoint.
        ([0.5, 1.0, 0.75, 0.5], Phases(50.0, 100.0, 1.0, 200.0, 0.5)),
        # The first of two equal maxima is the peak; a dip between them is a decay.
        ([0.5, 0.9, 0.6, 0.9, 0.5], Phases(50.0, 100.0, 0.9, 100 + 200 / 3, 0.5)),
        # The first crossing of several counts.
        ([0.5, 0.8, 0.5, 0.9], Phases(200 / 3, 300.0, 0.9, None, 0.9)),
        # High from the start: the onset is the first checkpoint.
        ([0.9, 1.0, 0.5], Phases(0.0, 100.0, 1.0, 150.0, 0.5)),
        ([1.0, 0.6, 0.5], Phases(0.0, 0.0, 1.0, 62.5, 0.5)),
    ],
)
def test_exact_crossings(values, want):
    assert vars(times(values)) == pytest.approx(vars(want))


def test_uneven_times_and_another_chance():
    # From 1/8 at 16 to 5/8 at 1024: half-way between 0 and 5/8 is 5/16, 3/8 of the way.
    got = times([0.0, 0.125, 0.625, 0.25, 0.5], chance=0.0, at=[0, 16, 1024, 2048, 4096])
    assert got == Phases(16 + 0.375 * 1008, 1024.0, 0.625, 1024 + 1024 * 5 / 6, 0.5)


def test_no_rise_no_phases():
    assert times([0.5, 0.55, 0.59, 0.52]) == Phases(None, None, None, None, 0.52)
    assert times([0.3, 0.2, 0.1]) == Phases(None, None, None, None, 0.1)
    assert times([0.0, 0.0], chance=1 / 4096).peak is None
    assert MIN_RISE == 0.1
    assert times([0.25, 0.75, 0.25], chance=0.7).peak is None
    assert times([0.25, 0.75, 0.25], chance=0.625).peak == 100.0


def test_one_checkpoint():
    assert times([0.5]) == Phases(None, None, None, None, 0.5)
    assert times([1.0]) == Phases(0.0, 0.0, 1.0, None, 1.0)


def test_phases_of_a_series_that_rises_and_falls(known_series):
    """Steps at 0, 40 and 80 sequences. Flip goes 1/2-ish, 1, 0 around chance 1/2: half-way is 3/4."""
    got = series_phases(known_series)
    assert tuple(got) == ("icl", "flip", "ciwl", "iwl", "icl_holdout")
    x, flip = known_series.curve("flip")
    assert x.tolist() == [0, 40, 80]
    assert flip[1:].tolist() == [1.0, 0.0]
    assert got["flip"] == Phases(
        pytest.approx(40 * (0.75 - flip[0]) / (1 - flip[0])), 40.0, 1.0, pytest.approx(50.0), 0.0
    )
    icl = known_series.curve("icl")[1]
    assert icl[2] == pytest.approx(0.5, abs=0.07)
    assert got["icl"].half_decay == pytest.approx(40 + 40 * 0.25 / (1 - icl[2]))
    assert got["icl"].peak_value == 1.0
    # IWL is scored on the full vocabulary: from 0 to 1, chance 1/16.
    iwl = known_series.curve("iwl", "acc")[1]
    assert iwl[1:].tolist() == [0.0, 1.0]
    assert got["iwl"] == Phases(pytest.approx(40 + 40 * (1 + 1 / 16) / 2), 80.0, 1.0, None, 1.0)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_of_an_error_the_peak_is_the_minimum_whatever_its_scale(scale):
    """Half-way between 1 and .2 is .6: crossed half-way down, and 2/3 of the way back up."""
    x, errors = np.arange(5) * 100.0, scale * np.array([3.0, 1.0, 0.2, 0.4, 0.7])
    want = Phases(140.0 + 10.0, 200.0, 0.2 * scale, 300.0 + 200 / 3, 0.7 * scale)
    got = phase_times(x, errors, scale, -1)
    assert vars(got) == pytest.approx(vars(want))
    upside_down = phase_times(x, -errors, -scale)
    assert (upside_down.onset, upside_down.peak, upside_down.half_decay) == (got.onset, got.peak, got.half_decay)
    never = phase_times(x, scale * np.array([2.0, 1.0, 0.95, 0.91, 1.0]), scale, -1)
    assert never == Phases(None, None, None, None, scale)


def test_an_error_is_read_upside_down_wherever_its_best_is_asked(known_series, monkeypatch):
    """The same evaluator by its loss: the minimum, not the untrained model, is what stands for ICL."""
    by_loss = replace(EVALUATORS["icl"], primary_metric="loss", quantity="loss")
    assert (EVALUATORS["icl"].sign, EVALUATORS["icl"].best) == (1, "peak")
    assert (by_loss.sign, by_loss.best) == (-1, "minimum")
    monkeypatch.setitem(EVALUATORS._entries, "icl", by_loss)
    sequences, loss = known_series.curve("icl", "loss")
    found = leading_phases(series_phases(known_series))
    assert found.phases.peak == sequences[loss.argmin()]
    assert found.phases.peak_value == loss.min()
    assert ("minimum", found.phases.peak) in found.moments()
    assert f"minimum {loss.min():.3f}" in one(known_series)
    assert "falls through half-way" in transience.run(known_series).text[0]
    single = head_effects(known_series, [known_series.nearest(found.phases.peak)], ["icl"], n=64, progress=False)
    worst = single.sort_values("effect").iloc[-1]  # without it the loss is highest
    chosen = costly_heads(known_series, int(worst.step), "icl")
    assert gains(single).effect.tolist() == (-single.effect).tolist()
    assert (gains(single).effect_low <= gains(single).effect_high).all()
    assert (worst.layer, worst["head"]) in chosen


def test_every_loss_and_divergence_that_a_task_records_is_an_error():
    for task, metrics in (("markov", MARKOV), ("text", (*TextBatch.recorded, *RepeatBatch.recorded))):
        for metric in metrics:
            assert is_error(metric, task) == metric.startswith(("loss", "kl", "in_context_score")), metric
    for metric in Batch.recorded:
        assert is_error(metric, "exemplar_label") == (metric == "loss")


def test_chance_is_computed_from_the_evaluation_set(known_series, monkeypatch):
    """Four equal labels per context would put ciwl's chance at 1/4: the level must follow."""
    seen = {}

    def spy(t, values, level, sign):
        seen[len(seen)] = level
        return phase_times(t, values, level, sign)

    monkeypatch.setattr("mechicl.measures.phases.phase_times", spy)
    series_phases(known_series)
    config = known_series.config
    batch = evaluation_set("ciwl", config, build_bank(config))
    ciwl = np.mean([1 / len(set(row)) for row in batch.labels.tolist()])
    assert ciwl == 0.5
    assert list(seen.values()) == [0.5, 0.5, ciwl, 1 / 16, 0.5]


def test_ciwl_chance_with_four_pairs_is_a_quarter(tmp_path):
    from known_models import lookup_model
    from known_series import write_series

    config, weights = lookup_model(4)
    series = write_series(tmp_path / "four", config, {0: {k: w * 0 for k, w in weights.items()}, 10: weights})
    got = series_phases(series)["ciwl"]
    start = series.curve("ciwl")[1][0]
    assert start < 0.5
    assert got.onset == pytest.approx(80 * ((1 + 0.25) / 2 - start) / (1 - start))


def test_a_series_without_checkpoints_says_so(tiny_copy):
    for name in ("metrics.jsonl", "index.jsonl"):
        (tiny_copy.root / name).unlink()
    series = open_series(tiny_copy.root)
    with pytest.raises(SeriesError, match="has no metrics yet: `mechicl train --resume"):
        series_phases(series)


@pytest.mark.parametrize("values", [[1.0, 2.0, 4.0, 8.0], [0.25, 0.5], [3.0, None, 1.0, None, 2.0, 7.5]])
def test_over_seeds_equals_scipy(values):
    got = over_seeds(values)
    found = [v for v in values if v is not None]
    low, high = stats.t.interval(0.95, len(found) - 1, loc=np.mean(found), scale=stats.sem(found))
    assert got == pytest.approx(
        {
            "n": len(found),
            "of_n": len(values),
            "median": np.median(found),
            "low": min(found),
            "high": max(found),
            "mean": np.mean(found),
            "ci_low": low,
            "ci_high": high,
        }
    )
    assert got["ci_low"] < got["mean"] < got["ci_high"]


def test_over_one_seed_or_none():
    one = over_seeds([None, 5.0])
    assert (one["n"], one["of_n"], one["median"], one["mean"]) == (1, 2, 5.0, 5.0)
    assert math.isnan(one["ci_low"])
    none = over_seeds([None, None])
    assert (none["n"], none["of_n"]) == (0, 2)
    assert all(math.isnan(none[k]) for k in ("median", "low", "high", "mean", "ci_low", "ci_high"))


def test_phase_table_has_every_seed_and_the_spread(known_series, tiny_series):
    config = known_series.config
    other = replace(config, seeds=replace(config.seeds, init=1))  # another data seed draws another bank
    tiny_series = replace(tiny_series, config=other, manifest=known_series.manifest)
    got = phase_table([known_series, tiny_series])
    assert len(got) == 5 * 5
    row = got[(got.evaluator == "flip") & (got.quantity == "final_value")].iloc[0]
    end = tiny_series.curve("flip")[1][-1]
    assert row["known (seed 0)"] == 0.0
    assert row["tiny (seed 1)"] == end
    assert row["median"] == pytest.approx(end / 2)
    assert (row["n"], row["of_n"]) == (2, 2)
    peak = got[(got.evaluator == "flip") & (got.quantity == "peak")].iloc[0]
    assert peak["known (seed 0)"] == 40.0


def test_runs_of_one_name_and_initial_seed_each_have_a_column(known_series, monkeypatch):
    found = series_phases(known_series)  # another data seed draws another bank, which this folder's is not
    monkeypatch.setattr("mechicl.measures.phases.series_phases", lambda series: found)
    config = known_series.config
    other = replace(known_series, config=replace(config, seeds=replace(config.seeds, data=config.seeds.data + 7)))
    got = phase_table([known_series, other])
    names = [f"known (seed 0, data {series.config.seeds.data})" for series in (known_series, other)]
    assert [name for name in got.columns if name.startswith("known")] == names
    assert got.of_n.eq(2).all()
    assert phase_table([known_series]).columns[2] == "known (seed 0)"
