"""Scores of models that are known: one that infers, one that recalls, one that knows nothing."""

import numpy as np
import pytest
import torch

from mechicl.config import Config
from mechicl.errors import ConfigError
from mechicl.evaluators import evaluation_set
from mechicl.tasks.markov import Markov
from mechicl.tasks.markov.chains import bigram, retrieval, unigram

CONFIG = Config(name="x", steps=1, task=Markov(n_states=4, n_chains=6, length=24), n_eval=300)
SOURCE = CONFIG.task.source(CONFIG) if CONFIG.task else None


def answered(name: str, predictor: str) -> dict[str, float]:
    """Means of all metrics of a model whose answers are exactly those of a predictor."""
    batch = evaluation_set(name, CONFIG, SOURCE)
    states = batch.states.numpy()
    said = {
        "unigram": lambda: unigram(states, 4),
        "bigram": lambda: bigram(states, 4, 1.0),
        "retrieval": lambda: retrieval(states, SOURCE.trained),
        "uniform": lambda: np.full((300, 24, 4), 0.25),
        "true": lambda: batch.true.numpy(),
    }[predictor]()
    # As the unembedding is the identity, the final residual stream is the answer.
    params = {"unembed.W_U": torch.eye(4), "unembed.b_U": torch.zeros(4)}
    scored = batch.score(params, torch.from_numpy(np.log(said)).float(), batch.recorded)
    return {metric: float(x.mean()) for metric, x in scored.items()}


@pytest.mark.parametrize(
    ("name", "predictor", "metric", "value"),
    [
        ("inference", "unigram", "inference_gain", 0.0),
        ("inference", "bigram", "inference_gain", 1.0),
        ("recall", "bigram", "recall_gain", 0.0),
        ("recall", "retrieval", "recall_gain", 1.0),
        ("recall", "retrieval", "kl_retrieval", 0.0),
        ("inference", "bigram", "kl_bigram", 0.0),
        ("inference", "unigram", "kl_unigram", 0.0),
        ("conflict", "true", "kl", 0.0),
        ("conflict", "true", "follows_context", 1.0),
        ("conflict", "uniform", "loss", np.log(4)),
    ],
)
def test_known_models_score_what_they_must(name, predictor, metric, value):
    assert answered(name, predictor)[metric] == pytest.approx(value, abs=2e-5)


def test_under_conflict_the_context_and_the_weights_say_different_things():
    assert answered("conflict", "bigram")["follows_context"] > 0.75
    assert answered("conflict", "retrieval")["follows_context"] < 0.35  # two of four rows say otherwise


def test_conflict_scores_only_the_exchanged_states_that_were_shown_before():
    batch = evaluation_set("conflict", CONFIG, SOURCE)
    assert batch.scored.any(1).all()
    assert not batch.scored[:, :12].any()
    same = (batch.true == batch.held).all(-1)
    assert not same[batch.scored].any()
    for b, t in batch.scored.nonzero().tolist()[:50]:
        assert batch.states[b, t] in batch.states[b, :t]


def test_a_part_of_a_set_scores_as_it_does_within_the_whole():
    batch = evaluation_set("inference", CONFIG, SOURCE)
    params = {"unembed.W_U": torch.randn(5, 4), "unembed.b_U": torch.randn(4)}
    final = torch.randn(2, 3, 300, 24, 5)
    whole = batch.score(params, final, batch.recorded)
    part = batch[100:110].score(params, final[:, :, 100:110], batch.recorded)
    for metric, x in part.items():
        assert x.shape == (2, 3, 10)
        assert torch.allclose(x, whole[metric][..., 100:110], atol=1e-5)


def test_a_metric_that_the_set_has_not_is_refused():
    batch = evaluation_set("inference", CONFIG, SOURCE)
    for name in ("acc", "follows_context"):
        with pytest.raises(ConfigError, match="inference_gain"):
            batch.score({"unembed.W_U": torch.eye(4), "unembed.b_U": torch.zeros(4)}, torch.zeros(300, 24, 4), [name])
