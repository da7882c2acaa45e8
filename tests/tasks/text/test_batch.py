"""Sequences of a corpus: no target crosses a document, and every target is seen as often."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mechicl.errors import ConfigError
from mechicl.tasks.text.batch import TokenBatch, repeated, to_learn, windows
from mechicl.tasks.text.corpus import Corpus, Entry

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=8)


def corpus(lengths):
    """Tokens that say where they stand: token i is i, so that every target of a document is its token plus 1."""
    entries = tuple(Entry(str(i), str(i), n, n) for i, n in enumerate(lengths))
    return Corpus(np.arange(sum(lengths), dtype=np.int32), None, entries)


def document_of(source, tokens):
    return np.searchsorted(source.starts, tokens, side="right") - 1


@given(LENGTHS, st.integers(2, 10).map(lambda half: 2 * half), st.integers(0, 3))
def test_no_target_crosses_a_document_and_padding_is_not_scored(lengths, t, seed):
    source = corpus(lengths)
    if max(lengths) < 2:
        with pytest.raises(ConfigError, match="nothing to learn"):
            to_learn(source, 5, t, np.random.default_rng(seed), False, 0.0)
        return
    batch = to_learn(source, 50, t, np.random.default_rng(seed), False, 0.0)
    tokens, scored = batch.tokens.numpy(), batch.scored.numpy()
    assert tokens.shape == (50, t + 1)
    read, after = tokens[:, :-1][scored], tokens[:, 1:][scored]
    assert (after == read + 1).all()
    first = document_of(source, tokens[:, 0])
    assert (document_of(source, after) == np.repeat(first, scored.sum(1))).all()
    assert scored[:, 0].all()
    assert (np.diff(scored.astype(int), axis=1) <= 0).all()  # padding is at the end, where nothing attends to it
    lengths = np.array(lengths)
    assert (scored.sum(1) == np.minimum(lengths[first] - 1, t)).all()


def test_every_target_is_seen_as_often_on_average():
    source, t = corpus([5, 9, 60, 200]), 16
    batch = to_learn(source, 40_000, t, np.random.default_rng(0), False, 0.0)
    seen = np.bincount(batch.tokens[:, 1:][batch.scored].numpy(), minlength=source.starts[-1])
    each = [seen[i + 1 : j].mean() for i, j in zip(source.starts[:-1], source.starts[1:], strict=True)]
    assert each == pytest.approx([np.mean(each)] * 4, rel=0.05)
    assert (seen[1:4] > 0).all()


def test_windows_are_whole_and_inside_one_document_and_all_are_drawn():
    source = corpus([3, 20, 5, 18])
    batch = windows(source, 400, 16, np.random.default_rng(0))
    assert batch.scored.all()
    assert (batch.tokens.diff() == 1).all()
    assert set(batch.tokens[:, 0].tolist()) == {3, 4, 5, 6, 28, 29}
    with pytest.raises(ConfigError, match="no document has more than 20 tokens"):
        windows(source, 4, 20, np.random.default_rng(0))


def test_windows_of_one_document_are_those_that_they_always_were():
    ids = np.arange(100, dtype=np.int32)
    want = np.random.default_rng(3).integers(100 - 16, size=5)
    assert windows(Corpus(ids, None), 5, 16, np.random.default_rng(3)).tokens[:, 0].tolist() == want.tolist()


def test_sequences_run_over_the_ends_where_they_are_asked_to():
    source = corpus([5] * 8)
    batch = to_learn(source, 200, 16, np.random.default_rng(0), True, 0.0)
    assert batch.scored.all()
    assert (batch.tokens.diff() == 1).all()


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_share_repeats_a_passage_of_any_length_where_it_is_whole(share):
    source = corpus([200, 6])
    batch = to_learn(source, 2000, 16, np.random.default_rng(0), False, share)
    whole = batch.scored.all(1)
    periods = [(batch.tokens[:, n:] == batch.tokens[:, :-n]).all(1) for n in range(4, 9)]
    again = torch.stack(periods).any(0)
    assert float(again[whole].float().mean()) == pytest.approx(share, abs=0.05)
    assert not again[~whole].any()
    if share == 1:
        assert all(each[whole].any() for each in periods)


def test_repeated_tokens_are_of_those_that_are_given():
    some = np.array([3, 5, 8, 9, 11, 40])
    batch = repeated(some, 30, 12, np.random.default_rng(0))
    assert np.isin(batch.tokens.numpy(), some).all()
    assert torch.equal(batch.tokens[:, 6:], batch.tokens[:, :7])
    assert all(len(set(row[:6].tolist())) == 6 for row in batch.tokens)


def test_the_loss_is_the_mean_over_real_targets():
    tokens, scored = torch.randint(7, (3, 6)), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]).bool()
    z = torch.randn(3, 5, 7)
    each = -z.log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    assert TokenBatch(tokens, scored).loss(z) == pytest.approx(float(each[scored].mean()), rel=1e-6)
