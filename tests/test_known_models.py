"""The hand-written models answer as their docstrings say, and each known head is the cause."""

import pytest
from known_models import (
    INDUCTION_HEAD,
    PREVIOUS_TOKEN_HEAD,
    induction_model,
    lookup_model,
    without_head,
)

from mechicl.engine.forward import forward
from mechicl.evaluators import evaluate_params, evaluation_set, evaluation_sets
from mechicl.models.params import pack
from mechicl.tasks.exemplar_label.banks.build import build_bank


def scores(config, weights) -> dict[tuple[str, str], float]:
    rows = evaluate_params(pack(weights), evaluation_sets(config, build_bank(config)), config)
    return {(r["evaluator"], r["metric"]): r["value"] for r in rows}


@pytest.mark.parametrize("n_pairs", [2, 4, 8])
def test_induction_model_answers_from_context_only(n_pairs):
    got = scores(*induction_model(n_pairs))
    for name in ("train", "icl", "flip", "icl_holdout"):
        assert got[name, "in_context_acc"] == 1.0, name
        assert got[name, "acc"] == 1.0, name
        assert got[name, "loss"] < 0.01, name
    assert got["iwl", "acc"] == 0.0
    assert got["ciwl", "in_context_acc"] == pytest.approx(1 / n_pairs, abs=0.07)


@pytest.mark.parametrize("n_pairs", [2, 4, 8])
def test_lookup_model_answers_from_weights_only(n_pairs):
    got = scores(*lookup_model(n_pairs))
    assert got["iwl", "acc"] == 1.0
    assert got["iwl", "in_context_acc"] == 0.0
    assert got["ciwl", "in_context_acc"] == 1.0
    assert got["train", "in_context_acc"] == 1.0
    assert got["flip", "in_context_acc"] == 0.0
    assert got["icl", "in_context_acc"] == pytest.approx(0.5, abs=0.07)
    assert got["icl_holdout", "in_context_acc"] == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("head", [PREVIOUS_TOKEN_HEAD, INDUCTION_HEAD])
def test_without_a_head_of_the_circuit_icl_is_chance(head):
    config, weights = induction_model()
    got = scores(config, without_head(weights, *head))
    for name in ("train", "icl", "flip", "icl_holdout"):
        assert got[name, "in_context_acc"] == pytest.approx(0.5, abs=0.08), name


@pytest.mark.parametrize("head", [(0, 0), (0, 2), (0, 3), (1, 0), (1, 1), (1, 3)])
def test_without_any_other_head_nothing_changes(head):
    config, weights = induction_model()
    assert scores(config, without_head(weights, *head)) == scores(config, weights)


def test_patterns_of_the_circuit():
    config, weights = induction_model()
    batch = evaluation_set("icl", config, build_bank(config))
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in (0, 1)]
    acts = forward(pack(weights), batch, config.model, capture=names, query_only=False).acts
    previous = acts[names[0]][:, PREVIOUS_TOKEN_HEAD[1]]
    assert previous[:, range(1, 5), range(4)].min() > 0.999
    induction = acts[names[1]][:, INDUCTION_HEAD[1], -1]  # [b, t]
    shown = (batch.classes[:, :-1] == batch.classes[:, -1:]).nonzero()
    after = induction[shown[:, 0], 2 * shown[:, 1] + 1]
    assert len(after) == len(batch)
    assert after.min() > 0.999
