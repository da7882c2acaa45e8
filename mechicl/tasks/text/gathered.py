"""From documents to the corpus that a model is trained on: read, tokenised once, and kept in the user's cache.

The documents are read at every start, which is quick, and so is the sha256 of each. Tokens are found in the cache by
all of them and by the tokenizer: the same documents give the same tokens to every seed and every run of a sweep.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mechicl.errors import ConfigError, SeriesError
from mechicl.system.disk import is_file
from mechicl.system.paths import given, shown
from mechicl.system.user_cache import user_cache
from mechicl.tasks.text import corpus, documents, token_files, tokenizing
from mechicl.tasks.text.corpus import Corpus
from mechicl.tasks.text.documents import Documents

if TYPE_CHECKING:
    from mechicl.tasks.text import Text

_VERSION = 1  # of how documents become tokens; another one finds nothing in the cache that this one wrote


def gathered(data: str | Path | None, task: Text, seed: int, progress: bool = True) -> Corpus:
    """The corpus of a run that is trained on text.

    Args:
        data: a folder or file of documents, or a run, whose tokens are used again; None: the library of Python, where
            the task says so. A folder's own tokenizer.json is used, and else one is trained on the documents.
        seed: of the data, which decides with each document's own text whether it is held out.

    Raises:
        ConfigError: there are no documents, or the tokenizer has another number of tokens than the task.
        SeriesError: a run's files are damaged.
    """
    place = None if data is None else given(data)
    if place is not None and is_file(place / "manifest.json"):
        found = replace(Corpus.with_documents(place), origin={"from": "the tokens of a run"})
    else:
        found = tokenised(_read(place, task), _names(place), task.vocabulary, progress)
    _check(found, task, place)
    return replace(found, seed=seed, share=task.held_out)


def _read(place: Path | None, task: Text) -> Documents:
    if place is None and task.documents == "python":
        return documents.of_python()
    if place is None:
        raise ConfigError("task.documents='given': give the documents with --data FOLDER (or FILE).")
    return documents.read([place], task.patterns, without=[place / corpus.TOKENIZER])


def _names(place: Path | None) -> bytes | None:
    """A folder's own tokenizer.json."""
    if place is None or not is_file(place / corpus.TOKENIZER):
        return None
    return (place / corpus.TOKENIZER).read_bytes()


def _check(found: Corpus, task: Text, place: Path | None) -> None:
    have = max(found.vocabulary, int(found.needed().max()) + 1)
    if have != task.vocabulary:
        where = "" if place is None else f"{shown(place)}: "
        raise ConfigError(
            f"{where}its tokenizer has {have:,} tokens, but the task has {task.vocabulary:,}: --set "
            f"task.vocabulary={have}."
        )


def tokenised(read: Documents, names: bytes | None, vocabulary: int, progress: bool = False) -> Corpus:
    """The corpus of some documents.

    Args:
        names: the content of a tokenizer.json; None: a tokenizer of `vocabulary` tokens is trained on the documents,
            those that will be held out too, so that all seeds have the same tokens.
    """
    origin = {"from": read.origin, "left_out": read.left_out}
    folder = user_cache("text", _key(read, names, vocabulary))
    with suppress(OSError, SeriesError, ConfigError):  # torn by something other than mechicl: make it again
        if folder is not None and is_file(folder / corpus.DOCUMENTS):
            return replace(Corpus.with_documents(folder), origin=origin)
    texts = [each.text for each in read.found]
    if names is None:
        made = tokenizing.trained(texts, vocabulary, progress)
        names = made.to_str().encode()
    else:
        made = token_files.tokenizer_of(names, corpus.TOKENIZER)
    tokens = tokenizing.encoded(made, texts, progress)
    entries = tuple(
        corpus.Entry(each.file, each.sha256, len(each.data), len(ids))
        for each, ids in zip(read.found, tokens, strict=True)
    )
    ids = np.concatenate(tokens)
    with suppress(OSError, SeriesError):  # a full or read-only disk: there is just no cache
        if folder is not None:
            corpus.keep(folder, ids, names, entries)
    return Corpus(ids, folder, entries, names, origin=origin)


def _key(read: Documents, names: bytes | None, vocabulary: int) -> str:
    import tokenizers

    own = None if names is None else hashlib.sha256(names).hexdigest()
    files = [[each.file, each.sha256] for each in read.found]
    known = [_VERSION, tokenizers.__version__, own, vocabulary, files]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]
