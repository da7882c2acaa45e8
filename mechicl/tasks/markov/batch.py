"""What a model of Markov chains reads, and how its answers are scored.

With q the model's distribution at a position, p that of the chain which the sequence is from, and the mean over the
positions that are scored (the second half of the sequence; of `conflict`, those of the two exchanged states):

    loss             mean of -log q[the next state], over all positions: the training loss
    kl               mean KL(p || q), in nats
    kl_unigram, kl_bigram, kl_retrieval
                     mean KL(r || q), with r what that predictor says (chains.py)
    inference_gain   (U - kl) / (U - B): 0 as good as the unigram predictor, 1 as the bigram predictor
    recall_gain      (B - kl) / (B - R): 0 as good as the bigram predictor, 1 as retrieval
    follows_context  of `conflict`, the share of scored positions whose q is nearer to what the context shows than to
                     what the weights hold: KL(p || q) < KL(p' || q)

U, B and R are the mean KL(p || r) of the unigram, bigram and retrieval predictor over the whole evaluation set, so
that a gain is linear in kl and has an interval.

Legend: b sequences, t positions, n states.
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
from mechicl.protocol.batch import Hook, TaskBatch, embed_tokens
from mechicl.protocol.drawn import wrong_numbers
from mechicl.tasks.markov.chains import Chains, bigram, divergence, retrieval, sample, unigram

if TYPE_CHECKING:
    from mechicl.models.params import Params
    from mechicl.protocol.shipped import Shipped
    from mechicl.protocol.task import Task

_PREDICTORS = ("kl_unigram", "kl_bigram", "kl_retrieval")
METRICS = ("loss", "kl", *_PREDICTORS, "inference_gain", "recall_gain")
_FOLLOWS = "follows_context"


@dataclass(frozen=True, repr=False)
class MarkovBatch(TaskBatch):
    """states [b, t + 1]. What follows is empty in training batches:
    true, held [b, t, n] float32: the row of the sequence's chain, and that which the weights hold, where they differ;
    predictors [b, 3, t, n] float32; scored [b, t] bool; levels [b, 3] float32: U, B, R of the whole set."""

    task: ClassVar[str | None] = "markov"
    static: ClassVar[bool] = True

    states: Tensor
    true: Tensor
    held: Tensor
    predictors: Tensor
    scored: Tensor
    levels: Tensor

    @property
    def recorded(self) -> tuple[str, ...]:  # type: ignore[override]
        return (*METRICS, _FOLLOWS) if self.conflicts else METRICS

    @property
    def conflicts(self) -> bool:
        """Whether context and weights disagree."""
        return self.held.shape[-1] > 0

    def wrong(self, task: Task) -> str:
        return wrong_numbers("states", self.states, task.n_outputs, "states")

    @property
    def ids(self) -> Tensor:
        return self.states[..., :-1]

    def embed(self, params: Params, model: ModelConfig, hook: Hook) -> Tensor:
        return embed_tokens(self.ids, params)

    def loss(self, z: Tensor) -> Tensor:
        return F.cross_entropy(z.flatten(0, 1), self.states[:, 1:].flatten())

    def score(self, params: Params, final: Tensor, wanted: Iterable[str]) -> dict[str, Tensor]:
        wanted = self.checked(wanted, self.recorded)
        said = logits(params, final).log_softmax(-1)  # [*lead, b, t, n]
        found = {name: self._one(name, said) for name in wanted if name not in ("inference_gain", "recall_gain")}
        if {"inference_gain", "recall_gain"} & set(wanted):
            kl = found["kl"] if "kl" in found else self._one("kl", said)
            u, b, r = self.levels.to(kl).unbind(-1)
            found |= {"inference_gain": (u - kl) / (u - b), "recall_gain": (b - kl) / (b - r)}
        return {name: found[name] for name in wanted}

    def _one(self, name: str, said: Tensor) -> Tensor:
        if name == "loss":
            return self._losses(said).mean(-1)
        if name == "kl":
            return self._mean(_divergence(self.true, said))
        if name == _FOLLOWS:
            return self._mean((_divergence(self.true, said) < _divergence(self.held, said)).to(said.dtype))
        return self._mean(_divergence(self.predictors[:, _PREDICTORS.index(name)], said))

    def position_losses(self, params: Params, final: Tensor) -> Tensor:
        return self._losses(logits(params, final).log_softmax(-1))

    def _losses(self, said: Tensor) -> Tensor:
        """[*lead, b, t], of logarithms of the model's distribution."""
        return -said.gather(-1, self.states[:, 1:, None].expand(*said.shape[:-1], 1))[..., 0]

    def _mean(self, x: Tensor) -> Tensor:
        """Over the scored positions: [*lead, b, t] -> [*lead, b]."""
        return (x * self.scored).sum(-1) / self.scored.sum(-1)

    def shipped(self, model: ModelConfig, metric: str) -> Shipped:
        from mechicl.tasks.markov.shipped import shipped

        return shipped(self, metric)

    def answers(self) -> dict[str, Tensor]:
        """The likeliest next state after the last position, by the sequence's chain, and by what the weights hold."""
        if not self.true.shape[-1]:
            return {}
        likeliest = {"logit_in_context": self.true[:, -1].argmax(-1)}
        return likeliest | ({"logit_in_weights": self.held[:, -1].argmax(-1)} if self.conflicts else {})

    def chance(self, n_outputs: int) -> dict[str, float]:
        """Of the loss, that of a uniform guess; of the gains, 0; of `follows_context`, one half."""
        return {"loss": float(np.log(n_outputs)), "inference_gain": 0.0, "recall_gain": 0.0, _FOLLOWS: 0.5}


