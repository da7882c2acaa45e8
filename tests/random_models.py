"""Small models with random weights, in the engine and as a HookedTransformer, to compare interventions on."""

import numpy as np
import torch
from torch import Tensor

from mechicl.config import BankConfig, Config, ModelConfig, SequenceConfig
from mechicl.engine.forward import forward, logits, stack
from mechicl.interventions import Intervention, edits
from mechicl.models.hooked import ICLTransformer
from mechicl.models.params import Params, init
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.batch import Batch

MODELS = {
    "plain": {},
    "rotary-no-norm": {"positions": "rotary", "layer_norm": False},
    "three-layers-mlp": {"n_layers": 3, "mlp_ratio": 2, "mlp_layers": (0, 2)},
}


def make(kind: str = "plain") -> Config:
    return Config(
        name="x",
        steps=1,
        bank=BankConfig(n_classes=11, n_exemplars=4, n_holdout_classes=2, dim=6),
        sequences=SequenceConfig(n_pairs=3),
        model=ModelConfig(**({"d_model": 16, "n_heads": 4} | MODELS[kind])),
    )


def weights_of(config: Config, dtype: torch.dtype, seed: int = 0) -> Params:
    """Far from init, so that patterns are peaked and every head matters."""
    rng = torch.Generator().manual_seed(seed)
    return {
        name: w.to(dtype) + 0.4 * torch.randn(w.shape, generator=rng, dtype=dtype)
        for name, w in init(config).items()
    }


def batch_of(config: Config, dtype: torch.dtype, n: int = 5) -> Batch:
    part = build_bank(config).train()
    return part.draw(config.sequences, n, np.random.default_rng(0), config.bank.labels).to(dtype)


def hooked(config: Config, weights: Params) -> ICLTransformer:
    """The HookedTransformer with these weights, in their dtype."""
    return ICLTransformer(config).to(next(iter(weights.values())).dtype).load_weights(weights)


def by_engine(params: Params, batch: Batch, config: Config, conditions: list[Intervention]) -> Tensor:
    """Logits [c, b, v] of several conditions at once, the way measures run them."""
    stacked, model = stack([params]), config.model
    wanted = {hook for condition in conditions for hook in condition.needs(model)}
    intact = forward(stacked, batch, model, capture=wanted).acts
    out = forward(stacked, batch, model, edits=edits(conditions, model, intact, batch))
    return logits(stacked, out.final)[0]
