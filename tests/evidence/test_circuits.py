"""Claims 8.6 and 8.7, from the tables of models whose answers are known."""

import pytest
from known_series import behind_recall, rise_and_fall

from analyses.circuits import run
from evidence import tables
from evidence.circuits import compact
from evidence.experiments import circuits


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    at = tmp_path_factory.mktemp("known")
    made = {"circuits": rise_and_fall(at / "demo"), "circuits-iwl": behind_recall(at / "iwl")}
    return {name: compact(run(series, progress=False).table) for name, series in made.items()}


@pytest.fixture
def claims(found, monkeypatch):
    """What the claims say of these tables, or of altered ones."""

    def said(**changed):
        monkeypatch.setattr(tables, "read", (found | changed).get)
        return {claim.key: claim for claim in circuits.claims()}

    return said


def test_what_was_not_measured_is_said_so(claims):
    assert {c.verdict for c in claims(**{"circuits": None, "circuits-iwl": None}).values()} == {"not run yet"}


def test_recall_in_the_mlp_and_icl_outside_of_it(claims):
    claim = claims()["8.7"]
    assert claim.verdict == "reproduced"
    assert claim.number == "without the MLP: IWL at the end -1.000, ICL at the peak +0.000 (medians)"
    assert "Without the MLP at the end Flip rises by 1.000" in "\n".join(claim.text)
    assert "last layer's MLP writes" in "\n".join(claim.text)


@pytest.mark.parametrize(("evaluator", "step", "verdict"), [("iwl", 10, "partly"), ("icl", 5, "partly")])
def test_either_part_can_fail(claims, found, evaluator, step, verdict):
    """Recall that stays without the MLP, or ICL that goes with it."""
    table = found["circuits-iwl"].copy()
    without = (table.topic == "mlps") & (table.intervention == "mean L1 MLP")
    table.loc[without & (table.evaluator == evaluator) & (table.step == step), "value"] = 1.0 if step == 10 else 0.5
    assert claims(**{"circuits-iwl": table})["8.7"].verdict == verdict


def test_every_group_of_heads_stands_beside_its_control(claims):
    text = "\n".join(claims()["8.6"].text)
    for name in ("ICL", "CIWL"):
        assert f"without {name}'s heads |" in text
        assert f"without as many others of {name}'s heads' layers |" in text
