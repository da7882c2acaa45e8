"""The sequence sampler: a `SequenceConfig` and a seed -> classes, exemplar ids, labels, targets.

Everything here is integer arithmetic in numpy on indices, vectorised over sequences and
independent of any global random state; exemplar vectors are gathered later, by the bank.
Legend: n sequences, C context pairs, slot C is the query's.

Definitions follow docs/references.md#sequences (Chan et al. 2022, Singh et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mechicl.config import SequenceConfig
from mechicl.errors import ConfigError
from mechicl.tasks.exemplar_label import label_pairs

_RAREST = 1e-4  # the least probability with which a draw must be a class that is still wanted


@dataclass(frozen=True)
class Sequences:
    """Sampled sequences as indices.

    classes  [n, C+1]  class of every exemplar; the last column is the query's
    exemplar_ids [n, C+1]  which exemplar of that class is shown
    labels   [n, C]    the label that follows each context exemplar
    target   [n]       the label the query should get
    """

    classes: np.ndarray
    exemplar_ids: np.ndarray
    labels: np.ndarray
    target: np.ndarray

    def __len__(self) -> int:
        return len(self.target)


def check(config: SequenceConfig, *, n_classes: int, n_exemplars: int, n_labels: int) -> None:
    """Refuse settings that no sequence can satisfy, with the reason.

    Args:
        n_classes, n_exemplars: what can be drawn from.
        n_labels: how many labels those classes have among them.

    Raises:
        ConfigError: what is short, and of what.
    """
    slots, b = config.n_pairs + 1, config.burstiness
    # The most items of one class that can meet in one sequence.
    repeats = b + 1 if config.rest == "unique" else slots if config.p_bursty < 1 else slots - b
    if config.exemplars == "no_replacement" and n_exemplars < repeats:
        raise ConfigError(
            f"sequences.exemplars='no_replacement' may show {repeats} exemplars of one class in a "
            f"sequence, but bank.n_exemplars={n_exemplars}: give at least {repeats}."
        )
    distinct = _distinct_classes(config)
    if n_classes < distinct:
        raise ConfigError(f"a sequence needs {distinct} distinct classes, but bank.n_classes={n_classes}.")
    if config.zipf:  # classes that must differ are drawn again until they do
        left = class_weights(n_classes, config.zipf)[distinct - 1 :].sum()
        often = 1 / left if left else np.inf
        if left < _RAREST:
            raise ConfigError(
                f"sequences.zipf={config.zipf}: a sequence needs {distinct} distinct classes, but "
                f"only one draw in {often:.0g} is not one of the {distinct - 1} most frequent ones: it "
                "would take too long to draw. Lower zipf."
            )
    if config.labels == "random":  # every class that may be shown gets a label of its own
        distinct = min(n_classes, 2 + config.n_pairs - 2 * b)
    if (config.distinct_labels or config.labels == "random") and n_labels < distinct:
        raise ConfigError(f"a sequence needs {distinct} distinct labels, but there are {n_labels}.")
    pairs = label_pairs.count(n_labels)
    if config.held_out_pairs and config.held_out_pairs >= pairs:
        raise ConfigError(
            f"sequences.held_out_pairs={config.held_out_pairs}: {n_labels} labels have {pairs} pairs, of "
            f"which at least 1 must remain for training: hold out at most {pairs - 1}."
        )


def _distinct_classes(config: SequenceConfig) -> int:
    """The fewest classes that every sequence can be drawn from."""
    ways = 2 if config.burstiness else 1
    if config.rest == "iid":  # a class may come again
        return ways
    rest = config.n_pairs - 2 * config.burstiness
    return config.n_pairs + 1 if config.p_bursty < 1 else ways + rest


def class_weights(n_classes: int, zipf: float) -> np.ndarray:
    """p(class) ~ rank^-zipf, rank 1 for class 0. Returns [n_classes], sums to 1."""
    p = np.arange(1, n_classes + 1, dtype=np.float64) ** -zipf
    return p / p.sum()


def sample(
    config: SequenceConfig,
    label_of_class: np.ndarray,
    n: int,
    rng: np.random.Generator,
    *,
    n_exemplars: int,
    n_labels: int,
) -> Sequences:
    """Draw `n` sequences.

    Args:
        label_of_class: [classes] trained label of every class that may be drawn.
        n_exemplars: exemplars per class that may be shown.
        n_labels: size of the label vocabulary, for `labels='random'`.
    """
    draw = _class_drawer(len(label_of_class), config.zipf, rng)
    # What must differ between classes of one sequence: their labels, or just themselves.
    key = label_of_class if config.distinct_labels else np.arange(len(label_of_class))

    classes = _draw_bursty(config, draw, key, n)
    plain = rng.random(n) >= config.p_bursty
    if plain.any():
        classes[plain] = _draw_plain(config, draw, key, int(plain.sum()))
    bursty = ~plain
    shuffled = rng.permuted(classes[bursty, :-1], axis=1)
    classes[bursty, :-1] = shuffled

    drawings = _drawings(config.exemplars, classes, n_exemplars, rng)
    shown = _labels(config, classes, label_of_class[classes], n_labels, rng)
    labels, target = shown[:, :-1].copy(), shown[:, -1].copy()
    if config.copy_query_label:
        labels[np.arange(n), rng.integers(config.n_pairs, size=n)] = target
    return Sequences(classes, drawings, labels, target)


def _class_drawer(n_classes: int, zipf: float, rng: np.random.Generator) -> Callable[..., Any]:
    if zipf == 0:
        return lambda size: rng.integers(n_classes, size=size)
    edges = np.cumsum(class_weights(n_classes, zipf))
    edges[-1] = 1.0
    return lambda size: np.searchsorted(edges, rng.random(size), side="right")


def _draw_bursty(config: SequenceConfig, draw: Callable[..., Any], key: np.ndarray, n: int) -> np.ndarray:
    c, b = config.n_pairs, config.burstiness
    classes = np.empty((n, c + 1), dtype=np.int64)
    query = draw(n)
    classes[:, -1] = query
    taken = [query]
    if b:
        distractor = _draw_excluding(draw, key, taken)
        taken.append(distractor)
        classes[:, :b] = query[:, None]
        classes[:, b : 2 * b] = distractor[:, None]
    for slot in range(2 * b, c):
        classes[:, slot] = _draw_rest(config, draw, key, taken)
    return classes


def _draw_plain(config: SequenceConfig, draw: Callable[..., Any], key: np.ndarray, n: int) -> np.ndarray:
    classes = np.empty((n, config.n_pairs + 1), dtype=np.int64)
    taken: list[np.ndarray] = []
    for slot in range(config.n_pairs + 1):
        classes[:, slot] = _draw_rest(config, draw, key, taken) if taken else draw(n)
        if not taken:
            taken.append(classes[:, slot].copy())
    return classes


def _draw_rest(
    config: SequenceConfig, draw: Callable[..., Any], key: np.ndarray, taken: list[np.ndarray]
) -> np.ndarray:
    """One more class per row; where they must be distinct, it joins `taken`."""
    if config.rest == "iid" and not config.distinct_labels:
        return draw(len(taken[0]))
    same_class_ok = config.rest == "iid"
    drawn = _draw_excluding(draw, key, taken, same_class_ok=same_class_ok)
    taken.append(drawn)
    return drawn


def _draw_excluding(
    draw: Callable[..., Any], key: np.ndarray, taken: list[np.ndarray], same_class_ok: bool = False
) -> np.ndarray:
    """A class per row whose key differs from the row's taken ones, by redrawing:
    exactly the class distribution with the taken ones masked out."""
    used = np.stack(taken, axis=1)
    drawn = draw(len(used))
    redo = np.arange(len(used))
    while len(redo):
        new, old = drawn[redo, None], used[redo]
        clash = key[new] == key[old]
        if same_class_ok:
            clash &= new != old
        redo = redo[clash.any(axis=1)]
        drawn[redo] = draw(len(redo))
    return drawn


def _drawings(rule: str, classes: np.ndarray, n_exemplars: int, rng: np.random.Generator) -> np.ndarray:
    drawings = rng.integers(n_exemplars, size=classes.shape)
    if rule == "replacement":
        return drawings
    for slot in range(1, classes.shape[1]):
        same = classes[:, :slot] == classes[:, slot : slot + 1]
        if rule == "matched":
            rows = np.flatnonzero(same.any(axis=1))
            drawings[rows, slot] = drawings[rows, same[rows].argmax(axis=1)]
            continue
        redo = np.arange(len(classes))
        while len(redo):
            clash = same[redo] & (drawings[redo, :slot] == drawings[redo, slot : slot + 1])
            redo = redo[clash.any(axis=1)]
            drawings[redo, slot] = rng.integers(n_exemplars, size=len(redo))
    return drawings


def _labels(
    config: SequenceConfig, classes: np.ndarray, trained: np.ndarray, n_labels: int, rng: np.random.Generator
) -> np.ndarray:
    """The label of every slot, [n, C+1]; the query's is the target."""
    if config.labels == "trained":
        return trained
    query = classes[:, -1:]
    if config.labels == "binary":
        bit = rng.integers(2, size=(len(classes), 1))
        return np.where(classes == query, bit, 1 - bit)
    if config.labels == "swapped":
        rows = np.arange(len(classes))
        other = (classes != query).argmax(axis=1)  # a slot that shows the distractor
        return np.where(classes == query, trained[rows, other][:, None], trained[:, -1:])
    if config.held_out_pairs:
        pair = label_pairs.draw(config, n_labels, len(classes), rng)
        return np.where(classes == query, pair[:, :1], pair[:, 1:])
    shown = rng.integers(n_labels, size=classes.shape)
    for slot in range(1, classes.shape[1]):
        same = classes[:, :slot] == classes[:, slot : slot + 1]
        seen = same.any(axis=1)
        shown[seen, slot] = shown[seen, same[seen].argmax(axis=1)]
        redo = np.flatnonzero(~seen)
        while len(redo):
            clash = shown[redo, :slot] == shown[redo, slot : slot + 1]
            redo = redo[clash.any(axis=1)]
            shown[redo, slot] = rng.integers(n_labels, size=len(redo))
    return shown
