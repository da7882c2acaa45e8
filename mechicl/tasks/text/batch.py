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
from mechicl.engine.forward import logits
from mechicl.errors import ConfigError
from mechicl.tasks.batch import Hook, TaskBatch, embed_tokens

if TYPE_CHECKING:
    from mechicl.models.params import Params
    from mechicl.tasks.text.corpus import Corpus

METRICS = ("loss", "token_acc")
_AT_ONCE = 2**24  # logits at a time: a vocabulary of 50,000 at every position of a whole set would be gigabytes


@dataclass(frozen=True, repr=False)
class TokenBatch(TaskBatch):
    """tokens [b, t + 1]; scored [b, t] bool: positions whose next token counts, as many in each sequence."""

    task: ClassVar[str | None] = "text"
    tokens: Tensor
    scored: Tensor

    recorded: ClassVar[tuple[str, ...]] = METRICS

    @property
    def ids(self) -> Tensor:
        return self.tokens[..., :-1]

    def embed(self, params: Params, model: ModelConfig, hook: Hook) -> Tensor:
        return embed_tokens(self.ids, params)

    def loss(self, z: Tensor) -> Tensor:
        return F.cross_entropy(z[self.scored], self.tokens[:, 1:][self.scored])

    @property
    def spans(self) -> dict[str, Tensor]:
        """End of a metric's name -> the positions [b, t] over which that metric is the mean."""
        return {"": self.scored}

    def score(self, params: Params, final: Tensor, wanted: Iterable[str]) -> dict[str, Tensor]:
        wanted, spans = tuple(wanted), self.spans
        known = [metric + span for metric in METRICS for span in spans]
        for name in wanted:
            if name not in known:
                raise ConfigError(f"metric {name!r}: expected one of {', '.join(known)}.")
        parts = []
        for rows in self._rows(params, final):
            of = {span: counts[rows] for span, counts in spans.items()}
            parts.append(self._part(params, final[..., rows, :, :], rows, wanted, of))
        return {name: torch.cat([part[name] for part in parts], -1) for name in wanted}

    def position_losses(self, params: Params, final: Tensor) -> Tensor:
        parts = [self._losses(logits(params, final[..., rows, :, :]), rows) for rows in self._rows(params, final)]
        return torch.cat(parts, -2)

    def _rows(self, params: Params, final: Tensor) -> list[slice]:
        """A few sequences at a time."""
        b, t = self.ids.shape
        each = final[..., 0, 0, 0].numel() * t * params["unembed.b_U"].shape[-1]
        size = max(1, _AT_ONCE // max(1, each))
        return [slice(i, i + size) for i in range(0, b, size)]

    def _part(
        self, params: Params, final: Tensor, rows: slice, wanted: tuple[str, ...], spans: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        said, out = logits(params, final), {}
        for metric in METRICS:
            asked = {metric + span: counts for span, counts in spans.items() if metric + span in wanted}
            if not asked:
                continue
            right = self.tokens[rows, 1:]
            each = self._losses(said, rows) if metric == "loss" else (said.argmax(-1) == right).to(said.dtype)
            out |= {name: _mean(each, counts) for name, counts in asked.items()}
        return out

    def _losses(self, said: Tensor, rows: slice) -> Tensor:
        """[*lead, b, t], of some sequences' logits."""
        after = self.tokens[rows, 1:, None].expand(*said.shape[:-1], 1)
        return said.logsumexp(-1) - said.gather(-1, after)[..., 0]

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


def repeated(vocabulary: int, n: int, t: int, rng: np.random.Generator) -> TokenBatch:
    """`n` sequences of t/2 random tokens, different where the vocabulary has as many, twice, and the first again."""
    half = t // 2
    if vocabulary >= half:
        first = np.stack([rng.choice(vocabulary, half, replace=False) for _ in range(n)])
    else:
        first = rng.integers(vocabulary, size=(n, half))
    tokens = np.concatenate([first, first, first[:, :1]], 1)
    scored = np.broadcast_to(np.arange(t) >= half, (n, t)).copy()
    return TokenBatch(torch.from_numpy(tokens.astype(np.int64)), torch.from_numpy(scored))


def windows(source: Corpus, n: int, t: int, rng: np.random.Generator) -> TokenBatch:
    """`n` windows of a corpus, from random places.

    Raises:
        ConfigError: there is none, or it is shorter than a window.
    """
    ids = source.needed()
    if len(ids) < t + 1:
        raise ConfigError(f"the text has {len(ids):,} tokens, fewer than a sequence of {t} and what follows it.")
    starts = rng.integers(len(ids) - t, size=n)
    tokens = torch.from_numpy(np.stack([ids[s : s + t + 1] for s in starts]).astype(np.int64))
    return TokenBatch(tokens, torch.ones(n, t, dtype=torch.bool))
