"""Language models whose behaviour is known because their weights are written by hand, and the text that they know.

All share one Config (`token_config`): 2 layers of attention alone, 2 heads, no LayerNorm, learned positions, 24 tokens,
sequences of 24. In the text (`text`) token i of 0..7 is always followed by i + 8, and that by one of 16..23 at random.

`bigram_model()`: the text's bigram table from embedding to unembedding; no head writes anything.
`induction_model()`: head PREVIOUS copies each token to the position after it, head INDUCTION finds what followed the
    same token before and writes SHOUT times it to the logits. Where nothing did, it averages over all but the first.
`both_model()`: both at once. What the context shows is louder than the table.
"""

from __future__ import annotations

import numpy as np
import torch

from mechicl.config import Config, ModelConfig, ScheduleConfig
from mechicl.models.params import Params, shapes
from mechicl.tasks.text import Text
from mechicl.tasks.text.corpus import Corpus

V, T = 24, 24
PREVIOUS, INDUCTION = (0, 1), (1, 0)  # (layer, head)
CONTENT, MOVED, COPIED = slice(0, V), slice(V, 2 * V), slice(2 * V, 3 * V)
POSITION = 3 * V  # first of the position coordinates
SHOUT, _SHARP, _LEAST = 30.0, 400.0, 1e-6


def text(tokens: int = 30_000) -> Corpus:
    rng = np.random.default_rng(0)
    first, noise = rng.integers(8, size=tokens // 3), rng.integers(16, 24, size=tokens // 3)
    return Corpus(np.stack([first, first + 8, noise], 1).reshape(-1).astype(np.int32), None)


def token_config(source: Corpus, **task) -> Config:
    return Config(
        name="tokens",
        steps=20,
        batch_size=8,
        task=Text(**({"vocabulary": V, "length": T, "corpus": source.fingerprint, "bigrams": "corpus"} | task)),
        model=ModelConfig(n_layers=2, d_model=POSITION + T, n_heads=2, layer_norm=False),
        checkpoint_steps=ScheduleConfig(linear_every=10),
        n_eval=96,
        states=1,
        threads=1,
    )


def table(source: Corpus) -> np.ndarray:
    """[v, v] how often each token follows each, nowhere 0."""
    ids = source.needed()
    counts = np.zeros((V, V))
    np.add.at(counts, (ids[:-1], ids[1:]), 1)
    share = counts / counts.sum(1, keepdims=True) + _LEAST
    return share / share.sum(1, keepdims=True)


def bigram_model(source: Corpus) -> Params:
    w = _nothing(source)
    w["unembed.W_U"][CONTENT] = torch.from_numpy(np.log(table(source))).float()
    return w


def induction_model(source: Corpus) -> Params:
    w, places = _nothing(source), torch.arange(T)
    layer, head = PREVIOUS
    block = f"blocks.{layer}.attn"
    w[f"{block}.W_Q"][head, POSITION + places, places] = _SHARP
    w[f"{block}.W_K"][head, POSITION + places[:-1], places[1:]] = 1.0
    w[f"{block}.W_V"][head, CONTENT, :V] = torch.eye(V)
    w[f"{block}.W_O"][head, :V, MOVED] = torch.eye(V)
    layer, head = INDUCTION
    block = f"blocks.{layer}.attn"
    w[f"{block}.W_Q"][head, CONTENT, :V] = _SHARP * torch.eye(V)
    w[f"{block}.W_K"][head, MOVED, :V] = torch.eye(V)
    w[f"{block}.W_Q"][head, POSITION + places, V] = _SHARP
    w[f"{block}.W_K"][head, POSITION, V] = -4.0  # the first position has moved its own content, which is no match
    w[f"{block}.W_V"][head, CONTENT, :V] = torch.eye(V)
    w[f"{block}.W_O"][head, :V, COPIED] = torch.eye(V)
    w["unembed.W_U"][COPIED] = SHOUT * torch.eye(V)
    return w


def both_model(source: Corpus) -> Params:
    w = induction_model(source)
    w["unembed.W_U"][CONTENT] = bigram_model(source)["unembed.W_U"][CONTENT]
    return w


def _nothing(source: Corpus) -> Params:
    """Content and position each in their own coordinates; heads write nothing; all logits 0."""
    w = {name: torch.zeros(shape) for name, shape in shapes(token_config(source)).items()}
    w["embed.W_E"][:, CONTENT] = torch.eye(V)
    w["pos_embed.W_pos"][:, POSITION : POSITION + T] = torch.eye(T)
    return w
