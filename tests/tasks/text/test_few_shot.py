"""Few labelled examples in the context: what a sequence says, what is asked, and what is scored."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch

from mechicl.errors import ConfigError
from mechicl.tasks.text.corpus import Corpus
from mechicl.tasks.text.few_shot import few_shot, shipped
from mechicl.tasks.text.tokenizing import trained

KINDS = ("labels", "flipped_labels", "symbols")
T = 360  # bytes of about six examples


@pytest.fixture(scope="module")
def source() -> Corpus:
    """No text, and a tokenizer of bytes."""
    return Corpus(None, None, names=trained(["some text, some text"], 260).to_str().encode())


def drawn(source, kind, n=24, t=T):
    return few_shot(kind, source, n, t, np.random.default_rng(3))


def said(source, row) -> str:
    return source._tokenizer.decode(row.tolist())


def examples(text: str) -> list[tuple[str, str]]:
    """(sentence, label) of every example that is there whole."""
    blocks = [block for block in text.split("\n\n")[:-1] if block.startswith("Input: ")]  # the last is the question
    return [tuple(part.split(": ", 1)[1] for part in block.split("\n")) for block in blocks]


CLASS = {
    sentence: (task, which)
    for task in shipped()[0]
    for which, sentences in enumerate(task.examples)
    for sentence in sentences
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_example_has_the_label_that_its_kind_gives_it(source, kind):
    named = {"labels": lambda task: task.labels, "flipped_labels": lambda task: task.labels[::-1]}
    words = named.get(kind, lambda task: shipped()[1])
    for row in drawn(source, kind).tokens:
        found = examples(said(source, row))
        assert len(found) >= 2
        for sentence, label in found:
            task, which = CLASS[sentence]
            assert label == words(task)[which]


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_the_context_s_label_of_a_sentence_that_it_does_not_show(source, kind):
    batch = drawn(source, kind)
    for row, held, other in zip(batch.tokens, batch.held, batch.other, strict=True):
        text = said(source, row)
        sentence = text.rsplit("Input: ", 1)[1].removesuffix("\nLabel: ")  # the space is common to both labels
        which = CLASS[sentence][1]
        shown = examples(text)
        assert sentence not in [other for other, _ in shown]
        labels = {CLASS[each][1]: label for each, label in shown}
        first = {which: source.encode(label)[0] for which, label in labels.items()}
        assert (held, other) == (first[which], first[1 - which])


def test_kinds_differ_in_labels_alone(source):
    texts = {kind: [examples(said(source, row)) for row in drawn(source, kind).tokens] for kind in KINDS}
    for true, flipped, symbol in zip(*(texts[kind] for kind in KINDS), strict=True):
        n = min(len(true), len(flipped), len(symbol))
        sentences = [[sentence for sentence, _ in found[-n:]] for found in (true, flipped, symbol)]
        assert sentences[0] == sentences[1] == sentences[2]
        assert all(a != b for (_, a), (_, b) in zip(true[-n:], flipped[-n:], strict=True))
    true, flipped = drawn(source, "labels"), drawn(source, "flipped_labels")
    assert torch.equal(true.held, flipped.other)
    assert torch.equal(true.other, flipped.held)


def test_classes_are_asked_and_shown_equally_often(source):
    batch = drawn(source, "labels", n=60)
    asked = Counter(batch.held.tolist())
    assert set(asked.values()) == {10}  # three classifications of two classes
    shown, not_asked = batch.same.sum(1), batch.different.sum(1)
    assert (shown - not_asked).abs().max() <= 1
    assert float((shown - not_asked).float().mean()) == pytest.approx(0, abs=0.25)


def test_roles_are_where_the_labels_stand(source):
    batch = drawn(source, "symbols")
    roles = batch.roles()
    for role, answer in (("same_label", batch.held), ("other_label", batch.other)):
        row, at = roles[role].nonzero().T
        assert torch.equal(batch.tokens[row, at], answer[row])
    assert roles["query"].sum(1).tolist() == [1] * len(batch)


@pytest.mark.parametrize(("answers", "share"), [("held", 1.0), ("other", 0.0)])
def test_who_answers_as_the_context_does_follows_it(source, answers, share):
    batch = drawn(source, "flipped_labels")
    logits = torch.randn(len(batch), 260)
    logits[torch.arange(len(batch)), getattr(batch, answers)] = 20.0
    assert batch._one("follows_context", logits).float().mean() == share
    assert batch._one("acc", logits).float().mean() == share
    assert (batch._one("logit_difference", logits) > 0).float().mean() == share


def test_chance_is_one_half(source):
    batch = drawn(source, "labels", n=600)
    guessed = batch._one("follows_context", torch.randn(len(batch), 260)).float().mean()
    assert batch.chance(260)["follows_context"] == 0.5
    assert guessed == pytest.approx(0.5, abs=0.08)


def test_what_cannot_be_asked_is_said(source):
    with pytest.raises(ConfigError, match=r"too short for the question and an example of each class.*such as"):
        drawn(source, "labels", t=60)
    with pytest.raises(ConfigError, match=r"tokenizer\.json"):
        drawn(Corpus(None, None), "labels")
    source_of = dataclasses.replace(source)
    object.__setattr__(source_of, "encode", lambda text: [1, 2, 3])
    with pytest.raises(ConfigError, match="same tokens for both labels"):
        drawn(source_of, "labels")
