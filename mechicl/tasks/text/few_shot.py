"""Small text classifications with a few labelled examples in the context (docs/references.md#wei-2023).

    Input: the cat slept on the warm stove
    Label: animal

    Input: a truck blocked the narrow road
    Label:

`labels`          every example has its own label: context and weights agree
`flipped_labels`  every label in the context is the other one, and so is the answer: the context says one thing, what
                  the words mean another
`symbols`         'foo' and 'bar' stand for the labels: only the context says what they mean

Sequence i of the three is the same but for the labels. few_shot.json has three classifications of two classes with 20
sentences each, written for this. A sequence is as long as the model reads: the last t tokens of so many examples that
the first one is cut. Both classes are asked equally often, and stand in the context equally often but for the one that
is cut.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from mechicl.errors import ConfigError
from mechicl.tasks.text.corpus import Corpus
from mechicl.tasks.text.last import LastBatch, logit_of

Kind = Literal["labels", "flipped_labels", "symbols"]
Encode = Callable[[str], list[int]]


@dataclass(frozen=True, repr=False)
class FewShotBatch(LastBatch):
    """held [b]: a token of the label that the context gives the query's class, the first in which both labels differ
    (what they have in common, as a space, stands at the end of the sequence); other [b]: that of the other label; same,
    different [b, t] bool: where these two stand in the context, as labels.

    Metrics: `follows_context`, whether the first is likelier than the second; `logit_difference`, by how much; acc,
    prob and loss as in last.py, among all tokens.
    """

    recorded: ClassVar[tuple[str, ...]] = ("follows_context", "acc", "prob", "logit_difference", "loss")

    other: Tensor
    same: Tensor
    different: Tensor

    def _one(self, name: str, said: Tensor) -> Tensor:
        if name not in ("follows_context", "logit_difference"):
            return super()._one(name, said)
        right, wrong = logit_of(said, self.held), logit_of(said, self.other)
        return right > wrong if name == "follows_context" else right - wrong

    def answers(self) -> dict[str, Tensor]:
        return {"logit_in_context": self.held, "logit_other_label": self.other}

    def roles(self) -> dict[str, Tensor]:
        """query: the last position; same_label and other_label: labels in the context."""
        return super().roles() | {"same_label": self.same, "other_label": self.different}

    def chance(self, n_outputs: int) -> dict[str, float]:
        return super().chance(n_outputs) | {"follows_context": 0.5, "logit_difference": 0.0}


@dataclass(frozen=True)
class Classification:
    """Two classes of sentences: `labels` is what each is called, `examples` the sentences of each."""

    name: str
    labels: tuple[str, str]
    examples: tuple[tuple[str, ...], tuple[str, ...]]


@cache
def shipped() -> tuple[tuple[Classification, ...], tuple[str, str]]:
    """What few_shot.json holds: classifications, and the two symbols."""
    data = json.loads((files("mechicl.tasks.text") / "few_shot.json").read_text(encoding="utf-8"))
    read = []
    for each in data["tasks"]:
        one, other = each["examples"]
        read.append(Classification(each["name"], tuple(each["labels"]), (tuple(one), tuple(other))))
    return tuple(read), tuple(data["symbols"])


def few_shot(kind: Kind, source: Corpus, n: int, t: int, rng: np.random.Generator) -> FewShotBatch:
    """`n` sequences of t tokens; of the same generator, the same but for the labels.

    Raises:
        ConfigError: there is no tokenizer, it does not tell the labels apart, or t is too short for the question and an
            example of each class.
    """
    encode = cache(source.encode)
    known, symbols = shipped()
    usable = [each for each in known if all(_common(encode, words) is not None for words in (each.labels, symbols))]
    if not usable:
        raise ConfigError("this tokenizer gives the same tokens for both labels of every classification.")
    seeds = rng.integers(2**63, size=n)  # one each: labels of another length need more or fewer examples
    rows = [
        _sequence(kind, usable[i % len(usable)], i // len(usable) % 2, encode, t, np.random.default_rng(seed))
        for i, seed in enumerate(seeds)
    ]
    tokens, held, other, same, different = (torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True))
    return FewShotBatch(tokens, held, other, same, different)


def _sequence(
    kind: Kind, task: Classification, asked: int, encode: Encode, t: int, rng: np.random.Generator
) -> tuple[Any, ...]:
    """tokens [t], the right and the other answer, where each of these stands as a label, [t] bool."""
    named = shipped()[1] if kind == "symbols" else task.labels
    words = named[::-1] if kind == "flipped_labels" else named  # of class 0 and 1
    common = _common(encode, words)
    assert common is not None
    answers = [_label(encode, word)[common] for word in words]
    orders = [rng.permutation(len(sentences)) for sentences in task.examples]
    query = _question(encode, task.examples[asked][orders[asked][-1]]) + _label(encode, words[0])[:common]
    ids, label, shots = [*query], [-1] * len(query), 0
    classes = rng.permuted(np.tile((0, 1), (t, 1)), axis=1).flatten()  # both in every two examples, in either order
    for turn, which in enumerate(classes.tolist()):  # from the query backwards
        if len(ids) >= t:
            break
        sentence = task.examples[which][orders[which][turn // 2 % (len(orders[which]) - 1)]]
        question, answer, end = _question(encode, sentence), _label(encode, words[which]), encode("\n\n")
        ids = [*question, *answer, *end, *ids]
        before, after = len(question) + common, len(answer) - common - 1 + len(end)
        label = [*[-1] * before, which, *[-1] * after, *label]
        shots += len(ids) <= t
    if shots < 2:
        raise ConfigError(
            f"sequences of {t} tokens are too short for the question and an example of each class of {task.name!r}: "
            f"give a greater length, such as {8 * len(query)} (--length, task.length)."
        )
    tokens, label_of = np.array(ids[-t:], np.int64), np.array(label[-t:])
    return tokens, np.int64(answers[asked]), np.int64(answers[1 - asked]), label_of == asked, label_of == 1 - asked


def _question(encode: Encode, sentence: str) -> list[int]:
    return encode(f"Input: {sentence}\nLabel:")


def _label(encode: Encode, word: str) -> list[int]:
    return encode(f" {word}")


def _common(encode: Encode, words: Iterable[str]) -> int | None:
    """How many tokens both labels begin with; None where they never differ."""
    pairs = zip(*(_label(encode, word) for word in words), strict=False)
    return next((at for at, (one, another) in enumerate(pairs) if one != another), None)
