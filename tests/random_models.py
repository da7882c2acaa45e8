"""Small models with random weights, in the engine and as a HookedTransformer, to compare interventions on."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mechicl.config import BankConfig, Config, ModelConfig, SequenceConfig
from mechicl.engine.forward import logits, stack
from mechicl.interventions import (
    AblateHeads,
    AblateMLPs,
    AblatePositions,
    AblateSubspace,
    ClampMatch,
    CutPaths,
    Intervention,
    PatchActivations,
    RemoveDirectPath,
    Temper,
    Together,
    apply,
)
from mechicl.models.hooked import ICLTransformer
from mechicl.models.params import Params, init
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.batch import Batch

MODELS = {
    "plain": {},
    "rotary-no-norm": {"positions": "rotary", "layer_norm": False},
    "three-layers-mlp": {"n_layers": 3, "mlp_ratio": 2, "mlp_layers": (0, 2)},
}

_DRAWN = np.random.default_rng(3).standard_normal((16, 3))
ALL = {  # two or more of each family, to share a pass
    "heads": [AblateHeads(heads=((0, 1),), hold=("k",)), AblateHeads(heads=((0, 0), (0, 1)), hold=("k",))],
    "path": [RemoveDirectPath(), RemoveDirectPath()],
    "clamps": [ClampMatch(heads=((1, 1),), strength=0.2), ClampMatch(heads=((0, 0), (1, 0), (1, 1)), strength=0.7)],
    "temper": [Temper(heads=((1, 1),), temperature=0.1), Temper(heads=((0, 0), (1, 1)), temperature=3.0)],
    "together": [Together(parts=(ClampMatch(heads=((1, h),)), RemoveDirectPath())) for h in (0, 1)],
    "subspaces": [AblateSubspace(directions=_DRAWN[:, :n], layer=la) for n, la in ((3, 1), (1, 1), (2, 0))],
    "patches": [
        PatchActivations(heads=((0, 1), (1, 2)), positions=("label", "query")),
        PatchActivations(heads=((1, 0),), part="v"),
        PatchActivations(residual=(1,), positions=("label",)),
    ],
    "queries": [PatchActivations(heads=((1, h),), part="q", counterfactual="next") for h in (0, 3)],
    "positions": [AblatePositions(positions=("match",), layers=(1,)), AblatePositions(positions=("1", "query"))],
    "resampled": [AblatePositions(positions=("label",), layers=(0, 1), kind="resample")] * 2,
    "means": [AblatePositions(positions=("other", "query"), layers=(1,), kind="mean")] * 2,
    "inputs": [AblateSubspace(directions=_DRAWN[:, :n], layer=1, at="input") for n in (3, 1)],
    "paths": [
        CutPaths(paths=("L0H1->L1H2.k", "embed->L1H0.q", "embed->L0H3.v")),
        CutPaths(paths=("L0H0->L1H1.v", "L0H2->L1H1.v", "L1H3->out", "embed->out")),
    ],
    "paths, mean": [
        CutPaths(paths=("L0H1->L1H2.k", "L0H1->L1H0.q"), kind="mean"),
        CutPaths(paths=("embed->L1H2.v", "L0H1->out"), kind="mean"),
    ],
    "paths, counterfactual": [
        CutPaths(paths=("embed->L0H2.q", "L0H2->L1H1.k"), kind="counterfactual"),
        CutPaths(paths=("L0H0->L1H0.v", "L0H1->L1H0.v", "L1H1->out"), kind="counterfactual"),
    ],
    "mlps": [AblateMLPs(layers=(0,), kind="mean"), AblateMLPs(layers=(0, 2), kind="mean")],
}


def make(kind: str = "plain", **model: Any) -> Config:
    return Config(
        name="x",
        steps=1,
        bank=BankConfig(n_classes=11, n_exemplars=4, n_holdout_classes=2, dim=6),
        sequences=SequenceConfig(n_pairs=3),
        model=ModelConfig(**({"d_model": 16, "n_heads": 4} | MODELS[kind] | model)),
    )


def weights_of(config: Config, dtype: torch.dtype, seed: int = 0) -> Params:
    """Far from init, so that patterns are peaked and every head matters."""
    rng = torch.Generator().manual_seed(seed)
    return {
        name: w.to(dtype) + 0.4 * torch.randn(w.shape, generator=rng, dtype=dtype) for name, w in init(config).items()
    }


def batch_of(config: Config, dtype: torch.dtype, n: int = 5) -> Batch:
    part = build_bank(config).train()
    return part.draw(config.sequences, n, np.random.default_rng(0), config.bank.labels).to(dtype)


def hooked(config: Config, weights: Params) -> ICLTransformer:
    """The HookedTransformer with these weights, in their dtype."""
    return ICLTransformer(config).to(next(iter(weights.values())).dtype).load_weights(weights)


def by_engine(params: Params, batch: Batch, config: Config, conditions: list[Intervention]) -> Tensor:
    """Logits [c, b, v] of several conditions at once, the way measures run them."""
    stacked = stack([params])
    return logits(stacked, apply(stacked, batch, config.model, conditions).final)[0]
