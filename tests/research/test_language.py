"""What brings induction heads in language: when a run has formed them, and the three answers of the rule."""

import numpy as np
import pandas as pd
import pytest

from research import language

NEVER = np.inf


def _run(condition: str, seed: int, repeat: list[float], length: int = 64) -> pd.DataFrame:
    parts = []
    for evaluator, values in {"repeat": repeat, "conflict": [0.1] * len(repeat)}.items():
        rows = {"evaluator": evaluator, "step": range(len(repeat)), "value": values}
        parts.append(pd.DataFrame(rows))
    told = {"condition": condition, "seed": seed, "complete": True, "task.length": length}
    table = pd.concat(parts, ignore_index=True).assign(**told)
    return table.assign(sequences=table.step * 1000)


@pytest.mark.parametrize(
    ("repeat", "length", "want"),
    [
        ([0, 0.1, 0.2, 0.3], 64, 2 * 64_000),
        ([0, 0.3, 0.1, 0.3, 0.4], 64, 3 * 64_000),  # one checkpoint alone is not enough
        ([0, 0.3, 0.1, 0.3], 64, NEVER),
        ([0, 0.2, 0.2], 256, 256_000),
        ([0, 0.19, 0.19], 64, NEVER),
    ],
)
def test_formed_at_the_first_of_two_checkpoints_in_tokens(repeat, length, want):
    assert language.formed(_run("base", 0, repeat, length)) == want


BASE = {0: 4.0, 1: 6.0, 2: 3.0}


@pytest.mark.parametrize(
    ("own", "base", "want"),
    [
        ({0: NEVER, 1: NEVER, 2: NEVER}, BASE, "prevents"),
        ({0: NEVER, 1: NEVER, 2: NEVER}, BASE | {0: NEVER}, "nothing is said"),  # the base itself did not always
        ({0: 7.0, 1: NEVER, 2: 8.0}, BASE, "delays"),
        ({0: 6.0, 1: 9.0, 2: 8.0}, BASE, "nothing is said"),  # not later than every seed of the base
        ({0: 1.0, 1: 1.0, 2: 1.0}, BASE, "nothing is said"),  # the rule does not ask what is sooner
        ({0: NEVER, 1: NEVER}, BASE, "not judged: 2 of 3 seeds"),
        ({0: NEVER, 1: NEVER, 2: NEVER}, {0: 4.0}, "not judged: 1 of 3 seeds"),
    ],
)
def test_what_the_rule_says(own, base, want):
    assert language.verdict(own, base) == want


def test_a_row_a_condition_with_every_seed():
    runs = pd.concat(
        [_run("base", seed, [0, 0.5, 0.5]) for seed in range(3)]
        + [_run("slow", seed, [0, 0, 0.5]) for seed in range(3)]
    )
    base, slow = language.conditions(runs).splitlines()[2:]
    assert base.startswith("| base: two heads")
    assert "| 0.1, 0.1, 0.1 | .50 | .10 |" in base
    assert base.endswith("| - |")
    assert "not formed, not formed, not formed" in slow
    assert slow.endswith("| prevents |")


def test_the_page_has_the_text_around_the_table():
    page = language.page(_run("base", 0, [0, 0.5, 0.5]))
    assert page.startswith("# In language\n")
    assert "## Tries before" in page
    assert "<!-- conditions -->" not in page
