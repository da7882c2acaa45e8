"""What a corpus fixes, counted by hand."""

import numpy as np
import pytest
from known_token_models import V, bigram_model, text, token_config

from mechicl.errors import ConfigError, SeriesError
from mechicl.models.params import pack
from mechicl.tasks.text import own_bigrams
from mechicl.tasks.text.ngrams import Bigrams, bigrams_in, bigrams_of, coupled, fixed_of

SOURCE = text()


def pairs(known: Bigrams) -> set[tuple[int, int]]:
    return set(zip(known.first.reshape(-1).tolist(), known.then.reshape(-1).tolist(), strict=True))


def test_the_bigrams_of_a_text_are_found_in_couples():
    known = bigrams_in(SOURCE, V)
    assert pairs(known) == {(i, i + 8) for i in range(8)}
    assert len(known) == 4
    assert (known.share == 1).all()
    for couple in range(4):
        own = {*known.first[couple], *known.then[couple]}
        assert not own & {*known.stranger[couple]}
        assert {*known.stranger[couple]} <= set(range(8))


def documents(*parts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(parts), np.cumsum([0, *map(len, parts)])


def test_the_end_of_a_document_is_followed_by_nothing():
    ids, starts = documents(*[[i, 10 + i] for i in range(8) for _ in range(10)])
    assert pairs(bigrams_of(ids, starts, 20)) == {(i, 10 + i) for i in range(8)}
    with pytest.raises(ConfigError, match="found 0 pairs of bigrams"):
        bigrams_of(*documents(*[[i] for i in ids]), 20)


def test_a_weak_or_rare_bigram_is_none():
    strong = [[i, 10 + i] for i in range(8) for _ in range(10)]
    rare = [[8, 18]] * 9
    weak = [[9, x] for x in (19, 10, 11) for _ in range(10)]
    assert pairs(bigrams_of(*documents(*strong, *rare, *weak), 20)) == {(i, 10 + i) for i in range(8)}


def test_successors_of_a_couple_contradict_each_other():
    """Of two bigrams whose first tokens are followed by both successors there is no couple."""
    first, then = np.arange(10), np.arange(10, 20)
    cross = np.eye(10) * 0.9
    cross[0, 1:] = 0.2
    assert 0 not in coupled(first, then, cross, np.ones(20)).first


def test_fixed_continuations_by_hand():
    always = [[i, 20, 21, 10 + i] for i in range(5) for _ in range(10)]
    sometimes = [[7, 20, 21, x] for x in (16, 17) for _ in range(10)]
    rare = [[8, 20, 21, 18]] * 9
    own = [[9, 20, 21, 9]] * 20
    known = fixed_of(*documents(*always, *sometimes, *rare, *own))
    found = {(*gram, then) for gram, then in zip(known.prefix.tolist(), known.then.tolist(), strict=True)}
    assert found == {(i, 20, 21, 10 + i) for i in range(5)}
    with pytest.raises(ConfigError, match="give more text"):
        fixed_of(*documents(*sometimes))


def test_large_vocabularies_do_not_overflow():
    step = 2_000_003
    always = [[i * step, 20, 21, 22, (10 + i) * step] for i in range(5) for _ in range(10)]
    ids, starts = documents(*always)
    known = fixed_of(ids, starts, order=4)
    assert sorted(known.then.tolist()) == [(10 + i) * step for i in range(5)]


def test_a_model_run_on_single_tokens_says_its_own_bigrams(tmp_path):
    model = token_config(SOURCE).model
    alone = pack(bigram_model(SOURCE))
    alone["pos_embed.W_pos"] = alone["pos_embed.W_pos"][:1]  # as a model from elsewhere reads shorter sequences
    known = own_bigrams.own_bigrams(alone, model, V)
    assert pairs(known) == {(i, i + 8) for i in range(8)}
    assert known.share == pytest.approx(1, abs=1e-3)
    sha256 = own_bigrams.keep(tmp_path, known)
    again = own_bigrams.kept(tmp_path, sha256)
    assert all(np.array_equal(getattr(again, name), x) for name, x in vars(known).items())
    for folder, said in ((tmp_path, "does not have the bigrams"), (tmp_path / "no", "is missing")):
        with pytest.raises(SeriesError, match=said):
            own_bigrams.kept(folder, "0" * 64)
    nothing = {name: w * (not name.startswith("unembed")) for name, w in alone.items()}
    with pytest.raises(ConfigError, match="found 0 pairs of bigrams"):
        own_bigrams.own_bigrams(nothing, model, V)
