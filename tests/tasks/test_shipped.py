"""Sequences as plain arrays, scored by what is shipped alone: the numbers that the batch itself gives."""

import numpy as np
import pytest
import torch
from known_token_models import text, token_config

from mechicl.config import Config
from mechicl.errors import ConfigError
from mechicl.evaluators import evaluation_set
from mechicl.tasks.exemplar_label.shipped import SCORED
from mechicl.tasks.markov import Markov
from mechicl.tasks.markov import shipped as of_chains

TEXT = text()
TOKENS = token_config(TEXT)
CHAINS = Config(name="x", steps=1, task=Markov(n_states=4, n_chains=6, length=12), n_eval=40)
SOURCE = CHAINS.task.source(CHAINS) if CHAINS.task else None
CASES = [
    *(("repeat", TOKENS, TEXT, metric) for metric in ("loss", "token_acc", "loss_first", "token_acc_first")),
    *(("text", TOKENS, TEXT, metric) for metric in ("loss", "token_acc")),
    *(("loss", TOKENS, TEXT, m) for m in ("in_context_gain", "in_context_score", "loss_early", "token_acc")),
    *(("weights", TOKENS, TEXT, metric) for metric in ("acc", "loss")),
    *(("conflict", TOKENS, TEXT, m) for m in ("follows_context", "context_acc", "weights_acc", "loss")),
    *((name, CHAINS, SOURCE, m) for name in ("recall", "inference") for m in ("kl", "inference_gain", "recall_gain")),
    *(("conflict", CHAINS, SOURCE, metric) for metric in ("follows_context", "kl")),
]


def read(found, z):
    """A number of every sequence from all logits [b, t, v], as a program without mechicl has it."""
    how, (b, t) = found.scored, found.tokens.shape
    log = z.log_softmax(-1).reshape(b * t, -1)[how.at].double().numpy()
    if how.term == "right":
        among = None if how.among is None else how.among.numpy()
        best = (
            log.argmax(1)
            if among is None
            else among[np.arange(len(among)), np.take_along_axis(log, among, 1).argmax(1)]
        )
        term = best == how.target.numpy()
    else:
        chosen = log if how.outputs is None else np.take_along_axis(log, how.outputs.numpy(), 1)
        term = (how.share.double().numpy() * chosen).sum(1)
        term = term > how.bound.numpy() if how.term == "more" else term
    out = how.offset.double().numpy().copy()
    np.add.at(out, (how.at // t).numpy(), how.weight.double().numpy() * term)
    return out


def answers(z, everywhere):
    """Parameters and a final residual stream whose answers are these logits."""
    v = z.shape[-1]
    return {"unembed.W_U": torch.eye(v), "unembed.b_U": torch.zeros(v)}, z if everywhere else z[:, -1]


@pytest.mark.parametrize(("evaluator", "config", "source", "metric"), CASES)
def test_what_is_shipped_is_enough_to_score(evaluator, config, source, metric):
    batch = evaluation_set(evaluator, config, source, 40)
    found = batch.shipped(config.model, metric)
    assert torch.equal(found.tokens, batch.ids)
    assert (found.scored.at.diff() > 0).all()
    torch.manual_seed(0)
    z = 2 * torch.randn(*batch.shape, config.task.n_outputs)
    (wanted,) = batch.score(*answers(z, batch.everywhere), [metric]).values()
    assert found.scored.yes_or_no == (wanted.dtype == torch.bool)
    np.testing.assert_allclose(read(found, z), wanted.double().numpy(), atol=2e-5)


@pytest.mark.parametrize("metric", SCORED)
def test_sequences_of_exemplars_and_labels_too(tiny_series, metric):
    batch = tiny_series.evaluation_set("icl", 40)
    found = batch.shipped(tiny_series.config.model, metric)
    torch.manual_seed(0)
    z = torch.randn(*batch.shape, tiny_series.task.n_outputs)
    (wanted,) = batch.score(*answers(z, everywhere=False), [metric]).values()
    np.testing.assert_array_equal(read(found, z), wanted.double().numpy())
    assert found.scored.yes_or_no


@pytest.mark.parametrize(
    ("evaluator", "config", "source", "metric"),
    [
        ("repeat", TOKENS, TEXT, "in_context_gain"),
        ("weights", TOKENS, TEXT, "follows_context"),
        ("conflict", TOKENS, TEXT, "logit_difference"),
        ("recall", CHAINS, SOURCE, "follows_context"),
    ],
)
def test_another_metric_is_refused(evaluator, config, source, metric):
    with pytest.raises(ConfigError, match=f"metric '{metric}': the page scores"):
        evaluation_set(evaluator, config, source, 4).shipped(config.model, metric)


def test_a_task_that_does_not_say_how_is_refused():
    from mechicl.protocol.batch import TaskBatch

    batch = evaluation_set("recall", CHAINS, SOURCE, 4)
    with pytest.raises(ConfigError, match=r"MarkovBatch cannot be exported.*TaskBatch.shipped.*mechicl report"):
        TaskBatch.shipped(batch, CHAINS.model, "kl")
    assert set(of_chains.SCORED) >= {"recall_gain", "inference_gain", "follows_context"}
