"""Ablated minus intact, row by row. (test_ablation.py has real tables.)"""

import pandas as pd
import pytest

from mechicl.errors import ConfigError
from mechicl.measures.paired_effects import effects, head_effects


def test_effects_are_ablated_minus_intact():
    rows = [
        {"step": s, "evaluator": e, "metric": "acc", "intervention": i, "value": v}
        for s, e, i, v in [
            (0, "icl", "intact", 0.5),
            (0, "icl", "zero L0H0", 0.25),
            (0, "flip", "intact", 1.0),
            (8, "icl", "intact", 0.75),
            (8, "icl", "zero L0H0", 1.0),
            (0, "flip", "zero L0H0", 0.125),
        ]
    ]
    before = pd.DataFrame(rows)
    got = effects(before)
    assert got.intervention.unique().tolist() == ["zero L0H0"]
    assert got.effect.tolist() == [-0.25, 0.25, -0.875]
    assert got.value.tolist() == [0.25, 1.0, 0.125]
    assert "effect" not in before


def of_run(run: str, intact: float, **changed: float) -> pd.DataFrame:
    values = {"intact": intact} | {name: intact + x for name, x in changed.items()}
    rows = [{"run": run, "step": 0, "evaluator": "icl", "metric": "acc", "intervention": i} for i in values]
    return pd.DataFrame(rows).assign(value=list(values.values()))


@pytest.mark.parametrize("changed", [{"a": -0.25}, {"a": -0.25, "b": 0.125}])
def test_each_run_is_compared_with_itself_in_any_order_of_rows(changed):
    table = pd.concat([of_run("one", 0.5, **changed), of_run("two", 1.0, **changed)], ignore_index=True)
    for rows in (table, table.iloc[::-1], pd.concat([table.iloc[-1:], table.iloc[:-1]])):
        got = effects(rows)
        assert len(got) == 2 * len(changed)
        assert (got.effect == got.intervention.map(changed)).all()


def test_an_intact_row_twice_is_one_and_two_that_differ_are_refused():
    one, other = of_run("one", 0.5, a=0.25), of_run("one", 0.5, b=0.125)
    assert effects(pd.concat([one, other])).effect.tolist() == [0.25, 0.125]
    with pytest.raises(ConfigError, match="several intact values of run one, step 0, evaluator icl, metric acc"):
        effects(pd.concat([one, of_run("one", 0.75, b=0.125)]))


def test_the_effect_of_every_head(tiny_series):
    table = head_effects(tiny_series, [60], ["flip"], n=20, progress=False)
    assert list(zip(table.layer, table["head"], strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert ((table.effect_low <= table.effect) & (table.effect <= table.effect_high)).all()
