"""What a language model reads, and how its answers are scored: a mean over the positions of a sequence that count.

    loss       mean of -log q[the next token], in nats
    token_acc  share of positions whose likeliest token is the next one

Of `repeat`, the second half counts: every token there has been shown once before, and so has what followed it. Parts of
sequences with metrics of their own are in spans.py, sequences with one answer in last.py.

Legend: b sequences, t positions, v tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.answers import answered
from mechicl.errors import ConfigError
from mechicl.protocol.batch import Hook, TaskBatch, embed_tokens
from mechicl.protocol.drawn import wrong_numbers
from mechicl.tasks.text.loss import cross_entropy

if TYPE_CHECKING:
    from mechicl.models.params import Params
    from mechicl.protocol.shipped import Shipped
    from mechicl.protocol.task import Task
    from mechicl.tasks.text.corpus import Corpus

METRICS = ("loss", "token_acc")


@dataclass(frozen=True, repr=False)
class TokenBatch(TaskBatch):
    """tokens [b, t + 1]; scored [b, t] bool: positions whose next token counts, at least one in each sequence."""

    task: ClassVar[str | None] = "text"
    tokens: Tensor
    scored: Tensor

    recorded: ClassVar[tuple[str, ...]] = METRICS

    def wrong(self, task: Task) -> str:
        if self.scored.dtype != torch.bool or self.scored.shape != self.ids.shape:
            return f"field scored is not bool of the shape {list(self.ids.shape)}, a truth for every token but the last"
        if not self.scored.any(-1).all():
            return "field scored is all False in a sequence: expected at least one position that counts"
        return wrong_numbers("tokens", self.tokens, task.n_outputs, "tokens")

    @property
    def ids(self) -> Tensor:
        return self.tokens[..., :-1]

    def embed(self, params: Params, model: ModelConfig, hook: Hook) -> Tensor:
        return embed_tokens(self.ids, params)

    def loss(self, z: Tensor) -> Tensor:
        return F.cross_entropy(z[self.scored], self.tokens[:, 1:][self.scored])

    def loss_of(self, params: Params, final: Tensor) -> Tensor:
        return cross_entropy(
            final[self.scored], params["unembed.W_U"], params["unembed.b_U"], self.tokens[:, 1:][self.scored]
        )

    @property
    def spans(self) -> dict[str, Tensor]:
        """End of a metric's name -> the positions [b, t] over which that metric is the mean."""
        return {"": self.scored}

    def score(self, params: Params, final: Tensor, wanted: Iterable[str]) -> dict[str, Tensor]:
        asked = {metric + span: (metric, counts) for metric in METRICS for span, counts in self.spans.items()}
        wanted = self.checked(wanted, list(asked))
        if not wanted:
            return {}
        read = torch.stack([asked[name][1] for name in wanted]).any(0)
        right, loss = answered(params, final[..., read, :], self.tokens[:, 1:][read], any("loss" in x for x in wanted))
        out = {}
        for name in wanted:
            metric, counts = asked[name]
            each = loss.new_zeros(*loss.shape[:-1], *read.shape)
            each[..., read] = loss if metric == "loss" else right.to(loss.dtype)
            out[name] = _mean(each, counts)
        return out

    def position_losses(self, params: Params, final: Tensor) -> Tensor:
        _, loss = answered(params, final.flatten(-3, -2), self.tokens[:, 1:].flatten())
        return loss.unflatten(-1, self.ids.shape)

    def shipped(self, model: ModelConfig, metric: str) -> Shipped:
        from mechicl.tasks.text.shipped import of_spans

        return of_spans(self, metric)

    def answers(self) -> dict[str, Tensor]:
        """The token that follows the last position."""
        return {"logit_in_context": self.tokens[:, -1]}

    def chance(self, n_outputs: int) -> dict[str, float]:
        """Of a uniform guess."""
        levels = {"loss": float(np.log(n_outputs)), "token_acc": 1 / n_outputs}
        return {metric + span: level for metric, level in levels.items() for span in self.spans}


def _mean(x: Tensor, counts: Tensor) -> Tensor:
    """Over the positions that count: [*lead, b, t] -> [*lead, b]."""
    return (x * counts).sum(-1) / counts.sum(-1)


