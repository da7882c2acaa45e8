"""What a corpus fixes: bigrams 'A C' of which C follows A mostly, and n-grams that always have one successor.

Counts are within documents: the last token of one is not followed by the first of the next. Both tables are found once
per corpus. Legend: n tokens, m documents, k bigrams, c couples of bigrams.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from cachetools import LRUCache, cached

from mechicl.errors import ConfigError

if TYPE_CHECKING:
    from mechicl.tasks.text.corpus import Corpus

STRONG = 0.5  # C follows A at least so often
WEAK = 0.1  # and what contradicts it at most so often
SEEN = 10  # A, and an n-gram, stand so often in the corpus at least
ORDER = 3  # tokens of an n-gram whose successor is fixed
MOST = 128  # bigrams, the strongest
FEWEST = 4  # couples, and n-grams, without which nothing is asked


@dataclass(frozen=True)
class Bigrams:
    """Couples of strong bigrams, of which each one's successor contradicts the other one's.

    first, then [c, 2]: A and C of each; share [c, 2]: how often C follows A; stranger [c, 2]: a token that is about as
    frequent as A, is followed by neither successor of the couple, and has a strong bigram of its own.
    """

    first: np.ndarray
    then: np.ndarray
    share: np.ndarray
    stranger: np.ndarray

    def to_json(self) -> bytes:
        return json.dumps({name: x.tolist() for name, x in vars(self).items()}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Bigrams:
        return cls(**{name: np.array(x) for name, x in json.loads(data).items()})

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class Fixed:
    """n-grams that have one successor. prefix [k, n]; then [k], no two alike."""

    prefix: np.ndarray
    then: np.ndarray


def bigrams_of(ids: np.ndarray, starts: np.ndarray, vocabulary: int) -> Bigrams:
    """The strong bigrams of documents, in couples.

    Args:
        ids: [n] tokens.
        starts: [m + 1], where documents begin, and n.

    Raises:
        ConfigError: there are fewer than FEWEST couples.
    """
    at = _followed(len(ids), starts, 1)
    keys, counts = np.unique(ids[at].astype(np.int64) * vocabulary + ids[at + 1], return_counts=True)
    first, then = np.divmod(keys, vocabulary)
    seen = np.bincount(first, weights=counts, minlength=vocabulary)
    share = counts / seen[first]
    strong = np.flatnonzero((share >= STRONG) & (seen[first] >= SEEN) & (first != then))
    strong = strongest(strong[np.lexsort((-counts[strong], -share[strong]))], then)
    a, c = first[strong], then[strong]
    asked = a[:, None] * vocabulary + c
    found = np.minimum(np.searchsorted(keys, asked), max(len(keys) - 1, 0))
    cross = np.where(keys[found] == asked, share[found], 0.0) if len(keys) else np.zeros(asked.shape)
    often = np.bincount(ids, minlength=vocabulary)
    return coupled(a, c, cross, often)


def strongest(ordered: np.ndarray, then: np.ndarray) -> np.ndarray:
    """The first MOST of some bigrams, of those with one successor the first alone. ordered: their places in `then`."""
    _, once = np.unique(then[ordered], return_index=True)
    return ordered[np.sort(once)][:MOST]


def coupled(first: np.ndarray, then: np.ndarray, cross: np.ndarray, often: np.ndarray) -> Bigrams:
    """Strong bigrams in couples whose successors are about as frequent: of every two neighbours in that order that go
    together, each bigram in one couple at most.

    Args:
        first, then: [k]. cross [k, k]: how often then[j] follows first[i]. often [v]: how frequent each token is.

    Raises:
        ConfigError: there are fewer than FEWEST.
    """

    def apart(i: int, j: int) -> bool:
        four = {int(x) for x in (first[i], then[i], first[j], then[j])}
        return len(four) == 4 and max(cross[i, j], cross[j, i]) <= WEAK

    left, couples = list(np.argsort(often[then], kind="stable")), []
    while left:
        i = left.pop(0)
        partner = next((j for j in left if apart(i, j)), None)
        if partner is not None:
            left.remove(partner)
            couples.append((i, partner))
    frequency = np.log(np.maximum(often[first], 1e-12))
    kept, strangers = [], []
    for i, j in couples:
        own = {int(x) for x in (first[i], then[i], first[j], then[j])}
        fit = [x for x in range(len(first)) if int(first[x]) not in own and max(cross[x, i], cross[x, j]) <= WEAK]
        if fit:
            kept.append((i, j))
            near = [min(fit, key=lambda x, one=one: abs(frequency[x] - frequency[one])) for one in (i, j)]
            strangers.append([first[x] for x in near])
    if len(kept) < FEWEST:
        raise ConfigError(
            f"found {len(kept)} pairs of bigrams (C after A at least {STRONG:g} of the time, A at least {SEEN} "
            f"times, the other pair's C at most {WEAK:g}), but {FEWEST} are needed: give more text (--tokens FILE)."
        )
    places = np.array(kept)
    return Bigrams(first[places], then[places], cross[places, places], np.array(strangers))


def fixed_of(ids: np.ndarray, starts: np.ndarray, order: int = ORDER, seen: int = SEEN) -> Fixed:
    """n-grams of documents that stand there `seen` times or more and have one successor, which is none of their own
    tokens. Of those with the same successor the most frequent: a model that says one thing always is right once.

    Raises:
        ConfigError: there are fewer than FEWEST.
    """
    at, vocabulary = _followed(len(ids), starts, order), int(ids.max(initial=0)) + 1
    code = np.zeros(len(at), np.int64)
    for i in range(order):
        if code.max(initial=0) >= 2**62 // vocabulary:  # of a large vocabulary: numbered anew, so that they stay whole
            code = np.unique(code, return_inverse=True)[1]
        code = code * vocabulary + ids[at + i]
    _, where, which = np.unique(code, return_index=True, return_inverse=True)
    grams = ids[at[where][:, None] + np.arange(order)]
    pairs, counts = np.unique(which.astype(np.int64) * vocabulary + ids[at + order], return_counts=True)
    gram, then = np.divmod(pairs, vocabulary)
    one = np.bincount(gram, minlength=len(grams))[gram] == 1
    keep = one & (counts >= seen) & (grams[gram] != then[:, None]).all(1)
    gram, then, counts = gram[keep], then[keep], counts[keep]
    order_of = np.argsort(-counts, kind="stable")
    _, once = np.unique(then[order_of], return_index=True)
    if len(once) < FEWEST:
        raise ConfigError(
            f"found {len(once)} tokens that always follow the same {order} tokens, which occur at least {seen} times, "
            "but "
            f"{FEWEST} are needed: give more text (--tokens FILE)."
        )
    chosen = order_of[once]
    return Fixed(grams[gram[chosen]], then[chosen])


def _followed(n: int, starts: np.ndarray, order: int) -> np.ndarray:
    """Where `order` tokens and the one that follows them are in one document."""
    document = np.searchsorted(starts, np.arange(n), side="right")
    at = np.arange(max(n - order, 0))
    return at[document[at] == document[at + order]]


_LOCK = Lock()


@cached(LRUCache(4), key=lambda source, vocabulary: (source.fingerprint, vocabulary), lock=_LOCK)
def bigrams_in(source: Corpus, vocabulary: int) -> Bigrams:
    """`bigrams_of`, once per corpus."""
    return bigrams_of(source.needed(), source.starts, vocabulary)


@cached(LRUCache(4), key=lambda source: source.fingerprint, lock=_LOCK)
def fixed_in(source: Corpus) -> Fixed:
    """`fixed_of`, once per corpus."""
    return fixed_of(source.needed(), source.starts)
