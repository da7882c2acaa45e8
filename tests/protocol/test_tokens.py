"""Scores of attention that any sequence of tokens defines."""

import numpy as np
import pytest
import torch

from mechicl.protocol.tokens import token_attention


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
