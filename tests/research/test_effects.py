"""Differences over seeds, on curves whose differences are known."""

import numpy as np
import pandas as pd
import pytest

from mechicl.statistics import holm
from research.effects import against, effects
from research.statistics import paired, phases

TIMES = np.array([0, 100, 200, 400, 800])


def run(condition: str, seed: int, icl, flip=(0.5, 0.5, 0.5, 0.5, 0.5)) -> pd.DataFrame:
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "condition": condition,
                    "seed": seed,
                    "evaluator": name,
                    "complete": True,
                    "step": TIMES,
                    "sequences": TIMES,
                    "value": values,
                    "chance": 0.5,
                    "n": 1000,
                }
            )
            for name, values in (("icl", icl), ("flip", flip))
        ]
    )


ENDS = {"plain": (0.50, 0.52, 0.54), "kept": (0.90, 0.92, 0.95), "same": (0.50, 0.53, 0.53)}
DATA = pd.concat(
    [run(name, seed, [0.5, 0.7, 0.96, 0.9, end]) for name, ends in ENDS.items() for seed, end in enumerate(ends)]
)


def test_differences_are_paired_by_seed_and_corrected_for_all_that_is_asked():
    asked = [(name, "icl", "final_value") for name in ("kept", "same")]
    found = effects(phases(DATA), "plain", asked)
    by_hand = [paired(pd.Series(ENDS[name]), pd.Series(ENDS["plain"])) for name in ("kept", "same")]
    assert [e["difference"] for e in found.values()] == pytest.approx([x["difference"] for x in by_hand])
    assert [e["p_holm"] for e in found.values()] == pytest.approx(holm([x["p"] for x in by_hand]))
    assert [*found] == asked


def test_times_are_compared_as_ratios():
    slow = pd.concat([DATA, *(run("slow", seed, [0.5, 0.5, 0.5, 0.96, 0.9]) for seed in range(3))])
    found = effects(phases(slow), "plain", [("slow", "icl", "peak")])["slow", "icl", "peak"]
    assert found["difference"] == pytest.approx(1)  # its peak is at 400 instead of 200


def test_what_was_not_run_is_left_out():
    assert effects(phases(DATA), "plain", [("other", "icl", "final_value")]) == {}
    assert effects(phases(DATA), "other", [("kept", "icl", "final_value")]) == {}


def test_the_table_marks_what_differs():
    names = {"plain": "untreated", "kept": "L2", "same": "nothing", "later": "not run"}
    note, table = against(phases(DATA), "plain", names)
    lines = table.splitlines()
    assert note.startswith("Difference to untreated: ")
    assert "all 8 comparisons" in note
    assert len(lines) == 4  # head, rule, and two conditions
    assert "| L2 | +0.00 [+0.00, +0.00] | **+0.40** [+0.39, +0.42] |" in lines[2]
    assert "| nothing |" in lines[3]
    assert "**" not in lines[3]


def test_no_table_without_something_to_compare():
    assert against(phases(DATA), "plain", {"plain": "untreated"}) == []
    assert against(phases(DATA), "later", {"later": "not run", "kept": "L2"}) == []
