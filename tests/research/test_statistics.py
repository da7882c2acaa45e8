"""Statistics over seeds, on tables whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from research.statistics import at, losses, p_text, paired, phases, spread, spread_times

TIMES = np.array([0, 100, 200, 300, 400])


def curve(condition: str, seed: int, evaluator: str, values, complete: bool = True) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "condition": condition,
            "seed": seed,
            "evaluator": evaluator,
            "complete": complete,
            "step": TIMES,
            "sequences": TIMES,
            "value": values,
            "chance": 0.5,
            "n": 1000,
        }
    )


def test_phases_follow_the_rule_of_the_measures():
    table = pd.concat(
        [
            curve("a", 0, "icl", [0.5, 0.7, 0.9, 0.7, 0.5]),
            curve("a", 1, "icl", [0.5, 0.52, 0.55, 0.5, 0.5]),
            curve("a", 2, "icl", [0.5, 0.9, 0.9, 0.9, 0.9], complete=False),
        ]
    )
    found = phases(table).set_index("seed")
    assert list(found.index) == [0, 1]  # an unfinished run has no phases yet
    assert found.loc[0, ["onset", "peak", "peak_value", "half_decay", "final_value"]].tolist() == pytest.approx(
        [100, 200, 0.9, 300, 0.5]
    )
    assert found.loc[1, ["onset", "peak", "half_decay"]].isna().all()  # never .1 above chance
    assert found.loc[1, "final_value"] == 0.5


def test_losses_are_those_at_icls_peak_and_at_the_end():
    loss = curve("a", 0, "training", [np.nan, 3.0, 2.0, 1.5, 1.0]).iloc[1:]
    table = pd.concat([curve("a", 0, "icl", [0.5, 0.7, 0.9, 0.7, 0.5]), loss])
    row = losses(table).iloc[0]
    assert (row.at_peak, row.final) == (2.0, 1.0)


def test_values_between_checkpoints_lie_on_a_line():
    assert at(curve("a", 0, "icl", [0.5, 0.7, 0.9, 0.7, 0.5]), "icl", 150).iloc[0] == pytest.approx(0.8)


def test_paired_effects_against_the_formula_by_hand():
    a, b = pd.Series({0: 3.0, 1: 5.0, 2: 7.0, 9: 1.0}), pd.Series({0: 1.0, 1: 2.0, 2: 3.0, 8: 0.0})
    got = paired(a, b)  # differences 2, 3, 4: mean 3, sd 1, t(2) = 4.3027
    assert got["n"] == 3
    assert got["difference"] == pytest.approx(3)
    assert (got["low"], got["high"]) == pytest.approx((3 - 4.302653 / 3**0.5, 3 + 4.302653 / 3**0.5), rel=1e-6)
    assert got["p"] == pytest.approx(0.0351, abs=1e-4)


def test_one_seed_is_no_test():
    got = paired(pd.Series({0: 1.0}), pd.Series({0: 0.5}))
    assert got["difference"] == 0.5
    assert np.isnan(got["p"])


def test_the_text_of_a_spread():
    assert spread([0.5, 0.7, 0.9]) == "0.700 (0.500 to 0.900; n = 3)"
    assert spread([193_000.0, None, 400_000.0]) == "296k (193k to 400k; n = 2 of 3)"
    assert spread([None, float("nan")]) == "never (0 of 2)"


def test_no_p_is_nothing():
    assert [p_text(p) for p in (0.2, 0.0014, 0.00099, 0.0)] == ["= 0.200", "= 0.001", "< 0.001", "< 0.001"]


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([2e6, 1e6, 3e6], "2M (1M to 3M; n = 3)"),
        ([2e6, np.inf, 1e6], "2M (1M to never; n = 3)"),  # a time that never comes, as NaN or as infinity
        ([2e6, np.nan, 1e6], "2M (1M to never; n = 3)"),
        ([np.inf, np.nan], "never (0 of 2)"),
        ([], "-"),
    ],
)
def test_times_that_never_come_are_said_in_words(times, said):
    assert spread_times(times) == said
