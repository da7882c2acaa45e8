"""Bigrams that a model itself knows, where nobody has the text that it was trained on: from its runs on single tokens.

What the model says after one token, at the first position, is its own estimate of a bigram, and training asked for just
that at the first position of every sequence. The product of embedding and unembedding, the direct path in the strict
sense, is not taken: it leaves out the MLPs, where bigrams of deep models are, and where both are one matrix it says the
token itself.

<run>/bigrams.json   of the last checkpoint that there was when the series was opened
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from mechicl.config import ModelConfig
from mechicl.engine.forward import forward, logits
from mechicl.errors import SeriesError
from mechicl.models.params import Params
from mechicl.system.disk import is_file
from mechicl.system.files import write_atomic
from mechicl.tasks.text.corpus import BIGRAMS
from mechicl.tasks.text.last import LastBatch
from mechicl.tasks.text.ngrams import STRONG, Bigrams, Fixed, coupled, strongest

TRIED = 8192  # tokens of a vocabulary that are tried at most
_AT_ONCE = 2**24  # numbers of logits at a time


def own_bigrams(params: Params, model: ModelConfig, vocabulary: int) -> Bigrams:
    """The strongest bigrams of a model run on single tokens, in couples.

    Args:
        params: packed and plain.

    Raises:
        ConfigError: it has fewer than `ngrams.FEWEST` couples of strong ones, as before training.
    """
    rng = np.random.default_rng(0)
    tried = np.sort(rng.choice(vocabulary, min(TRIED, vocabulary), replace=False))
    often = np.zeros(vocabulary)
    top, share = [], []
    for said in _after(params, model, tried, vocabulary):
        often += said.sum(0)
        top.append(said.argmax(1))
        share.append(said.max(1))
    then, shares = np.concatenate(top), np.concatenate(share)
    strong = np.flatnonzero((shares >= STRONG) & (tried != then))
    strong = strongest(strong[np.argsort(-shares[strong], kind="stable")], then)
    first, then = tried[strong], then[strong]
    parts = [said[:, then] for said in _after(params, model, first, vocabulary)]
    return coupled(first, then, np.concatenate(parts) if parts else np.zeros((0, 0)), often)


@torch.inference_mode()
def _after(params: Params, model: ModelConfig, tokens: np.ndarray, vocabulary: int) -> Iterator[np.ndarray]:
    """What the model says after each token alone, some at a time: probabilities [some, v]."""
    size = max(1, _AT_ONCE // vocabulary)
    for i in range(0, len(tokens), size):
        ids = torch.from_numpy(tokens[i : i + size].astype(np.int64))
        out = forward(params, LastBatch(ids[:, None], ids), model)
        yield logits(params, out.final).softmax(-1).double().numpy()


def keep(root: Path, bigrams: Bigrams) -> str:
    """Put them into a run; returns what config.json says of them, their sha256."""
    data = bigrams.to_json()
    write_atomic(root / BIGRAMS, data)
    return hashlib.sha256(data).hexdigest()


def kept(root: Path | None, sha256: str) -> Bigrams:
    """Those of a run.

    Raises:
        SeriesError: they are not there, or others.
    """
    if root is None or not is_file(root / BIGRAMS):
        raise SeriesError(f"{root}: {BIGRAMS}, which the evaluator 'conflict' reads, is missing: restore it.")
    data = (root / BIGRAMS).read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise SeriesError(f"{root / BIGRAMS} does not have the bigrams of this run: restore the file.")
    return Bigrams.from_json(data)


def as_fixed(known: Bigrams) -> Fixed:
    """What `weights` asks of a model whose text nobody has: its strong bigrams."""
    return Fixed(known.first.reshape(-1, 1), known.then.reshape(-1))
