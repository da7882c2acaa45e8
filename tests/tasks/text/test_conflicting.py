"""Contexts that contradict bigrams: what differs from their controls, and what is balanced."""

from collections import Counter

import numpy as np
import pytest
from known_token_models import T, V, text, token_config

from mechicl.errors import ConfigError
from mechicl.evaluators import evaluation_set
from mechicl.tasks.text.conflicting import REPEATS, conflicting, distances, fixed
from mechicl.tasks.text.corpus import Corpus
from mechicl.tasks.text.ngrams import bigrams_in, fixed_in

SOURCE = text()
CONFIG = token_config(SOURCE)
N = 4 * len(bigrams_in(SOURCE, V)) * len(REPEATS) * len(distances(T))


def drawn(name: str):
    return evaluation_set(name, CONFIG, SOURCE, n=N)


def test_a_conflict_is_what_its_name_says():
    batch = drawn("conflict")
    ids, a = batch.ids.numpy(), batch.ids[:, -1].numpy()
    assert (batch.held.numpy() == a + 8).all()
    for row, one, b, c, cue in zip(ids, a, batch.shown.tolist(), batch.held.tolist(), batch.cue.numpy(), strict=True):
        assert np.flatnonzero(row[:-1] == one).tolist() == np.flatnonzero(cue).tolist()
        assert (row[1:][cue[:-1]] == b).all()
        assert (row == b).sum() == cue.sum()
        assert c not in row


def test_controls_are_the_same_sequences_but_for_one_thing():
    conflict, agreement, unshown = map(drawn, ("conflict", "agreement", "unshown"))
    ids, cue = conflict.ids, conflict.cue
    after = conflict.roles()["shown"]
    for control in (agreement, unshown):
        assert control.held.equal(conflict.held)
        assert control.shown.equal(conflict.shown)
        assert control.cue.equal(cue)
    assert (agreement.ids != ids).equal(after)
    assert (agreement.ids[after] == agreement.held[:, None].expand_as(ids)[after]).all()
    assert (unshown.ids != ids).equal(cue)
    last = unshown.ids[:, -1:]
    assert ((unshown.ids == last).sum(1) == 1).all()  # A itself is nowhere before


def test_it_is_balanced():
    batch = drawn("conflict")
    assert Counter(batch.shown.tolist()) == Counter(batch.held.tolist())
    repeats = Counter(batch.cue.sum(1).tolist())
    assert set(repeats) == set(REPEATS)
    assert len(set(repeats.values())) == 1
    last = [np.flatnonzero(cue)[-1] for cue in batch.cue.numpy()]
    far = Counter(T - 2 - at for at in last)
    assert set(far) == set(distances(T))
    assert len(set(far.values())) == 1
    # Both of a couple share all that is around, so no answer can be told from it.
    one, other = batch[::2], batch[1::2]
    assert one.cue.equal(other.cue)
    assert one.shown.equal(other.held)
    same = one.ids == other.ids
    apart = one.cue | one.roles()["shown"] | one.roles()["query"]
    assert same.equal(~apart)


def test_weights_asks_what_is_fixed_and_nowhere_in_the_context():
    batch = evaluation_set("weights", CONFIG, SOURCE)
    assert (batch.held == batch.ids[:, -1] + 8).all()  # in this text, the last token alone says it
    assert not (batch.ids == batch.held[:, None]).any()
    grams = {tuple(each) for each in fixed_in(SOURCE).prefix.tolist()}
    assert {tuple(each) for each in batch.ids[:, -3:].tolist()} <= grams


def test_without_a_text_random_tokens_are_around():
    nobody, rng = Corpus(None, None), np.random.default_rng(0)
    known = bigrams_in(SOURCE, V)
    batch = conflicting("conflict", nobody, known, V, 64, T, rng)
    assert set(batch.ids.unique().tolist()) == set(range(V))


def test_what_has_no_room_is_said():
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="at least 24"):
        conflicting("conflict", SOURCE, bigrams_in(SOURCE, V), V, 8, 22, rng)
    with pytest.raises(ConfigError, match="give at least 5"):
        fixed(SOURCE, fixed_in(SOURCE), V, 8, 4, rng)
