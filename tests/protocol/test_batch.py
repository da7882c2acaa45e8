"""Batches of any task: what the engine and TransformerLens ask of them."""

import pytest
import torch

from mechicl.config import Config
from mechicl.protocol.batch import stack_batches
from mechicl.protocol.known import task_of
from mechicl.protocol.tokens import embed_tokens
from mechicl.tasks.markov import Markov

TASK = Markov(n_states=4, n_chains=3, length=8)


@pytest.fixture
def batch():
    config = Config(name="x", steps=1, batch_size=6, task=TASK)
    return next(task_of(config).batches(config, TASK.source(config), 0, 1))


def test_parts_of_a_batch_are_batches(batch):
    assert len(batch) == 6
    assert batch.shape == (6, 8)
    assert torch.equal(batch[2:4].states, batch.states[2:4])
    assert len(batch[0]) == 1
    assert torch.equal(batch[:, -1], batch.ids[:, -1])
    assert not batch.stacked


def test_stacked_batches_come_apart_again(batch):
    both = stack_batches([batch, batch[[5, 4, 3, 2, 1, 0]]])
    assert both.stacked
    assert len(both) == 6
    assert torch.equal(both[0].states, batch.states)


def test_moving_keeps_whole_numbers_whole(batch):
    moved = batch.to(torch.float64)
    assert moved.states.dtype == torch.int64
    assert moved.scored.dtype == torch.bool
    assert moved.true.dtype == torch.float64


@pytest.mark.parametrize("models", [1, 2])
def test_each_stacked_model_reads_its_own_table(batch, models):
    table = torch.randn(models, 4, 5)
    x = embed_tokens(batch.ids, {"embed.W_E": table})
    assert x.shape == (models, 1, 6, 8, 5)
    for s in range(models):
        assert torch.equal(x[s, 0], embed_tokens(batch.ids, {"embed.W_E": table[s]}))
