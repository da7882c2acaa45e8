"""Rules R to X: each verdict from made-up half-drops, among them runs that never reach it."""

import numpy as np
import pandas as pd
import pytest

from research.induction_2024_curves import share_of_plateau
from research.induction_2024_rest import HEADS, comes_late, judged

NEVER = np.inf
ALONE = [f"alone-{h}" if h != 3 else "none" for h in HEADS]


def _drops(**given: list[float]) -> dict[str, dict[int, float]]:
    names = ["main", "match", "layer", "labels-10", "labels-15", "classes-100", "own", "from-s0", "from-s1", *ALONE]
    every = {name: {} for name in names}
    return every | {name.replace("_", "-"): dict(enumerate(values)) for name, values in given.items()}


def _curve(condition: str, seed: int, half: float, plateau: float) -> list[tuple]:
    """A loss that stays at .7 over a share of its half-drop and then falls to 0."""
    points = [(0.0, 1.6), (half * (1 - plateau), 0.7), (half - 1, 0.7), (half, 0.0)]
    return [(condition, seed, "train", "loss", x, y) for x, y in points]


def _training(plateau: float) -> pd.DataFrame:
    rows = [row for c in ("from-s0", "from-s1") for s in range(5) for row in _curve(c, s, 1e5, plateau)]
    return pd.DataFrame(rows, columns=["condition", "seed", "evaluator", "metric", "sequences", "value"])


def _progress(**halves: list[float]) -> pd.DataFrame:
    rows = []
    for name, values in halves.items():
        for seed, half in enumerate(values):
            last = 1e6 if np.isinf(half) else half + 1
            rows += [
                (seed, name, 0.0, 1.0),
                (seed, name, last - 2, 1.0),
                (seed, name, last, 0.9 if np.isinf(half) else 0),
            ]
    return pd.DataFrame(rows, columns=["seed", "measure", "sequences", "value"])


def _heads(half: float, **other: list[float]) -> dict[str, list[float]]:
    return {name: [half] * 5 for name in ALONE} | {k.replace("_", "-"): v for k, v in other.items()}


@pytest.mark.parametrize(
    ("letter", "drops", "verdict"),
    [
        ("R", _heads(3e5, main=[2e5] * 5), "supported"),
        ("R", _heads(3e5, main=[2e5] * 5, alone_7=[NEVER] * 5), "contradicted"),
        ("R", _heads(3e5, main=[2e5] * 5, alone_7=[NEVER] * 2 + [3e5] * 3), "inconclusive"),
        ("R", _heads(3e5, main=[2e5] * 5, none=[NEVER] * 5), "supported"),  # it saw too little to say
        ("R", {"main": [2e5] * 5}, "not run"),
        ("S", _heads(3e5, main=[2e5] * 5), "supported"),
        ("S", _heads(3e5, main=[4e5] * 5), "contradicted"),
        ("S", _heads(3e5, main=[2.5e5] * 5, alone_1=[2e5] * 5), "inconclusive"),
        ("T", {"own": [1e4] * 5, "none": [2e5] * 5}, "supported"),
        ("T", {"own": [3e5] * 5, "none": [2e5] * 5}, "contradicted"),
        ("T", {"own": [1.5e5] * 5, "none": [2e5] * 5}, "inconclusive"),
        ("T", {"own": [1e4] * 4 + [NEVER], "none": [2e5] * 4 + [NEVER]}, "supported"),
        ("V", {"main": [1e5] * 5, "classes-100": [1.2e5] * 5}, "supported"),
        ("V", {"main": [1e5] * 5, "classes-100": [NEVER] * 5}, "inconclusive"),  # later, and not mildly
        ("V", {"main": [1e5] * 5, "classes-100": [0.9e5] * 5}, "contradicted"),
        ("W", {"labels-10": [4e5] * 5, "labels-15": [NEVER] * 5}, "supported"),
        ("W", {"labels-10": [NEVER] * 5, "labels-15": [NEVER] * 5}, "inconclusive"),
        ("W", {"labels-10": [4e5] * 5, "labels-15": [3e5] * 5}, "contradicted"),
    ],
)
def test_verdicts_of_half_drops(letter, drops, verdict):
    (found,) = (j for j in judged(_training(0.1), _progress(), _drops(**drops)) if j.letter == letter)
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("own", "plateau", "verdict"),
    [(1e4, 0.1, "supported"), (1e4, 0.8, "contradicted"), (0.9e5, 0.1, "contradicted")],
)
def test_another_seeds_layer_0_gives_no_head_start_and_no_plateau(own, plateau, verdict):
    """Seed 0 has one donor, seed 1; seed 1 has seed 0; the others have both."""
    donors = {"from-s0": [1e5] * 5, "from-s1": [1e5] * 5}
    found = judged(_training(plateau), _progress(), _drops(own=[own] * 5, none=[2e5] * 5, **donors))
    (about,) = (j for j in found if j.letter == "U")
    assert about.verdict == verdict
    assert "n = 5" in about.numbers


def test_a_donor_is_never_the_run_s_own_seed():
    only_own = _drops(own=[1e4], none=[2e5])
    only_own["from-s0"] = {0: 1e4}
    (about,) = (j for j in judged(_training(0.1), _progress(), only_own) if j.letter == "U")
    assert about.verdict == "not run"


@pytest.mark.parametrize(
    ("reached", "late"),
    [
        ([(3e5, 3e5), (4e5, 4e5)], True),
        ([(3e5, 3e5), (1.9e5, 3e5)], False),
        ([(NEVER, 2e5), (3e5, 3e5)], True),
        ([(NEVER, 1.5e5), (3e5, 3e5)], None),  # the run ended before it could be late
        ([(NEVER, 1.5e5), (1.9e5, 3e5)], False),
    ],
)
def test_whether_a_donor_comes_late(reached, late):
    assert comes_late(reached, own=1e5) is late


@pytest.mark.parametrize(
    ("match", "layer", "verdicts"),
    [
        ([2e5] * 5, [3e5] * 5, ["supported", "supported"]),
        ([2e5] * 5, [NEVER] * 5, ["supported", "inconclusive"]),  # a clamp that breaks the model shows nothing
        ([1.1e5] * 5, [1.5e5] * 5, ["contradicted", "inconclusive"]),
    ],
)
def test_clamps_of_checkpoints(match, layer, verdicts):
    drops = _drops(match=[1e5] * 5, layer=[1e5] * 5)
    found = judged(_training(0.1), _progress(match=match, layer=layer), drops)
    assert [j.verdict for j in found if j.letter == "X"] == verdicts


def test_share_of_the_plateau():
    points = np.array([[x, y] for *_, x, y in _curve("a", 0, 1e5, 0.4)])
    assert share_of_plateau(points) == pytest.approx(0.4, abs=0.01)
    assert share_of_plateau(np.array([[0, 1.6], [1e5, 1.5]])) == 0.0
    assert share_of_plateau(np.array([[0, 1.6], [2e4, 0.8], [1e5, 0.7]])) == pytest.approx(0.8)  # never leaves it
