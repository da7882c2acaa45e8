"""The tokens that a series is trained or asked on, and what they are called; kept in the run.

<run>/tokens.npy        token ids, int32: of a file that the user names those that token_files.py reads
<run>/documents.jsonl   where there are documents: file, sha256, bytes and tokens of each, in the order of their tokens
<run>/tokenizer.json    of Hugging Face's tokenizers, where the model's folder has one, or the run was trained on text
<run>/bigrams.json      of the model itself, where there is no text (own_bigrams.py)
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mechicl.errors import ConfigError, SeriesError
from mechicl.system.disk import is_file
from mechicl.system.files import read_jsonl, write_atomic
from mechicl.tasks.text.token_files import loaded, tokenizer, tokenizer_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENS, TOKENIZER, DOCUMENTS = "tokens.npy", "tokenizer.json", "documents.jsonl"
BIGRAMS = "bigrams.json"
FILES = (TOKENS, TOKENIZER, DOCUMENTS, BIGRAMS)  # all that a run may keep
_NONE = "0" * 64  # the fingerprint where there is no corpus: random tokens are nobody's
_SIGNS = str.maketrans({"\n": "⏎", "\r": "␍", "\t": "⇥"})
Part = Literal["train", "held_out"]


@dataclass(frozen=True)
class Entry:
    """A document of a corpus, without its tokens: its name, the sha256 and size of its text, how many tokens it has."""

    file: str
    sha256: str
    bytes: int
    tokens: int


@dataclass(frozen=True)
class Corpus:
    """Tokens, in documents.

    ids: [n] int32, or None where there is no text.
    folder: where a tokenizer may be, unless `names` is the content of its tokenizer.json.
    documents: one entry for each of m documents, whose tokens follow one another in ids; None: nobody said where one
        ends, and all is one document.
    seed, share: which documents are held out (`part`).
    origin: where the documents are from, and what was left out of them, as plain data for the manifest.
    """

    ids: np.ndarray | None
    folder: Path | None
    documents: tuple[Entry, ...] | None = None
    names: bytes | None = field(default=None, repr=False)
    seed: int = 0
    share: float = 0.0
    origin: dict[str, Any] = field(default_factory=dict, compare=False)

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
        corpus = cls(loaded((where / TOKENS).read_bytes(), where / TOKENS), where)
        if corpus.fingerprint != fingerprint:
            raise SeriesError(
                f"{where / TOKENS} does not hold the tokens that this run was evaluated on: put them back."
            )
        return corpus

    @classmethod
    def with_documents(cls, folder: Path) -> Corpus:
        """The corpus that `keep` put into a folder.

        Raises:
            SeriesError: a file is missing, or they do not belong together.
        """
        for name in (TOKENS, DOCUMENTS, TOKENIZER):
            if not is_file(folder / name):
                raise SeriesError(f"{folder}: {name}, which holds the text of this run, is missing: put it back.")
        try:
            entries = tuple(Entry(**line) for line in read_jsonl(folder / DOCUMENTS))
        except TypeError as error:
            raise SeriesError(f"{folder / DOCUMENTS} is no list of documents ({error}): put it back.") from None
        ids = loaded((folder / TOKENS).read_bytes(), folder / TOKENS).astype(np.int32)
        if sum(each.tokens for each in entries) != len(ids):
            raise SeriesError(f"{folder}: {TOKENS} and {DOCUMENTS} are not of one text: put them back.")
        return cls(ids, folder, entries, (folder / TOKENIZER).read_bytes())

    @cached_property
    def fingerprint(self) -> str:
        if self.ids is None:
            return _NONE
        digest = hashlib.sha256(self.ids.astype("<i4").tobytes())
        for each in self.documents or ():
            digest.update(f"{each.sha256} {each.tokens}\n".encode())
        return digest.hexdigest()

    @property
    def tokens_sha256(self) -> str:
        """Of the ids alone."""
        return replace(self, documents=None).fingerprint

    @cached_property
    def starts(self) -> np.ndarray:
        """[m + 1] int64: document i is ids[starts[i] : starts[i + 1]]."""
        lengths = [len(self.needed())] if self.documents is None else [each.tokens for each in self.documents]
        return np.cumsum([0, *lengths], dtype=np.int64)

    def part(self, name: Part) -> Corpus:
        """The documents that are trained on, or those that are held out.

        Which it is depends on the data seed and on the document's own text alone: another document beside it moves
        none. Where nobody said where documents end, there is no split, and each part is the whole.

        Raises:
            ConfigError: there is no such part, or no document in it.
        """
        if name not in ("train", "held_out"):
            raise ConfigError(f"part {name!r}: expected 'train' or 'held_out'.")
        return self._parts[name] if self.documents is not None else self

    @cached_property
    def _parts(self) -> dict[str, Corpus]:
        assert self.documents is not None
        out = np.array([held_out(each.sha256, self.seed, self.share) for each in self.documents], bool)
        if out.all() or not out.any():
            raise ConfigError(
                f"of {len(out):,} documents {out.sum():,} are held out, by data seed {self.seed}: there must be some "
                "of both. Give more documents (one file is one document: cut a long one into several), or set "
                "task.held_out."
            )
        return {"train": self._of(~out), "held_out": self._of(out)}

    def _of(self, which: np.ndarray) -> Corpus:
        """The corpus of some documents, [m] bool."""
        ids = self.needed()[np.repeat(which, np.diff(self.starts))]
        documents = tuple(each for each, wanted in zip(self.documents or (), which, strict=True) if wanted)
        return replace(self, ids=ids, documents=documents)

    @cached_property
    def shown(self) -> np.ndarray:
        """The tokens that there are in it, ascending: of others a model that was trained on it knows nothing."""
        return np.unique(self.needed())

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
        if self.names is not None:
            return tokenizer_of(self.names, TOKENIZER)
        if self.folder is None or not is_file(self.folder / TOKENIZER):
            return None
        return tokenizer(self.folder / TOKENIZER)

    @property
    def vocabulary(self) -> int:
        """How many tokens its tokenizer has.

        Raises:
            ConfigError: it has none.
        """
        if self._tokenizer is None:
            raise ConfigError(f"{self.folder}: there is no {TOKENIZER}.")
        return self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without special ones.

        Raises:
            ConfigError: there is no tokenizer.
        """
        if self._tokenizer is None:
            raise ConfigError("it needs the model's tokenizer.json in its folder, and there is none.")
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def word(self, token: int) -> str:
        """What a token is called: its text, with line ends and tabs as signs (and spaces, where there is nothing
        else), or its number."""
        text = None if self._tokenizer is None else self._tokenizer.decode([token], skip_special_tokens=False)
        if not text or "\ufffd" in text:
            return str(token)
        text = text.translate(_SIGNS)
        return text if text.strip() else "·" * len(text)

    def __repr__(self) -> str:
        documents = "" if self.documents is None else f" in {len(self.documents):,} documents"
        return f"Corpus({'no text' if self.ids is None else f'{len(self.ids):,} tokens{documents}'})"


def held_out(sha256: str, seed: int, share: float) -> bool:
    """Whether a document is held out: `share` of all are, and which is a draw for each document on its own."""
    draw = hashlib.sha256(f"{seed} {sha256}".encode()).digest()
    return int.from_bytes(draw[:8], "big") < share * 2**64


def kept(root: Path) -> Path | None:
    """A run's folder, where it keeps tokens, a tokenizer or the model's bigrams."""
    return root if any(is_file(root / name) for name in (TOKENS, TOKENIZER, BIGRAMS)) else None


def keep(root: Path, ids: np.ndarray | None, names: bytes | None, documents: Sequence[Entry] | None = None) -> None:
    """Put tokens, the content of a tokenizer.json, and what the documents are, into a run."""
    if ids is not None:
        buffer = io.BytesIO()
        np.save(buffer, ids.astype(np.int32))
        write_atomic(root / TOKENS, buffer.getvalue())
    if names is not None:
        write_atomic(root / TOKENIZER, names)
    if documents is not None:
        lines = "".join(json.dumps(asdict(each)) + "\n" for each in documents)
        write_atomic(root / DOCUMENTS, lines.encode())
