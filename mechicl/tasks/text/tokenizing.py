"""A tokenizer of one's own: byte-level BPE, as GPT-2's, by Hugging Face's `tokenizers`.

The 256 bytes are always tokens, so that any text can be written, and every other token is a pair of tokens that stood
side by side most often. The same texts give the same tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mechicl.errors import ConfigError
from mechicl.system.progress import bar

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BYTES = 256  # tokens of every byte-level tokenizer
_AT_ONCE = 2**20  # characters that are encoded between two looks at the bar


def trained(texts: Sequence[str], vocabulary: int, progress: bool = False) -> Tokenizer:
    """A tokenizer of exactly `vocabulary` tokens.

    Raises:
        ConfigError: fewer than the bytes are asked for, or the texts have too few pairs for so many.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    if vocabulary < BYTES:
        raise ConfigError(f"vocabulary={vocabulary}: a byte-level tokenizer has at least {BYTES} tokens, one per byte.")
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    made.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())  # it comes in any order, which would number the bytes
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=alphabet, min_frequency=2, show_progress=False
    )
    made.train_from_iterator(_shown(texts, "train the tokenizer", progress), trainer, length=len(texts))
    have = made.get_vocab_size()
    if have != vocabulary:
        raise ConfigError(
            f"vocabulary={vocabulary}: the text has enough repeated pairs for only {have:,} tokens: use {have}, or "
            "give more text."
        )
    return made


def encoded(tokenizer: Tokenizer, texts: Sequence[str], progress: bool = False) -> list[np.ndarray]:
    """The tokens of each text, int32, without the special ones."""
    out: list[np.ndarray] = []
    with bar(sum(map(len, texts)), "tokenise", show=progress, leave=False, unit=" characters", unit_scale=True) as told:
        for some in _grouped(texts):
            found = tokenizer.encode_batch(some, add_special_tokens=False)
            out += [np.array(each.ids, np.int32) for each in found]
            told.update(sum(map(len, some)))
    return out


def _shown(texts: Sequence[str], desc: str, progress: bool) -> Iterator[str]:
    with bar(len(texts), desc, show=progress, leave=False, unit=" documents") as told:
        for text in texts:
            yield text
            told.update()


def _grouped(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in order, in groups of about _AT_ONCE characters."""
    group: list[str] = []
    size = 0
    for text in texts:
        group.append(text)
        size += len(text)
        if size >= _AT_ONCE:
            yield group
            group, size = [], 0
    if group:
        yield group
