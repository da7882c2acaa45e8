"""Whose bigrams a series of somebody else's model is asked about: of a text that a user names, or of the model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mechicl.config import ModelConfig
from mechicl.errors import ConfigError
from mechicl.models.params import Params, pack
from mechicl.system.surroundings import reading
from mechicl.tasks.text import corpus, ngrams, own_bigrams

_log = logging.getLogger("mechicl")


def known_bigrams(
    root: Path, ids: np.ndarray | None, vocabulary: int, model: ModelConfig, weights: Callable[[], Params]
) -> str | None:
    """What config.json says of them (`Text.bigrams`).

    Args:
        root: the run, in which the model's own are kept.
        ids: tokens of a text that the user named, which comes first.
        weights: of the last checkpoint, loaded where there is no text, or too little.

    Returns:
        'corpus', a sha256, or None where neither has enough: then a warning says so.
    """
    problems = []
    if ids is not None:
        text = corpus.Corpus(ids, None)
        try:
            ngrams.bigrams_in(text, vocabulary)
            ngrams.fixed_in(text)
            return "corpus"
        except ConfigError as error:
            problems.append(f"of the text, {error}")
    try:
        with reading():
            return own_bigrams.keep(root, own_bigrams.own_bigrams(pack(weights()), model, vocabulary))
    except ConfigError as error:
        problems.append(f"of the model itself, {error}")
    _log.warning("mechicl: 'conflict' and 'weights' are not asked: %s", "; ".join(problems))
    return None
