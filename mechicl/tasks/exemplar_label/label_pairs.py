"""Which two labels a relabelled sequence shows, where some pairs are held out (Singh et al. 2024).

A sequence of two classes shows an unordered pair of labels. Pairs are numbered, {i, j} with i < j as j (j - 1) / 2 + i,
and a seed decides which numbers are held out: never trained on, and what the evaluator 'holdout_pairs' shows.
Nothing has a row per pair, so that 12,800 labels cost what 5 do.
"""

from __future__ import annotations

import numpy as np

from mechicl.tasks.exemplar_label.settings import SequenceConfig


def count(n_labels: int) -> int:
    """Unordered pairs of `n_labels` labels."""
    return n_labels * (n_labels - 1) // 2


def held_out(config: SequenceConfig, n_labels: int) -> np.ndarray:
    """[held_out_pairs] numbers of the pairs that are held out, ascending."""
    rng = np.random.default_rng(config.pair_seed)
    return np.sort(rng.choice(count(n_labels), config.held_out_pairs, replace=False))


def labels_of(numbers: np.ndarray) -> np.ndarray:
    """[n, 2]: the labels of pairs, the lower one first."""
    high = np.floor((1 + np.sqrt(1 + 8 * numbers.astype(float))) / 2).astype(np.int64)
    high -= high * (high - 1) // 2 > numbers  # where the root was rounded up
    return np.stack([numbers - high * (high - 1) // 2, high], axis=1)


def draw(config: SequenceConfig, n_labels: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """[n, 2]: a label for each of two classes, uniform over the pairs that `config.label_pairs` names, in
    either order."""
    held = held_out(config, n_labels)
    if config.label_pairs == "held_out":
        numbers = held[rng.integers(len(held), size=n)]
    else:
        numbers = rng.integers(count(n_labels) - len(held), size=n)
        numbers += np.searchsorted(held - np.arange(len(held)), numbers, side="right")  # held-out ones are skipped
    pairs = labels_of(numbers)
    return np.where(rng.integers(2, size=(n, 1)), pairs, pairs[:, ::-1])
