"""analyses/circuits on a series whose answers are known, and its rules."""

import numpy as np
import pandas as pd
import pytest
from known_models import INDUCTION_HEAD, PREVIOUS_TOKEN_HEAD
from known_series import behind_recall

from analyses.circuits import run
from analyses.circuits.grafts import first_lasting, parts
from analyses.circuits.heads import rank_correlation
from analyses.circuits.moments import Moments, moments, thinned
from mechicl.interventions import AblateHeads
from mechicl.measures.tables import COLUMNS
from mechicl.series import open_series


@pytest.fixture(scope="module")
def found(known_series):
    return run(known_series, progress=False)


def test_moments(known_series, tiny_series):
    assert moments(known_series) == Moments(before=0, peak=5, end=10, formed="flip")
    assert thinned([0, 1, 2, 3, 4, 5, 6], 3, {1, 9}) == [0, 1, 3, 6, 9]


def test_the_table(found):
    assert list(found.table.columns)[: len(COLUMNS)] == list(COLUMNS)
    assert {"topic", "condition", "effect"} <= set(found.table.columns)
    assert set(found.table.topic) == {
        "heads",
        "correlations",
        "crossed",
        "subspaces",
        "removal",
        "halves",
        "parts",
        "times",
    }
    assert set(found.figures) == {"heads", "crossed", "subspaces", "removal", "halves", "back", "late"}


def test_the_circuit_is_found_and_shares_nothing_with_the_lookup_table(found):
    crossed = found.table[found.table.topic == "crossed"]
    icl = crossed[crossed.condition == "ICL heads"]
    assert set(icl.intervention) == {str(AblateHeads(heads=(PREVIOUS_TOKEN_HEAD, INDUCTION_HEAD)))}
    at = icl.set_index(["step", "evaluator"]).value
    assert at[5, "icl"] == pytest.approx(0.5, abs=0.07)
    assert at[10, "ciwl"] == at[10, "iwl"] == 1.0
    assert "no ρ (no head matters)" in found.text[1]


def test_halves_of_the_known_models(found):
    rows = found.table[found.table.topic == "halves"].set_index(["step", "condition", "evaluator"]).value
    assert rows[0, "second half from the peak", "icl"] == 1.0  # it lacked its induction head alone
    assert rows[10, "second half from the end", "ciwl"] == rows[10, "intact", "ciwl"] == 1.0
    assert rows[5, "second half from the end", "flip"] == rows[10, "intact", "flip"] == 0.0
    assert rows[5, "first half from the end", "icl"] == pytest.approx(0.5, abs=0.07)


def test_what_ends_icl_in_the_known_models(found):
    """The lookup table reads the exemplars in its unembedding, and its heads write nothing."""
    rows = found.table[found.table.topic == "parts"].set_index(["step", "condition", "evaluator"]).value
    for part in ("unembedding", "ov.0", "ov.1", "ov"):
        assert rows[10, f"late {part}", "icl"] < 0.6, part
    for part in ("embeddings", "embed", "pos_embed"):
        assert rows[10, f"late {part}", "icl"] == 1.0, part


@pytest.mark.slow
def test_a_model_with_an_mlp(tmp_path):
    """The circuit of step 5 is still there at step 10, behind the recall of an MLP."""
    found = run(behind_recall(tmp_path / "mlp"), progress=False)
    mlps = found.table[found.table.topic == "mlps"].set_index(["step", "intervention", "evaluator"]).value
    assert (mlps[10, "intact", "flip"], mlps[10, "mean L1 MLP", "flip"]) == (0.0, 1.0)
    assert (mlps[10, "intact", "iwl"], mlps[10, "mean L1 MLP", "iwl"]) == (1.0, 0.0)
    assert any(line.startswith("With its mean in place of the MLP of layer 1 at the end: ICL") for line in found.text)
    spaces = found.table[(found.table.topic == "mlp_subspaces") & (found.table.step == 10)]
    spaces = spaces[spaces.metric == "overlap"].set_index(["evaluator", "baseline"]).value
    assert spaces["ciwl", "other half"] > 0.9  # it writes labels
    assert any("MLP of the last layer writes" in line for line in found.text)
    assert {"mlps", "subspaces"} <= set(found.figures)
    assert len(found.figures["subspaces"].layout.annotations) >= 3  # titles: together, each, MLP


def test_each_group_has_random_heads_of_its_own_layers(known_series, found):
    crossed = found.table[found.table.topic == "crossed"]
    for name in ("ICL heads", "CIWL heads"):
        (chosen,) = crossed[crossed.condition == name].intervention.unique()
        random = crossed[crossed.condition == f"random for {name}"].intervention.unique()
        layers = [head[:2] for head in chosen.removeprefix("zero ").split()]
        for other in random:
            heads = other.removeprefix("zero ").split()
            assert [head[:2] for head in heads] == layers
            assert not set(heads) & set(chosen.split())


def test_parts(known_series):
    names = parts(known_series.config.model)
    assert names["embeddings + layer.0"] == ("embeddings", "layer.0")
    assert names["embeddings + ov.0"] == ("embeddings", "ov.0")
    assert names["qk.1"] == ("qk.1",)


def test_a_change_must_last():
    def first(values):
        return first_lasting(pd.Series(values, index=range(10, 10 + len(values))))

    assert first([0, 0.2, 0, 0.1, 0.3]) == 13
    assert first([0.2, 0.2]) == 10
    assert first([0, 0, 0.5]) is None
    assert first([]) is None


def test_rank_correlation_is_within_layers():
    layers = np.repeat([0, 1], 8)
    x = np.random.default_rng(0).standard_normal(16)
    rho, p = rank_correlation(x, 2 * x, layers)
    assert rho == pytest.approx(1)
    assert p < 0.001
    assert rank_correlation(x, -x, layers)[0] == pytest.approx(-1)
    moved = np.random.default_rng(1).standard_normal(16)
    assert rank_correlation(x + 10 * layers, moved + 10 * layers, layers) == rank_correlation(x, moved, layers)
    assert np.isnan(rank_correlation(x, 0 * x, layers)).all()


@pytest.mark.slow
def test_the_demo():
    findings = run(open_series("checkpoints/demo"), progress=False, hosts=6)
    halves = findings.table[findings.table.topic == "halves"].set_index(["step", "condition", "evaluator"]).value
    assert halves[24000, "first half from the peak", "icl"] > halves[24000, "intact", "icl"] + 0.1
    assert halves[24000, "first half from the peak", "icl"] > halves[24000, "first half from before ICL", "icl"] + 0.1
