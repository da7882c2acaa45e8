"""What is asked of language models, of models whose answers are known."""

import numpy as np
import pytest
from known_models import without_head
from known_token_models import (
    INDUCTION,
    SHOUT,
    T,
    V,
    bigram_model,
    both_model,
    induction_model,
    table,
    text,
    token_config,
)

from mechicl.evaluators import chance, evaluate_params, evaluation_set, evaluation_sets
from mechicl.models.params import pack
from mechicl.registry import EVALUATORS, applying, leading
from mechicl.tasks.text.spans import stretches

SOURCE = text()
CONFIG = token_config(SOURCE)


@pytest.fixture(scope="module")
def sets():
    return evaluation_sets(CONFIG, SOURCE)


@pytest.fixture(scope="module")
def scored(sets):
    """model -> (evaluator, metric) -> value."""
    models = {"bigram": bigram_model(SOURCE), "induction": induction_model(SOURCE), "both": both_model(SOURCE)}
    models["no head"] = without_head(models["both"], *INDUCTION)
    rows = {name: evaluate_params(pack(w), sets, CONFIG) for name, w in models.items()}
    return {name: {(r["evaluator"], r["metric"]): r["value"] for r in each} for name, each in rows.items()}


def test_a_run_with_text_has_all_of_them():
    assert applying(CONFIG) == ["repeat", "text", "loss", "weights", "agreement", "unshown", "conflict"]
    assert leading(applying(CONFIG)) == "repeat"
    bare = token_config(SOURCE, corpus=None, bigrams=None)
    assert applying(bare) == ["repeat"]
    assert "no text" not in EVALUATORS["conflict"].lacking(bare)


FOLLOWS, CONTEXT, WEIGHTS = "follows_context", "context_acc", "weights_acc"


@pytest.mark.parametrize(
    ("model", "evaluator", "metric", "value"),
    [
        # The table knows what follows, and reads no context.
        ("bigram", "weights", "acc", 1),
        ("bigram", "conflict", FOLLOWS, 0),
        ("bigram", "conflict", WEIGHTS, 1),
        ("bigram", "conflict", CONTEXT, 0),
        ("bigram", "conflict", "neither", 0),
        ("bigram", "conflict", "weights_prob", 1),
        ("bigram", "agreement", FOLLOWS, 0),
        ("bigram", "unshown", FOLLOWS, 0),
        # The circuit reads the context, and knows nothing.
        ("induction", "repeat", "token_acc", 1),
        ("induction", "repeat", "loss", np.log(1 + (V - 1) * np.exp(-SHOUT))),
        ("induction", "conflict", FOLLOWS, 1),
        ("induction", "conflict", CONTEXT, 1),
        ("induction", "conflict", "logit_difference", SHOUT),
        ("induction", "agreement", WEIGHTS, 1),
        ("induction", "agreement", FOLLOWS, 0),
        ("induction", "weights", "acc", 0),
        ("induction", "unshown", FOLLOWS, 1),  # B is somewhere, C is not: what this control is for
        # Both: the context wins where it says something, and the table answers where it does not.
        ("both", "repeat", "token_acc", 1),
        ("both", "conflict", FOLLOWS, 1),
        ("both", "conflict", CONTEXT, 1),
        ("both", "agreement", WEIGHTS, 1),
        ("both", "unshown", FOLLOWS, 0),
        # Without its induction head the weights win.
        ("no head", "conflict", FOLLOWS, 0),
        ("no head", "conflict", WEIGHTS, 1),
    ],
)
def test_known_models_score_what_they_must(scored, model, evaluator, metric, value):
    assert scored[model][evaluator, metric] == pytest.approx(value, abs=1e-4)


def test_the_table_s_loss_is_exact_at_every_stretch(scored, sets):
    tokens = sets["loss"].tokens.numpy()
    each = -np.log(table(SOURCE))[tokens[:, :-1], tokens[:, 1:]]
    found, ends = scored["bigram"], stretches(T)
    early, late = (each[:, slice(*ends[name])].mean() for name in ("_early", "_late"))
    assert found["loss", "loss"] == pytest.approx(each.mean(), abs=1e-5)
    assert found["loss", "in_context_score"] == pytest.approx(late - early, abs=1e-5)
    assert found["loss", "in_context_gain"] == pytest.approx(early - late, abs=1e-5)
    random = -np.log(table(SOURCE))[sets["repeat"].ids, sets["repeat"].tokens[:, 1:]]
    assert found["repeat", "loss_first"] == pytest.approx(random[:, : T // 2].mean(), abs=1e-4)
    assert found["repeat", "loss"] == pytest.approx(random[:, T // 2 :].mean(), abs=1e-4)


@pytest.mark.parametrize("evaluator", applying(CONFIG))
def test_a_model_that_knows_nothing_scores_chance(sets, evaluator):
    batch = sets[evaluator]
    nothing = {name: w * (not name.startswith("unembed")) for name, w in bigram_model(SOURCE).items()}
    rows = {row["metric"]: row for row in evaluate_params(pack(nothing), {evaluator: batch}, CONFIG)}
    levels = chance(evaluator, batch, V)
    assert set(rows) == set(batch.recorded) <= set(levels)
    smooth = [name for name in rows if "loss" in name or "prob" in name or "in_context" in name or "logit" in name]
    assert smooth
    for name in smooth:
        assert rows[name]["value"] == pytest.approx(levels[name], abs=1e-5)
        assert rows[name]["n"] == 96


def test_what_is_right_or_wrong_has_wilson_s_interval(sets):
    rows = evaluate_params(pack(both_model(SOURCE)), {"conflict": sets["conflict"]}, CONFIG)
    row = next(row for row in rows if row["metric"] == FOLLOWS)
    assert (row["value"], row["ci_high"]) == (1, 1)
    assert row["ci_low"] == pytest.approx(96 / (96 + 1.959964**2))


def test_the_stretches_are_olsson_s_places():
    for name, place in (("_early", 50), ("_late", 500)):
        start, stop = stretches(512)[name]
        assert start <= place < stop
    for t in (4, 24, 64, 128):
        for start, stop in stretches(t).values():
            assert 0 <= start < stop <= t
    assert stretches(64) == {"_early": (4, 8), "_late": (60, 64)}


def test_conflict_on_text_is_the_same_set_every_time():
    again = evaluation_set("conflict", CONFIG, text())
    assert again.tokens.equal(evaluation_set("conflict", CONFIG, SOURCE).tokens)
    assert not again.tokens.equal(evaluation_set("conflict", CONFIG, SOURCE, split=1).tokens)
