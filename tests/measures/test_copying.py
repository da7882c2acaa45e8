"""Copying scores of heads that are known."""

import pytest
from known_token_models import INDUCTION

from mechicl.errors import ConfigError
from mechicl.measures import copying_scores


def test_the_head_that_copies_has_one_and_all_others_chance(token_series):
    table = copying_scores(token_series, [10, 20]).set_index(["step", "layer", "head"])
    assert set(table.evaluator) == {"repeat"}
    assert (table.n == 96).all()
    assert table.value[20, *INDUCTION] == 1
    assert (table.value.drop((20, *INDUCTION)) == 0.5).all()  # the head before it writes nothing that is read out


@pytest.mark.slow
def test_random_heads_have_chance(opened):
    """Of an untrained model, whose heads have nothing to do with what they look at; RMSNorm, grouped queries."""
    table = copying_scores(opened("llama"), [0])
    assert len(table) == 8
    assert table.value.mean() == pytest.approx(0.5, abs=0.1)
    assert table.value.between(0, 1).all()


def test_labels_are_no_tokens(tiny_series):
    with pytest.raises(ConfigError, match="copying scores need a task of tokens"):
        copying_scores(tiny_series)