def repeated(vocabulary: int | np.ndarray, n: int, t: int, rng: np.random.Generator) -> TokenBatch:
    """`n` sequences of t/2 random tokens, different where the vocabulary has as many, twice, and the first again.

    Args:
        vocabulary: how many tokens there are, or those to choose from.
    """
    half = t // 2
    if (vocabulary if isinstance(vocabulary, int) else len(vocabulary)) >= half:
        first = np.stack([rng.choice(vocabulary, half, replace=False) for _ in range(n)])
    else:
        first = rng.choice(vocabulary, (n, half))
    tokens = np.concatenate([first, first, first[:, :1]], 1)
    scored = np.broadcast_to(np.arange(t) >= half, (n, t)).copy()
    return TokenBatch(torch.from_numpy(tokens.astype(np.int64)), torch.from_numpy(scored))


def windows(source: Corpus, n: int, t: int, rng: np.random.Generator) -> TokenBatch:
    """`n` windows of a corpus, each whole and inside one document, every one of them equally likely: to evaluate on.

    Raises:
        ConfigError: there is none, as no document is as long as a window and the token that follows it.
    """
    ids, starts = source.needed(), source.starts
    places = np.maximum(np.diff(starts) - t, 0)
    if not places.any():
        raise ConfigError(
            f"no document has more than {max(np.diff(starts), default=0):,} tokens, but a sequence of {t} tokens and "
            "the next token need more. Use longer documents, or shorter sequences."
        )
    ends = np.cumsum(places)
    drawn = rng.integers(ends[-1], size=n)
    document = np.searchsorted(ends, drawn, side="right")
    at = starts[document] + drawn - (ends - places)[document]
    return TokenBatch(_cut(ids, at, t), torch.ones(n, t, dtype=torch.bool))


def to_learn(source: Corpus, n: int, t: int, rng: np.random.Generator, across: bool, repeats: float) -> TokenBatch:
    """`n` training sequences.

    A sequence is a window inside one document. First a document is drawn, so that on average each of its targets is
    seen as often as those of any other, and then a place in it. A document that is shorter than a window is read whole,
    and what follows it is padding, which no position before it can attend to and no loss counts.

    Args:
        across: windows of the documents put one after another, over their ends.
        repeats: share of sequences that are a passage and itself again, of t/4 to t/2 tokens. With one length for all,
            a head that looks back so many positions would do, and needs no match.
    """
    ids, starts = source.needed(), source.starts
    if across:
        starts = np.array([0, len(ids)])
    targets = np.diff(starts) - 1
    weights = np.where(targets > 0, np.maximum(targets, t), 0)  # of one token there is nothing to learn
    if not weights.any():
        raise ConfigError("no document has two tokens, so there is nothing to learn. Give longer documents.")
    ends = np.cumsum(weights)
    drawn = rng.integers(ends[-1], size=n)
    document = np.searchsorted(ends, drawn, side="right")
    rest = drawn - (ends - weights)[document]  # 0 .. weight - 1, of which the window's place is a function
    places = np.maximum(targets[document] - t + 1, 1)
    at = starts[document] + rest * places // weights[document]
    tokens = _cut(ids, at, t)
    real = np.arange(t) < (starts[document + 1] - 1 - at)[:, None]
    tokens[:, 1:][torch.from_numpy(~real)] = 0
    if repeats:
        again = np.flatnonzero((rng.random(n) < repeats) & real.all(1))
        lengths = rng.integers(t // 4, t // 2 + 1, size=len(again))
        at = torch.from_numpy(np.arange(t + 1) % lengths[:, None])
        tokens[again] = tokens[again].gather(1, at)
    return TokenBatch(tokens, torch.from_numpy(real))


def _cut(ids: np.ndarray, at: np.ndarray, t: int) -> Tensor:
    """[n, t + 1] int64: t + 1 tokens from each place on; behind the last token, that again."""
    where = np.minimum(at[:, None] + np.arange(t + 1), len(ids) - 1)
    return torch.from_numpy(ids[where].astype(np.int64))
