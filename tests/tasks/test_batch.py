"""Batches of any task: what the engine and TransformerLens ask of them."""

import numpy as np
import pytest
import torch

from mechicl.config import Config
from mechicl.tasks.base import task_of
from mechicl.tasks.batch import embed_tokens, stack_batches, token_attention
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


def test_scores_of_heads_that_do_one_thing_alone():
    """Tokens A B A B C: position 2 follows A's first place with B (1), position 3 B's with A (2)."""
    ids = torch.tensor([[0, 1, 0, 1, 2]])
    at = torch.arange(5)
    heads = {
        "prefix_matching": torch.tensor([0, 0, 1, 2, 0]),
        "previous_token": (at - 1).clamp(min=0),
        "to_self": at,
        "to_first": torch.zeros(5, dtype=torch.long),
        "same_token": torch.tensor([0, 0, 0, 1, 0]),
    }
    pattern = torch.stack([torch.eye(5)[to] for to in heads.values()])[None]
    found = token_attention(pattern, ids)
    assert set(found) == set(heads)
    for i, name in enumerate(heads):
        assert found[name][0, i] == pytest.approx(1.0)
    others = {name: found["prefix_matching"][0, i].item() for i, name in enumerate(heads)}
    # A head that looks back by one is right at position 2 (it sees B at 1) and at 3 (A at 2).
    assert others == pytest.approx(
        {"prefix_matching": 1, "previous_token": 1, "to_self": 0, "to_first": 0, "same_token": 0}
    )


def test_scores_that_no_position_defines_are_not_numbers():
    found = token_attention(torch.eye(3).expand(1, 2, 3, 3), torch.tensor([[0, 1, 2]]))
    assert found["prefix_matching"].isnan().all()
    assert not found["previous_token"].isnan().any()


def test_a_sink_counts_as_one_and_as_nothing_else():
    """A head that attends to the first position alone, on sequences that repeat their first token."""
    ids = torch.tensor([[0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 2, 1]])
    sink = torch.zeros(2, 1, 6, 6)
    sink[..., 0] = 1
    found = {name: x[:, 0].tolist() for name, x in token_attention(sink, ids).items()}
    zero = ["prefix_matching", "previous_token", "same_token", "to_self"]
    assert found == {"to_first": [1, 1]} | {name: [0, 0] for name in zero}
    even = torch.ones(6, 6).tril() / torch.arange(1, 7)[:, None]
    found = token_attention(even.expand(1, 1, 6, 6), ids[:1])
    assert found["previous_token"].item() == pytest.approx(np.mean([1 / 3, 1 / 4, 1 / 5, 1 / 6]))
    assert found["to_first"].item() == pytest.approx(np.mean([1 / 3, 1 / 4, 1 / 5, 1 / 6]))
    assert found["same_token"].item() == pytest.approx(np.mean([1 / 5, 1 / 6]))  # the first token's second place: none