def _divergence(p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) in nats, [*lead, b, t]."""
    return (torch.special.xlogy(p, p) - p * log_q).sum(-1)


def to_learn(source: Chains, n: int, t: int, rng: np.random.Generator) -> MarkovBatch:
    """`n` training sequences, each of a trained chain."""
    states = sample(source.trained[rng.integers(len(source.trained), size=n)], t, rng)
    none = torch.zeros(n, 0)
    return MarkovBatch(torch.from_numpy(states), none, none, none, none.bool(), none)


def to_score(
    source: Chains, chains: np.ndarray, t: int, rng: np.random.Generator, held: np.ndarray | None = None
) -> MarkovBatch:
    """One sequence of each chain [b, n, n], with all that scores need.

    Args:
        held: [b, n, n] what the weights hold instead. Then only the states whose rows differ are scored, where they
            have been shown before, and sequences without such a position are drawn again.
    """
    states = sample(chains, t, rng)
    scored = _scored(states, chains, held)
    while len(redo := np.flatnonzero(~scored.any(1))):
        states[redo] = sample(chains[redo], t, rng)
        scored[redo] = _scored(states[redo], chains[redo], None if held is None else held[redo])
    n, at = source.n_states, np.arange(len(states))[:, None]
    true = chains[at, states[:, :-1]]
    said = (unigram(states, n), bigram(states, n, source.concentration), retrieval(states, source.trained))
    weight = scored / scored.sum(1, keepdims=True)
    levels = [(divergence(true, each) * weight).sum(1).mean() for each in said]
    rows = true[..., :0] if held is None else held[at, states[:, :-1]]
    known, other, best = (torch.from_numpy(x.astype(np.float32)) for x in (true, rows, np.stack(said, 1)))
    of_set = torch.tensor(levels, dtype=torch.float32).expand(len(states), 3).clone()
    return MarkovBatch(torch.from_numpy(states), known, other, best, torch.from_numpy(scored), of_set)


def exchanged(source: Chains, n: int, t: int, rng: np.random.Generator) -> MarkovBatch:
    """Of a trained chain, two states have exchanged what follows them: all other states say which chain it is, the
    context says what follows these two."""
    held = source.trained[rng.integers(len(source.trained), size=n)]
    order = rng.permuted(np.tile(np.arange(source.n_states), (n, 1)), axis=1)[:, :2]
    chains, each = held.copy(), np.arange(n)[:, None]
    chains[each, order] = held[each, order[:, ::-1]]
    return to_score(source, chains, t, rng, held)


def _scored(states: np.ndarray, chains: np.ndarray, held: np.ndarray | None) -> np.ndarray:
    """[b, t] bool: the second half; of sequences with `held`, there the exchanged states, shown before."""
    read = states[:, :-1]
    half = np.arange(read.shape[1]) >= read.shape[1] // 2
    if held is None:
        return np.broadcast_to(half, read.shape).copy()
    differs = (chains != held).any(-1)  # [b, n]
    same = read[:, :, None] == read[:, None, :]
    before = np.tril(same, -1).any(-1)
    return differs[np.arange(len(read))[:, None], read] & before & half
