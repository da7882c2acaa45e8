"""`conflict` and its controls, and `weights`: contexts of text into which known tokens are put.

`conflict`     A B ... A B ... A    B followed A in the context; C follows A in the corpus (ngrams.py)
`agreement`    A C ... A C ... A    the context says what the corpus says
`unshown`      X B ... X B ... A    B is in the context, but A is not
`weights`      ... p q r            the corpus fixes what follows p q r, and it is nowhere in the context

Sequence i is the same in `conflict` and both controls but for what is written above. Bigrams come in couples, and B is
the other one's C, so that over a couple every token is as often B as it is C. Both sequences of a couple have the same
context, number of repeats and distance from the last B to the end. All numbers of repeats and distances are equally
frequent. The text around them is from held-out documents, with other tokens in place of those that are asked about;
where there is no text, random tokens.
"""

from __future__ import annotations

from itertools import product
from typing import Literal

import numpy as np
import torch

from mechicl.errors import ConfigError
from mechicl.tasks.text.batch import windows
from mechicl.tasks.text.corpus import Corpus
from mechicl.tasks.text.last import ConflictBatch, LastBatch
from mechicl.tasks.text.ngrams import Bigrams, Fixed

REPEATS = (1, 2, 4)  # how often 'A B' stands in the context
SHORTEST = 24  # positions that a sequence needs for them
Kind = Literal["conflict", "agreement", "unshown"]


def conflicting(
    kind: Kind, source: Corpus, known: Bigrams, vocabulary: int, n: int, t: int, rng: np.random.Generator
) -> ConflictBatch:
    """`n` sequences of `conflict` or of one of its controls; of the same generator, the same sequences but for what
    the control changes.

    Args:
        source: what the text around is from; known: the bigrams that are contradicted.

    Raises:
        ConfigError: sequences are too short, or there are no other tokens to put around.
    """
    if t < SHORTEST:
        raise ConfigError(f"sequences of {t} tokens are too short: it needs at least {SHORTEST} (--length).")
    couple = rng.permuted(np.arange(len(known)))[np.arange(-(-n // 2)) % len(known)]
    each = np.repeat(couple, 2)[:n], np.tile((0, 1), len(couple))[:n]
    a, c, x = known.first[each], known.then[each], known.stranger[each]
    b = known.then[each[0], 1 - each[1]]
    taken = np.concatenate([known.first[couple], known.then[couple], known.stranger[couple]], 1)
    tokens = np.repeat(around(source, taken, vocabulary, t, rng), 2, axis=0)[:n]
    cue = np.repeat(places(len(couple), t, rng), 2, axis=0)[:n]
    row, at = np.nonzero(cue)
    tokens[row, at] = (x if kind == "unshown" else a)[row]
    tokens[row, at + 1] = (c if kind == "agreement" else b)[row]
    tokens[:, -1] = a
    ids, held, shown = (torch.from_numpy(part.astype(np.int64)) for part in (tokens, c, b))
    return ConflictBatch(ids, held, shown, torch.from_numpy(cue))


def places(n: int, t: int, rng: np.random.Generator) -> np.ndarray:
    """Where A stands in each context, [n, t] bool: every number of repeats with every distance in turn."""
    cells = list(product(REPEATS, distances(t)))
    out = np.zeros((n, t), bool)
    for i, cell in enumerate(rng.permuted(np.arange(n)) % len(cells)):
        repeats, distance = cells[cell]
        last = t - 2 - distance
        earlier = rng.choice(np.arange(1, last - 1, 3), repeats - 1, replace=False)
        out[i, [last, *earlier]] = True
    return out


def distances(t: int) -> tuple[int, ...]:
    """Positions from the last B to the end: near, middle and far, in sequences of t."""
    return t // 8, t // 4, t // 2


def fixed(source: Corpus, known: Fixed, vocabulary: int, n: int, t: int, rng: np.random.Generator) -> LastBatch:
    """`n` sequences of `weights`: n-grams in turn, each at the end of other text without what follows it.

    Raises:
        ConfigError: sequences are too short, or there are no other tokens to put around.
    """
    order = known.prefix.shape[1]
    if t < order + 2:
        raise ConfigError(
            f"sequences of {t} tokens are too short for {order} tokens and others: give at least {order + 2} "
            "(--length)."
        )
    which = rng.permuted(np.arange(len(known.then)))[np.arange(n) % len(known.then)]
    tokens = around(source, known.then[which][:, None], vocabulary, t, rng)
    tokens[:, -order:] = known.prefix[which]
    return LastBatch(torch.from_numpy(tokens), torch.from_numpy(known.then[which].astype(np.int64)))


def around(source: Corpus, taken: np.ndarray, vocabulary: int, t: int, rng: np.random.Generator) -> np.ndarray:
    """Text without some tokens, [n, t] int64: held-out windows, or random tokens where there is no text. In place of
    each of those stands another, as frequent as it is in the text.

    Args:
        taken: [n, j] tokens of each sequence that are not to be there.

    Raises:
        ConfigError: there is no other token.
    """
    n = len(taken)
    if source.ids is None:
        often, tokens = np.ones(vocabulary), rng.integers(vocabulary, size=(n, t))
    else:
        part = source.part("held_out")
        often = np.bincount(part.needed(), minlength=vocabulary).astype(float)
        tokens = windows(part, n, t, rng).tokens[:, :t].numpy().copy()
    for row, without in zip(tokens, taken, strict=True):
        left = often.copy()
        left[without] = 0
        if not left.any():
            raise ConfigError("the text has only tokens of the tested bigrams, and no others: give more text.")
        place = np.flatnonzero(np.isin(row, without))
        row[place] = np.searchsorted(np.cumsum(left) / left.sum(), rng.random(len(place)), side="right")
    return tokens
