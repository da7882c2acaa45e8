"""Singh et al. 2023 on drawings: each rule comes out either way on made-up runs; no verdict before all have run."""

import numpy as np
import pandas as pd
import pytest

from research import tables
from research.experiments import transience_2023
from research.experiments.against_raw import RAW, SEEDS

TIMES = np.linspace(0, 2e7, 41)


def _run(condition: str, seed: int, peak: float, decay: float, complete: bool = True) -> pd.DataFrame:
    """ICL that rises to a peak at 8 million and falls by `decay` until 20 million."""
    values = np.interp(TIMES, [0, 2e6, 8e6, 2e7], [0.5, 0.5, peak, peak - decay])
    told = {"condition": condition, "seed": seed, "complete": complete, "n": 5000, "chance": 0.5}
    parts = [
        pd.DataFrame({"step": TIMES / 32, "sequences": TIMES, "evaluator": name, "value": values})
        for name in ("icl", "flip")
    ]
    return pd.concat(parts).assign(**told)


def _three(peak: float, decay: float, condition: str) -> pd.DataFrame:
    return pd.concat([_run(condition, seed, peak, decay) for seed in SEEDS])


@pytest.fixture
def given(monkeypatch):
    held = {"figure-1b": _three(0.9, 0.2, RAW)}
    monkeypatch.setattr(tables, "read", held.get)
    return held


def _status(key: str) -> str:
    return next(claim for claim in transience_2023.claims() if claim.key == key).status


@pytest.mark.parametrize(
    ("key", "runs", "want"),
    [
        ("10.1", {"layers": (0.9, 0.2)}, "supported"),
        ("10.1", {"layers": (0.9, 0.02)}, "contradicted"),
        ("10.1", {"layers": (0.9, 0.07)}, "inconclusive"),
        ("10.1", {"layers": (0.6, 0.02)}, "inconclusive"),  # it never formed
        ("10.2", {"width_d_model-128": (0.9, 0.1), "width_d_model-32": (0.9, 0.3)}, "supported"),
        ("10.2", {"width_d_model-128": (0.9, 0.3), "width_d_model-32": (0.9, 0.1)}, "contradicted"),
        ("10.2", {"width_d_model-128": (0.9, 0.1), "width_d_model-32": (0.9, 0.21)}, "inconclusive"),
        ("10.5", {"zipf": (0.9, 0.1)}, "supported"),
        ("10.5", {"zipf": (0.9, 0.3)}, "contradicted"),
        ("10.5", {"zipf": (0.6, 0.0)}, "inconclusive"),
        ("10.6", {"l2_l2-1e-05": (0.9, 0.01)}, "supported"),
        ("10.6", {"l2_l2-1e-05": (0.9, 0.25)}, "contradicted"),
        ("10.6", {"l2_l2-1e-05": (0.6, 0.01)}, "inconclusive"),
    ],
)
def test_a_rule_comes_out_either_way(given, key, runs, want):
    given["transience-2023"] = pd.concat([_three(*how, name) for name, how in runs.items()])
    assert _status(key) == want


@pytest.mark.parametrize(("peaks", "want"), [((0.6, 0.7, 0.8), "supported"), ((0.97, 0.95, 0.92), "contradicted")])
def test_the_peak_over_classes(given, peaks, want):
    given["transience-2023"] = pd.concat(
        [_three(peak, 0.1, name) for peak, name in zip(peaks, transience_2023.CLASSES, strict=True)]
    )
    assert _status("10.3") == want


@pytest.mark.parametrize(("peaks", "want"), [((0.6, 0.7), "supported"), ((0.97, 0.95), "contradicted")])
def test_the_peak_over_exemplars(given, peaks, want):
    given["transience-2023"] = pd.concat(
        [_three(peak, 0.1, name) for peak, name in zip(peaks, transience_2023.EXEMPLARS, strict=True)]
    )
    assert _status("10.4") == want


@pytest.mark.parametrize(
    ("kept", "want"),
    [
        (("mlp", "embeddings"), "supported"),
        (("attention",), "contradicted"),
        (("mlp", "embeddings", "attention"), "inconclusive"),
        ((), "inconclusive"),
    ],
)
def test_which_weights(given, kept, want):
    runs = [_three(0.9, 0.2, "mlp")]
    runs += [_three(0.9, 0.0 if g in kept else 0.2, name) for g, name in transience_2023.GROUPS.items()]
    given["transience-2023"] = pd.concat(runs)
    assert _status("10.7") == want


def test_no_verdict_before_all_seeds_are_there(given):
    assert {claim.status for claim in transience_2023.claims()} == {"not run yet"}
    given["transience-2023"] = pd.concat([_run("layers", seed, 0.9, 0.2) for seed in SEEDS[:2]])
    assert _status("10.1") == "running"


def test_a_claim_none_of_whose_runs_has_begun_is_not_running(given):
    given["transience-2023"] = _run("zipf", 0, 0.9, 0.1)
    assert (_status("10.5"), _status("10.6")) == ("running", "not run yet")


def test_every_condition_of_the_sweep_is_in_a_claim():
    from mechicl.sweeps.plan import read_plan

    planned = {c.name for c in read_plan(tables.TABLES.parent / "sweeps" / "transience-2023.toml").conditions}
    asked = {name for why in transience_2023.CLAIMS for name in why.needs}
    assert planned - asked == {"l2_l2-0.0001"}  # of the sweep alone: a second strength, for which no rule was declared
    assert asked - {RAW} <= planned
