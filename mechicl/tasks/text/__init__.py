"""Tokens: what is asked of a language model whose training data mechicl does not have.

Two questions. `repeat`: random tokens, and then the same again; what comes next is in the context, for any model of any
vocabulary (Olsson et al. 2022, 2209.11895). `text`: windows of a text or token file that the user names.

    batch.py       what a model reads, and its metrics
    corpus.py      a file of tokens, or a text and its tokenizer
    evaluators.py  repeat, text
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from mechicl.errors import ConfigError
from mechicl.loading import at_least, check_types
from mechicl.tasks.base import Circuit, Task, register

if TYPE_CHECKING:
    import numpy as np

    from mechicl.config import Config, ModelConfig
    from mechicl.tasks.text.batch import TokenBatch
    from mechicl.tasks.text.corpus import Corpus


@register
@dataclass(frozen=True, kw_only=True)
class Text(Task):
    """Sequences of tokens, each position of which predicts the next token."""

    kind: str = "text"
    circuit: ClassVar[Circuit] = Circuit("repeat")
    vocabulary: int = 256  # tokens that there are: rows of the embedding
    length: int = 64  # positions that the model reads; of `repeat`, half of them are new
    corpus: str | None = None  # sha256 of the tokens that `text` is asked on; None: there is no such file

    def __post_init__(self) -> None:
        check_types(self, "task")
        at_least("task", self, vocabulary=2, length=4)
        if self.kind != "text":
            raise ConfigError(f"task.kind={self.kind!r}: these are the settings of 'text'.")
        if self.length % 2:
            raise ConfigError(
                f"task.length={self.length}: the second half of a sequence repeats the first, so it must be even."
            )

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

        return Corpus.opened(data, self.corpus)

    def draw(self, source: Corpus, n: int, rng: np.random.Generator) -> TokenBatch:
        from mechicl.tasks.text.batch import windows

        return windows(source, n, self.length, rng)

    def tokens(self, source: Corpus, evaluator: str, batch: TokenBatch, i: int) -> list[str]:
        return [f"{at} {source.word(token)}" for at, token in enumerate(batch.ids[i].tolist())]

    def caption(self, recorded: dict) -> str:
        text = "" if self.corpus is None else f", and of a text of {recorded.get('tokens', 0):,} tokens"
        return f"{self.vocabulary:,} tokens, sequences of {self.length}: random ones repeated{text}"

    def record(self, source: Corpus) -> dict:
        return {} if source.ids is None else {"tokens": len(source.ids)}


from mechicl.tasks.text import evaluators as evaluators  # noqa: E402 (they belong to the task)
