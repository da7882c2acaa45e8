"""Claims 8.6 and 8.7, from the tables of models whose answers are known, each as five seeds."""

import pandas as pd
import pytest
from known_series import behind_recall, rise_and_fall

from analyses.circuits import run
from research import tables
from research.circuits import compact
from research.experiments import circuits

pytestmark = pytest.mark.slow  # two runs trained and every circuit analysis of both


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    at = tmp_path_factory.mktemp("known")
    made = {"circuits": rise_and_fall(at / "demo"), "circuits-iwl": behind_recall(at / "iwl")}
    held = {name: compact(run(series, progress=False).table) for name, series in made.items()}
    return {name: pd.concat([table.assign(seed=seed) for seed in range(5)]) for name, table in held.items()}


@pytest.fixture
def claims(found, monkeypatch):
    """What the claims say of these tables, or of altered ones."""

    def said(**changed):
        monkeypatch.setattr(tables, "read", (found | changed).get)
        return {claim.key: claim for claim in circuits.claims()}

    return said


def test_what_was_not_measured_is_said_so(claims):
    assert {c.status for c in claims(**{"circuits": None, "circuits-iwl": None}).values()} == {"not run yet"}


def test_recall_in_the_mlp_and_icl_outside_of_it(claims):
    claim = claims()["8.7"]
    assert claim.status == "supported"
    assert [part.effect for part in claim.parts] == ["+1.00 [+1.00, +1.00], n = 5", "+0.00 [+0.00, +0.00], n = 5"]
    assert "Without the MLP at the end Flip rises by 1.000" in "\n".join(claim.text)
    assert "last layer's MLP writes" in "\n".join(claim.text)


@pytest.mark.parametrize("seeds", [5, 2])
@pytest.mark.parametrize(("evaluator", "step"), [("iwl", 10), ("icl", 5)])
def test_either_part_can_fail(claims, found, evaluator, step, seeds):
    """Recall that stays without the MLP, or ICL that goes with it: in all seeds, or in some."""
    table = found["circuits-iwl"].copy()
    without = (table.topic == "mlps") & (table.intervention == "mean L1 MLP") & (table.seed < seeds)
    table.loc[without & (table.evaluator == evaluator) & (table.step == step), "value"] = 1.0 if step == 10 else 0.5
    wanted = "contradicted" if seeds == 5 else "inconclusive"
    assert claims(**{"circuits-iwl": table})["8.7"].status == wanted


@pytest.mark.parametrize(
    ("first", "control", "kept", "status"),
    [(0.9, 0.5, 0.9, "supported"), (0.9, 0.9, 0.9, "contradicted"), (0.9, 0.5, 0.5, "contradicted")],
)
@pytest.mark.parametrize("seeds", [5, 3])
def test_which_half_carries_the_switch(claims, found, first, control, kept, status, seeds):
    """kept: what the peak's model has with the second half of the end."""
    table = found["circuits"].copy()
    halves, end = table.topic == "halves", table.step.max()
    at_end = halves & (table.evaluator == "icl") & (table.step == end)
    at_peak = halves & table.evaluator.isin(["icl", "flip"]) & (table.step < end)
    for rows, name, value in (
        (at_end, "intact", 0.5),
        (at_end, "first half from the peak", first),
        (at_end, "first half from before ICL", control),
        (at_peak, "intact", 0.9),
        (at_peak, "second half from the end", kept),
    ):
        table.loc[rows & (table.condition == name), "value"] = value
    if seeds < 5:  # in the others nothing is carried by any half
        table.loc[(at_end | at_peak) & (table.seed >= seeds), "value"] = 0.5
    got = claims(circuits=table)["8.6"]
    assert got.status == (status if seeds == 5 else "contradicted" if control == 0.9 else "inconclusive")
    assert [part.status for part in got.parts[1:]] == [got.parts[1].status] * 2


def test_every_group_of_heads_stands_beside_its_control(claims):
    text = "\n".join(claims()["8.6"].text)
    for name in ("ICL", "CIWL"):
        assert f"without {name}'s heads |" in text
        assert f"without as many other heads of the same layers as {name}'s |" in text
