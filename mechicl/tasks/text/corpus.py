"""The tokens that a series is asked on, and what they are called: from a file that the user names, kept in the run.

<run>/tokens.npy       token ids, int32: at most the first MOST of the file
<run>/tokenizer.json   of Hugging Face's tokenizers, where the model's folder has one
<run>/bigrams.json     of the model itself, where there is no text (own_bigrams.py)
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mechicl.errors import ConfigError, SeriesError
from mechicl.system.disk import is_file
from mechicl.system.files import write_atomic

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOST = 2**20  # tokens kept in a run
TOKENS, TOKENIZER, BIGRAMS = "tokens.npy", "tokenizer.json", "bigrams.json"
_NONE = "0" * 64  # the fingerprint where there is no corpus: random tokens are nobody's


@dataclass(frozen=True)
class Corpus:
    """ids [n] int32, or None where there is no text; folder: where a tokenizer may be."""

    ids: np.ndarray | None
    folder: Path | None

    @classmethod
    def opened(cls, folder: str | Path | None, fingerprint: str | None) -> Corpus:
        """The corpus of a run.

        Args:
            folder: where `tokens.npy` and `tokenizer.json` are kept.
            fingerprint: of the tokens that are meant; None: none are.

        Raises:
            SeriesError: they are not there, or others.
        """
        where = None if folder is None else Path(folder)
        if fingerprint is None:
            return cls(None, where)
        if where is None or not is_file(where / TOKENS):
            raise SeriesError(f"{where}: {TOKENS}, which the evaluator 'text' reads, is missing: put it back.")
        corpus = cls(_loaded((where / TOKENS).read_bytes(), where / TOKENS), where)
        if corpus.fingerprint != fingerprint:
            raise SeriesError(
                f"{where / TOKENS} does not hold the tokens that this run was evaluated on: put them back."
            )
        return corpus

    @cached_property
    def fingerprint(self) -> str:
        return _NONE if self.ids is None else hashlib.sha256(self.ids.astype("<i4").tobytes()).hexdigest()

    @cached_property
    def starts(self) -> np.ndarray:
        """[m + 1] int64: document i is ids[starts[i] : starts[i + 1]]."""
        return np.array([0, len(self.needed())], np.int64)

    def part(self, name: Literal["train", "held_out"]) -> Corpus:
        """The documents that are trained on, or those that are held out: where there is one, both are it."""
        return self

    def needed(self) -> np.ndarray:
        """ids, where there are some.

        Raises:
            ConfigError: the series was opened without a text.
        """
        if self.ids is None:
            raise ConfigError("this series has no text: open it with `mechicl open SOURCE --tokens FILE --out DIR`.")
        return self.ids

    @cached_property
    def _tokenizer(self) -> Tokenizer | None:
        if self.folder is None or not is_file(self.folder / TOKENIZER):
            return None
        return tokenizer(self.folder / TOKENIZER)

    def word(self, token: int) -> str:
        """What a token is called: its text, or its number."""
        text = None if self._tokenizer is None else self._tokenizer.decode([token], skip_special_tokens=False)
        return text if text and text.strip() and "\ufffd" not in text else str(token)

    def __repr__(self) -> str:
        return f"Corpus({'no text' if self.ids is None else f'{len(self.ids):,} tokens'})"


def kept(root: Path) -> Path | None:
    """A run's folder, where it keeps tokens, a tokenizer or the model's bigrams."""
    return root if any(is_file(root / name) for name in (TOKENS, TOKENIZER, BIGRAMS)) else None


def keep(root: Path, ids: np.ndarray | None, names: bytes | None) -> None:
    """Put tokens, and the content of a tokenizer.json, into a run."""
    if ids is not None:
        buffer = io.BytesIO()
        np.save(buffer, ids.astype(np.int32))
        write_atomic(root / TOKENS, buffer.getvalue())
    if names is not None:
        write_atomic(root / TOKENIZER, names)


def tokenizer(path: Path) -> Tokenizer:
    """A tokenizer.json, through Hugging Face's tokenizers.

    Raises:
        ConfigError: it is none.
    """
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # its own kind of error is Exception
        raise ConfigError(f"{path} is no tokenizer.json ({error}).") from None


def read(path: Path, names: Path | None, vocabulary: int) -> np.ndarray:
    """Token ids [n] int32 of a file that a user names: its first MOST.

    Args:
        path: .npy or .safetensors of token ids of any shape, or a text in UTF-8.
        names: the model's tokenizer.json, for a text.
        vocabulary: how many tokens the model has.

    Raises:
        ConfigError: it cannot be read, is a text without a tokenizer, or holds tokens that the model has not.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"--tokens {path}: cannot be read: {error.strerror or error}.") from None
    if path.suffix in (".npy", ".safetensors"):
        ids = _loaded(data, path)
    elif names is None:
        raise ConfigError(
            f"--tokens {path}: a text is read with the model's tokenizer.json, but there is none in its "
            "folder. Give token ids (.npy, .safetensors), or put tokenizer.json there."
        )
    else:
        ids = _encoded(data, path, names)
    if len(ids) and not 0 <= ids.min() <= ids.max() < vocabulary:
        raise ConfigError(
            f"--tokens {path}: its tokens are {ids.min()} to {ids.max()}, but the model has 0 to "
            f"{vocabulary - 1}: another model's tokenizer?"
        )
    return ids[:MOST].astype(np.int32)


def _encoded(data: bytes, path: Path, names: Path) -> np.ndarray:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"--tokens {path}: expected token ids (.npy, .safetensors) or a text in UTF-8 "
            f"({error.reason} at byte {error.start})."
        ) from None
    return np.array(tokenizer(names).encode(text[: 8 * MOST], add_special_tokens=False).ids, np.int64)


def _loaded(data: bytes, path: Path) -> np.ndarray:
    """Whole numbers of a file, in one row."""
    found: Any
    try:
        if path.suffix == ".npy":
            found = np.load(io.BytesIO(data))
        else:
            from safetensors.numpy import load

            tensors = load(data)
            if len(tensors) != 1:
                raise ValueError(f"{len(tensors)} tensors, not one")
            found = next(iter(tensors.values()))
    except Exception as error:  # what it is, the reader's own words say
        raise ConfigError(f"{path}: cannot be read as token ids ({error}).") from None
    if not np.issubdtype(found.dtype, np.integer):
        raise ConfigError(f"{path}: expected token ids, whole numbers, not {found.dtype}.")
    return found.reshape(-1)
