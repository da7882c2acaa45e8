"""Ablated minus intact, row by row. (test_ablation.py has real tables.)"""

import pandas as pd

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


def test_the_effect_of_every_head(tiny_series):
    table = head_effects(tiny_series, [60], ["flip"], n=20, progress=False)
    assert list(zip(table.layer, table["head"], strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert ((table.effect_low <= table.effect) & (table.effect <= table.effect_high)).all()
