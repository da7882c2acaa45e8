"""Tokens: language models, trained on documents here, or opened from elsewhere.

Questions are asked of any (evaluators.py), among them two. `repeat`: random tokens, and then the same again; what
comes next is in the context, for any model of any vocabulary (Olsson et al. 2022, 2209.11895). `text`: windows of text;
of a model that is trained here, of the documents that are held out, of another, of a text or token file that the user
names.

    documents.py   which files are documents, and what is left out
    tokenizing.py  a tokenizer of one's own
    gathered.py    from documents to a corpus, once for all runs
    token_files.py files of tokens that a user names, and tokenizer.json
    corpus.py      tokens in documents, the split, and what a run keeps of them
    batch.py       what a model reads, and its metrics
    spans.py       parts of a sequence that have metrics of their own: `repeat`, and the in-context score
    last.py        sequences with one answer, at the end: `weights` and `conflict`
    ngrams.py      what a corpus fixes: strong bigrams, continuations
    own_bigrams.py the same of a model whose corpus nobody has
    conflicting.py contexts that contradict it, and their controls
    evaluators.py  repeat, text, loss, weights, and the controls of `conflict` (tasks/conflict.py)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mechicl.errors import ConfigError
from mechicl.loading import at_least, at_most, check_types
from mechicl.protocol.task import Circuit, Task, register

if TYPE_CHECKING:
    import numpy as np

    from mechicl.config import Config, ModelConfig
    from mechicl.tasks.text.batch import TokenBatch
    from mechicl.tasks.text.conflicting import Kind
    from mechicl.tasks.text.corpus import Corpus
    from mechicl.tasks.text.last import ConflictBatch, LastBatch
    from mechicl.tasks.text.ngrams import Bigrams


@register
@dataclass(frozen=True, kw_only=True)
class Text(Task):
    """Sequences of tokens, each position of which predicts the next token."""

    kind: str = "text"
    circuit: ClassVar[Circuit] = Circuit("repeat")
    answer: ClassVar[str] = "token"
    errors: ClassVar[tuple[str, ...]] = ("loss", "loss_first", "loss_early", "loss_late", "in_context_score")
    vocabulary: int = 256  # tokens that there are: rows of the embedding
    length: int = 64  # positions that the model reads; of `repeat`, half of them are new
    corpus: str | None = None  # sha256 of the tokens that `text` is asked on; None: there is no such file
    # What is trained on. 'python': the library of the Python that runs this, unless --data names other documents;
    # 'given': what --data names; None: nothing, as of a model from elsewhere.
    documents: Literal["python", "given"] | None = None
    patterns: tuple[str, ...] = ("*",)  # which files of a folder that --data names are documents, as '*.md'
    held_out: float = 0.1  # share of documents that are not trained on (`Corpus.part`)
    across: bool = False  # sequences run on over the ends of documents; else each is inside one
    repeats: float = 0.0  # share of training sequences that are a passage and itself again, of length/4 to length/2
    # Whose bigrams `conflict` contradicts: 'corpus': of the text that is trained on, or that a user named; a sha256: of
    # the model itself, run on single tokens (own_bigrams.py); None: it is not asked, and neither is `weights`.
    bigrams: str | None = None
    few_shot: bool = False  # whether labels of small classifications are asked for (few_shot.py): of large models

    def __post_init__(self) -> None:
        check_types(self, "task")
        at_least("task", self, vocabulary=2, length=4, repeats=0)
        at_most("task", self, repeats=1)
        if self.kind != "text":
            raise ConfigError(f"task.kind={self.kind!r}: these are the settings of 'text'.")
        if self.length % 2:
            raise ConfigError(
                f"task.length={self.length}: the second half of a sequence repeats the first, so it must be even."
            )
        if not 0 < self.held_out < 1:
            raise ConfigError(f"task.held_out={self.held_out}: expected a share between 0 and 1, such as 0.1.")
        if self.documents is not None and self.corpus is not None:
            raise ConfigError(
                "give task.documents (to train on text) or task.corpus (for a model that mechicl did not train), not "
                "both."
            )
        if self.bigrams == "corpus" and not self.has_text:
            raise ConfigError("task.bigrams='corpus' needs a text: give task.documents or task.corpus.")

    @property
    def has_text(self) -> bool:
        """Whether there is a text to ask about."""
        return self.documents is not None or self.corpus is not None

    @property
    def n_tokens(self) -> int:
        return self.length

    @property
    def n_outputs(self) -> int:
        return self.vocabulary

    def input_shapes(self, model: ModelConfig) -> dict[str, tuple[int, ...]]:
        return {"embed.W_E": (self.vocabulary, model.d_model)}

    def kept(self, root: Path) -> Path | None:
        from mechicl.tasks.text.corpus import kept

        return kept(root)

    def source(self, config: Config, data: str | Path | None = None, threads: int | None = 1) -> Corpus:
        from mechicl.tasks.text.corpus import Corpus
        from mechicl.tasks.text.gathered import gathered

        if self.documents is None:
            return Corpus.opened(data, self.corpus)
        return gathered(data, self, config.seeds.data)

    def keep(self, root: Path, source: Corpus) -> None:
        from mechicl.tasks.text.corpus import keep

        if source.documents is not None:
            keep(root, source.ids, source.names, source.documents)

    def draw(self, source: Corpus, n: int, rng: np.random.Generator) -> TokenBatch:
        from mechicl.tasks.text.batch import to_learn

        return to_learn(source.part("train"), n, self.length, rng, self.across, self.repeats)

    def conflicts(self, config: Config) -> bool:
        return self.bigrams is not None

    def conflict(self, source: Corpus, n: int, rng: np.random.Generator, kind: Kind = "conflict") -> ConflictBatch:
        """As `Task.conflict`; kind: or its controls, the same sequences but for one thing (conflicting.py)."""
        from mechicl.tasks.text.conflicting import conflicting

        return conflicting(kind, source, self._known(source), self.vocabulary, n, self.length, rng)

    def fixed(self, source: Corpus, n: int, rng: np.random.Generator) -> LastBatch:
        """`n` sequences whose last answer training has fixed and the context does not show (`weights`)."""
        from mechicl.tasks.text import conflicting, ngrams, own_bigrams

        if self.bigrams == "corpus":
            known = ngrams.fixed_in(source.part("train"))
        else:
            known = own_bigrams.as_fixed(self._known(source))
        return conflicting.fixed(source, known, self.vocabulary, n, self.length, rng)

    def _known(self, source: Corpus) -> Bigrams:
        from mechicl.tasks.text import ngrams, own_bigrams

        if self.bigrams is None:
            raise ConfigError("this run has no bigrams: if it has a text, set task.bigrams='corpus'.")
        if self.bigrams == "corpus":
            return ngrams.bigrams_in(source.part("train"), self.vocabulary)
        return own_bigrams.kept(source.folder, self.bigrams)

    def tokens(self, source: Corpus, evaluator: str, batch: TokenBatch, i: int) -> list[str]:
        return [f"{at} {source.word(token)}" for at, token in enumerate(batch.ids[i].tolist())]

    def output(self, source: Corpus, number: int) -> str:
        word = source.word(number)
        return f"token {number}" if word == str(number) else f"‘{word}’"

    def caption(self, recorded: dict[str, Any]) -> str:
        tokens, text = recorded.get("tokens", 0), recorded.get("text", {})
        if self.documents is None:
            asked = "" if self.corpus is None else f", and of a text of {tokens:,} tokens"
            return f"{self.vocabulary:,} tokens, sequences of {self.length}: random ones repeated{asked}{self._whose}"
        again = f", {self.repeats:.0%} of them a repeated passage" if self.repeats else ""
        over = " over the ends of documents" if self.across else ""
        return (
            f"{tokens:,} tokens of {text.get('documents', 0):,} documents ({text.get('from', 'given')}), "
            f"{self.vocabulary:,} different, sequences of {self.length}{over}{again}{self._whose}"
        )

    @property
    def _whose(self) -> str:
        """Whose bigrams are contradicted, for a caption."""
        if self.bigrams is None:
            return ""
        return "; bigrams of " + ("that text" if self.bigrams == "corpus" else "the model run on single tokens")

    def record(self, source: Corpus) -> dict[str, Any]:
        if source.ids is None:
            return {}
        if source.documents is None:
            return {"tokens": len(source.ids)}
        out = source.part("held_out")
        text = {
            **source.origin,
            "documents": len(source.documents),
            "bytes": sum(each.bytes for each in source.documents),
            "held_out": {"documents": len(out.documents or ()), "tokens": len(out.needed())},
            "tokens_sha256": source.tokens_sha256,
            "tokenizer_sha256": hashlib.sha256(source.names or b"").hexdigest(),
        }
        return {"tokens": len(source.ids), "text": text}


from mechicl.tasks.text import evaluators as evaluators  # noqa: E402 (they belong to the task)
