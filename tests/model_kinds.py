"""One small config of each kind of model."""

from mechicl.config import BankConfig, Config, ModelConfig, OptimConfig, SequenceConfig

KINDS = {
    "attention-only": {},
    "mlp": {"mlp_ratio": 2},
    "mlp-last": {"mlp_ratio": 2, "mlp_layers": (1,)},
    "mlp-tanh": {"mlp_ratio": 2, "activation": "gelu_tanh", "init": "truncated"},
    "rotary": {"positions": "rotary"},
    "sinusoidal": {"positions": "sinusoidal"},
    "no-layer-norm": {"layer_norm": False},
    "conv": {"encoder": "conv", "channels": (3, 4)},
}


def make(kind: str = "attention-only", steps: int = 10) -> Config:
    return Config(
        name="x",
        steps=steps,
        batch_size=32,
        bank=BankConfig(
            n_classes=12, n_exemplars=4, n_holdout_classes=2, dim=36 if kind == "conv" else 6, within_class_std=0.1
        ),
        sequences=SequenceConfig(n_pairs=2),
        model=ModelConfig(**({"d_model": 16, "n_heads": 2} | KINDS[kind])),
        optim=OptimConfig(lr=3e-3),
    )
