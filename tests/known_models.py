"""Two models whose behaviour is known because their weights are written by hand.

Both share one Config (`known_config`): 2 layers of attention only, 4 heads of size 32,
d_model 128, no LayerNorm, learned positions, 16 classes in 24 dimensions with no noise
(within_class_std 0, so a class is one point), 16 held-out classes, C = 2 pairs.

`induction_model()`: the textbook circuit, and nothing else.

    layer 0, head PREVIOUS_TOKEN_HEAD[1] = 1   each position attends the one before it; a label's
                                               position gets its exemplar's content ('moved')
    layer 1, head INDUCTION_HEAD[1] = 2        the query attends the label whose moved content is
                                               its own, and copies that label to the output

    train, icl, flip, icl_holdout: in_context_acc 1    iwl: acc 0    ciwl: chance, 1/C
    Without either head (W_O zeroed) icl, flip and train fall to chance, 1/2.
    The two compose through K alone; every other head has W_O = 0.

`lookup_model()`: class -> label straight from exemplar embedding to unembedding. Its heads
have random q, k, v (patterns are not trivial), but every W_O is 0.

    train, ciwl: in_context_acc 1    iwl: acc 1    flip: 0    icl, icl_holdout: chance, 1/2
    No ablation of a head changes anything.

Residual stream: CONTENT, then MOVED (content of the position before), then LABEL (one-hot),
then POSITION (one-hot). Ties are broken by a ramp in b_U, so nothing hangs on the order of argmax.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from mechicl.config import BankConfig, Config, ModelConfig, ScheduleConfig, SequenceConfig
from mechicl.models.params import Params, init, shapes
from mechicl.tasks.exemplar_label.banks.build import build_bank

PREVIOUS_TOKEN_HEAD = (0, 1)  # (layer, head)
INDUCTION_HEAD = (1, 2)
DIM, CLASSES = 24, 16
CONTENT, MOVED, LABEL = slice(0, 24), slice(24, 48), slice(48, 64)
_POSITION = 64  # first of the position coordinates
_SHARP = 400.0  # of scores, before the division by sqrt(d_head)


def known_config(n_pairs: int = 2) -> Config:
    """The Config of both models. `n_pairs` up to 15."""
    return Config(
        name="known",
        steps=10,
        batch_size=8,
        bank=BankConfig(n_classes=CLASSES, n_holdout_classes=16, n_exemplars=4, dim=DIM, within_class_std=0.0),
        sequences=SequenceConfig(n_pairs=n_pairs),
        model=ModelConfig(n_layers=2, d_model=128, n_heads=4, layer_norm=False),
        checkpoint_steps=ScheduleConfig(linear_every=5),
        n_eval=500,
        states=1,
        threads=1,
    )


def induction_model(n_pairs: int = 2) -> tuple[Config, Params]:
    """The Config and the TransformerLens-shaped weights of a two-layer induction circuit."""
    config = known_config(n_pairs)
    w = {name: torch.zeros(shape) for name, shape in shapes(config).items()}
    _embeddings(w, config)
    t = config.sequences.n_tokens
    places = torch.arange(t)

    layer, head = PREVIOUS_TOKEN_HEAD
    block = f"blocks.{layer}.attn"
    # Position p asks for position p - 1; position 0 can see only itself.
    w[f"{block}.W_Q"][head, _POSITION + places, places] = _SHARP
    w[f"{block}.W_K"][head, _POSITION + places[:-1], places[1:]] = 1.0
    w[f"{block}.W_V"][head, CONTENT, :DIM] = torch.eye(DIM)
    w[f"{block}.W_O"][head, :DIM, MOVED] = torch.eye(DIM)

    layer, head = INDUCTION_HEAD
    block = f"blocks.{layer}.attn"
    # Own content against moved content; one more coordinate keeps to label positions, since
    # position 0 moved its own content to itself.
    w[f"{block}.W_Q"][head, CONTENT, :DIM] = _SHARP * torch.eye(DIM)
    w[f"{block}.W_K"][head, MOVED, :DIM] = torch.eye(DIM)
    w[f"{block}.W_Q"][head, _POSITION : _POSITION + t, DIM] = _SHARP
    w[f"{block}.W_K"][head, _POSITION + places[1::2], DIM] = 4.0
    w[f"{block}.W_V"][head, LABEL, :CLASSES] = torch.eye(CLASSES)
    w[f"{block}.W_O"][head, :CLASSES, LABEL] = torch.eye(CLASSES)

    w["unembed.W_U"][LABEL] = 20.0 * torch.eye(CLASSES)
    return config, w


def lookup_model(n_pairs: int = 2) -> tuple[Config, Params]:
    """The Config and the weights of a model that knows every class's label and reads no context."""
    config = known_config(n_pairs)
    w = init(config)
    _embeddings(w, config)
    for layer in range(config.model.n_layers):
        w[f"blocks.{layer}.attn.W_O"].zero_()
    bank = build_bank(config).train()
    points = torch.from_numpy(bank.exemplars[:, 0]).double()  # [class, dim], linearly independent
    answers = torch.eye(CLASSES, dtype=torch.float64)[torch.from_numpy(bank.label_of_class)]
    w["unembed.W_U"].zero_()
    w["unembed.W_U"][CONTENT] = 20.0 * (torch.linalg.pinv(points) @ answers).float()
    return config, w


def with_recall(config: Config, weights: Params) -> tuple[Config, Params]:
    """The same model with an MLP in its last layer that knows every class's label, and shouts it.

    One hidden unit per class answers to its point alone, and writes twice what an induction head copies, into
    the same coordinates. So with `induction_model()`: iwl 1, flip 0; without the MLP the circuit behind it
    shows again: flip 1, iwl 0. What is common to all sequences is no answer, so the MLP's mean does the same.
    """
    config = replace(config, model=replace(config.model, mlp_ratio=1, mlp_layers=(config.model.n_layers - 1,)))
    block = f"blocks.{config.model.n_layers - 1}.mlp"
    out = weights | {name: torch.zeros(shape) for name, shape in shapes(config).items() if name.startswith(block)}
    bank = build_bank(config).train()
    points = torch.from_numpy(bank.exemplars[:, 0]).double()
    out[f"{block}.W_in"][CONTENT, :CLASSES] = 10.0 * torch.linalg.pinv(points).float()
    label = torch.from_numpy(bank.label_of_class)
    out[f"{block}.W_out"][torch.arange(CLASSES), LABEL.start + label] = 0.2
    return config, out


def without_head(weights: Params, layer: int, head: int) -> Params:
    """Weight surgery: the same weights with one head's W_O zeroed."""
    out = {name: w.clone() for name, w in weights.items()}
    out[f"blocks.{layer}.attn.W_O"][head] = 0.0
    return out


def without_mlps(weights: Params) -> Params:
    """Weight surgery: the same weights with every MLP zeroed, so that it writes nothing."""
    return {name: torch.zeros_like(w) if ".mlp." in name else w for name, w in weights.items()}


def _embeddings(w: Params, config: Config) -> None:
    """Content, label and position each into their own coordinates; b_U a small ramp."""
    for name in ("exemplar_embed.W", "exemplar_embed.b", "embed.W_E", "pos_embed.W_pos"):
        w[name].zero_()
    w["exemplar_embed.W"][:, CONTENT] = torch.eye(DIM)
    w["embed.W_E"][:, LABEL] = torch.eye(CLASSES)
    t = config.sequences.n_tokens
    w["pos_embed.W_pos"][:, _POSITION : _POSITION + t] = torch.eye(t)
    w["unembed.b_U"].copy_(torch.linspace(0, 1e-3, CLASSES))
