"""Whether the time of measurement explains a difference: each answer can come, from numbers that are put in by hand."""

import pytest

from research import mechanism_2025
from research import mechanism_2025_late as late

FLIP = next(number for number in late.NUMBERS if number.about == "Flip, no direct path")


@pytest.fixture
def runs():
    """Seeds 0 and 1 at 20 million, twice; the second stands for 64 million."""
    every = mechanism_2025.read()
    assert every is not None
    every = every[every.seed < 2]
    return every, every.copy()


def put(table, seed: int, value: float) -> None:
    rows = (table.seed == seed) & (table.part == "interventions") & (table.condition == FLIP.condition)
    table.loc[rows & (table.evaluator == FLIP.evaluator), "value"] = value


def answer(early, longer, about: str) -> str:
    (row,) = [line for line in late.section(early, longer).splitlines() if line.startswith(f"| {about} |")]
    return row.split("|")[-2].strip()


@pytest.mark.parametrize(("values", "said"), [((0.05, 0.04), "yes"), ((0.05, 0.40), "open"), ((0.25, 0.40), "no")])
def test_it_is_explained_where_the_number_arrives_in_both_seeds(runs, values, said):
    early, longer = runs
    for seed, value in enumerate(values):
        put(longer, seed, value)
    assert answer(early, longer, FLIP.about) == said


def test_a_number_arrives_when_it_is_near_or_has_lost_two_thirds_of_its_distance():
    number = late.Number("a number", 0.5, "intact", "flip")
    assert late.arrived(number, early=0.2, late=0.46)  # near
    assert late.arrived(number, early=0.2, late=0.41)  # .09 of .3 are left
    assert not late.arrived(number, early=0.2, late=0.38)
    assert not late.arrived(number, early=0.2, late=0.7)  # beyond it


def test_shares_are_of_the_margin_above_chance(runs):
    early, _ = runs
    number = next(each for each in late.NUMBERS if each.condition == "direct path alone")
    assert number.published == pytest.approx((0.6242 - 0.5) / (0.9874 - 0.5))
    assert number.of(early[early.seed == 0]) == pytest.approx(0.426, abs=0.001)  # as the page's rules have it


def test_rules_that_are_missed_are_named(runs):
    assert "strength (seed 1: highest +0.34, at the end -0.02" in late.section(*runs)


def test_one_seed_explains_nothing(runs):
    early, longer = runs
    assert answer(early, longer[longer.seed == 0], FLIP.about) == "1 of 2 seeds"
