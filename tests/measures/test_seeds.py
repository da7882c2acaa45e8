"""Bands over seeds, against a count by hand."""

import dataclasses

import numpy as np
import pytest
from known_models import induction_model, lookup_model
from known_series import write_series
from scipy import stats

from mechicl.errors import SeriesError
from mechicl.evaluators import EVALUATORS, applying
from mechicl.figures.curves import seed_curves
from mechicl.measures.phases import phase_table
from mechicl.measures.seeds import aligned, seed_bands


@pytest.fixture(scope="module")
def runs(known_series, tmp_path_factory):
    """Three 'seeds': one has other steps than the others."""
    config, circuit = induction_model()
    root, lookup = tmp_path_factory.mktemp("seeds"), lookup_model()[1]
    config = dataclasses.replace(config, n_eval=60)
    first = write_series(root / "a", config.with_seed(1), {0: lookup, 10: circuit})
    second = write_series(root / "b", config.with_seed(2), {0: circuit, 5: circuit, 10: lookup})
    return [known_series, first, second]


def test_mean_median_interval_and_range_by_hand(runs):
    table = seed_bands(runs, ["flip"])
    assert table.columns.tolist() == [
        "evaluator",
        "metric",
        "sequences",
        "n",
        "mean",
        "ci_low",
        "ci_high",
        "median",
        "low",
        "high",
    ]
    assert table.sequences.tolist() == [0, 40, 80]
    curves = [dict(zip(*s.curve("flip"), strict=True)) for s in runs]
    curves[1][40] = (curves[1][0] + curves[1][80]) / 2  # saved neither: straight between its checkpoints
    for row in table.itertuples():
        values = np.array([c[row.sequences] for c in curves])
        half = stats.t.ppf(0.975, 2) * values.std(ddof=1) / np.sqrt(3)
        want = (
            3,
            values.mean(),
            values.mean() - half,
            values.mean() + half,
            np.median(values),
            values.min(),
            values.max(),
        )
        assert (row.n, row.mean, row.ci_low, row.ci_high, row.median, row.low, row.high) == pytest.approx(want)


def test_each_evaluator_by_its_headline_unless_told(runs):
    table = seed_bands(runs)
    assert table.groupby("evaluator").metric.unique().map(list).to_dict() == {
        name: [EVALUATORS[name].primary_metric] for name in applying(runs[0].config)
    }
    assert set(seed_bands(runs, ["iwl"], "loss").metric) == {"loss"}


def test_one_run_has_no_interval(runs):
    table = seed_bands(runs[:1], ["icl"])
    assert table[["ci_low", "ci_high"]].isna().all(axis=None)
    assert (table.low == table.high).all()
    assert table["mean"].tolist() == runs[0].curve("icl")[1].tolist()


def test_no_time_is_made_up(runs):
    """Outside a run's own checkpoints nothing is known of it."""
    assert aligned(runs, "icl", "in_context_acc").index.tolist() == [0, 40, 80]


def test_refusals(runs, tmp_path):
    empty = write_series(tmp_path / "empty", runs[0].config.with_seed(9), {})
    with pytest.raises(SeriesError, match="no run was given"):
        seed_bands([])
    with pytest.raises(SeriesError, match=r"the same seed \(init 1, data 1\), .*a twice: give each seed once"):
        seed_bands([*runs, runs[1]])
    other = dataclasses.replace(runs[1], config=dataclasses.replace(runs[1].config, batch_size=9))
    for refuses in (seed_bands, phase_table, seed_curves):
        with pytest.raises(SeriesError, match="these runs differ in batch_size: they are not seeds of one recipe"):
            refuses([runs[0], other])
    with pytest.raises(SeriesError, match="recorded no in_context_acc of 'icl'"):
        seed_bands([*runs, empty], ["icl"])
    with pytest.raises(SeriesError, match="no recorded evaluator in common"):
        seed_bands([*runs, empty])
    with pytest.raises(SeriesError, match="recorded no metric of 'icl2'"):
        seed_bands(runs, ["icl2"])
