"""Tables hold what the page shows, intervals and all."""

import io

import pandas as pd
import pytest

from mechicl.errors import SeriesError
from mechicl.page.compare import compare
from mechicl.page.heads import head_scores
from mechicl.page.runs import Library
from mechicl.page.server import build
from mechicl.page.tables import TABLES, comparison_table, effects_table, grid_table, to_take_along
from mechicl.page.view import table


def test_the_paired_change_is_in_the_table_with_its_interval(bench, run, settle):
    view = settle("?step=60&heads=0.1,1.0&kind=mean")
    for steps in ([60], [20, 60]):
        found = effects_table(bench, run, steps, view)
        plain = table(bench, run, steps, view.intervention)
        pd.testing.assert_frame_equal(found[plain.columns.tolist()], plain)
        for step in steps:
            for effect in bench.effects(run, step, view.intervention):
                rows = found[(found.step == step) & (found.evaluator == effect.evaluator)].set_index("intervention")
                change = rows.loc[str(view.intervention), ["change", "change_ci_low", "change_ci_high"]].tolist()
                assert change == [effect.change.value, effect.change.low, effect.change.high]
                assert rows.loc["intact", ["change", "change_ci_low", "change_ci_high"]].isna().all()
    assert effects_table(bench, run, [60], settle("?step=60")).change.isna().all()


@pytest.mark.parametrize("measure", ["previous_token", "effect_icl"])
def test_the_head_grid_as_a_table(bench, run, settle, measure):
    view = settle(f"?step=60&measure={measure}&evaluator=flip")
    found = grid_table(bench, run, view)
    scores = head_scores(bench, run, view)
    assert [(r.layer, r.head, r.value, r.ci_low, r.ci_high, r.n) for r in found.itertuples()] == [
        (*head, x.value, x.low, x.high, x.n) for head, x in sorted(scores.items())
    ]
    assert set(found.evaluator) == {"icl" if measure == "effect_icl" else "flip"}


def test_the_comparison_as_a_table(bench, library, run, settle, folder):
    view = settle("?step=20&with_step=60&heads=0.1")
    found = comparison_table(bench, library, run, view)
    both = compare(bench, library, run, view)
    for side, of in (("A", both.a), ("B", both.b)):
        rows = found[found.side == side].set_index("evaluator")
        assert set(rows.step) == {of.step}
        for name, number in of.numbers.items():
            assert rows.loc[name, ["value", "ci_low", "ci_high", "n"]].tolist() == [
                number.value,
                number.low,
                number.high,
                number.n,
            ]
    for name, gap in both.difference.items():
        row = found[(found.side == "B") & (found.evaluator == name)].iloc[0]
        assert (row.difference, row.difference_ci_low, row.difference_ci_high) == (gap.value, gap.low, gap.high)
    assert found[found.side == "A"].difference.isna().all()
    assert found.paired.all()
    other = build(Library(folder), "tiny").server.test_client()
    text = other.get("/export/comparison.csv?run=known&step=5&with_run=tiny&heads=1.2").text
    read = pd.read_csv(io.StringIO(text))
    assert not read.paired.any()  # other sequences
    assert set(read[read.side == "A"].intervention) == {"zero L1H2"}
    assert set(read[read.side == "B"].intervention) == {"intact"}  # tiny has no such head


def test_every_table_comes_as_csv_and_parquet(library, bench, run, settle):
    client = build(library, "tiny").server.test_client()
    for name in TABLES:
        csv = client.get(f"/export/{name}.csv?step=60&heads=0.1")
        parquet = client.get(f"/export/{name}.parquet?step=60&heads=0.1")
        assert f"filename=tiny-step60-{name}.csv" in csv.headers["Content-Disposition"]
        a, b = pd.read_csv(io.StringIO(csv.text)), pd.read_parquet(io.BytesIO(parquet.data))
        assert list(a.columns) == list(b.columns)
        assert len(a) == len(b) > 0
    with pytest.raises(SeriesError, match="tables are table, curve, grid, circuit, track, comparison"):
        to_take_along(bench, library, run, settle("?step=60"), "nothing")
