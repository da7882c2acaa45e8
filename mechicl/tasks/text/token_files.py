"""Files of tokens that a user names, and tokenizer.json."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mechicl.errors import ConfigError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOST = 2**20  # tokens that are read of those that a user names for a run's evaluation


def tokenizer(path: Path) -> Tokenizer:
    """A tokenizer.json, through Hugging Face's tokenizers.

    Raises:
        ConfigError: it is none.
    """
    try:
        return tokenizer_of(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"{path} is no tokenizer.json ({error.strerror or error}).") from None


def tokenizer_of(content: bytes, where: str) -> Tokenizer:
    """As `tokenizer`, of a file's content; where: what to call it in an error."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_buffer(content)
    except Exception as error:  # its own kind of error is Exception
        raise ConfigError(f"{where} is no tokenizer.json ({error}).") from None


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
        ids = loaded(data, path)
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


def loaded(data: bytes, path: Path) -> np.ndarray:
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
