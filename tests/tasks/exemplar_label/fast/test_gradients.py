"""The written-out gradients against autograd, and stacked models against each alone."""

import numpy as np
import pytest
import torch

from mechicl.config import BankConfig, Config, ModelConfig, SequenceConfig
from mechicl.engine.forward import stack
from mechicl.models.params import Params, init, pack
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.batch import Batch, stack_batches
from mechicl.tasks.exemplar_label.fast.gradients import loss_and_gradients
from mechicl.training.loop import training_batches
from mechicl.training.step import Trainer, loss

KINDS = {
    "attention-only": {},
    "mlp": {"mlp_ratio": 2, "mlp_layers": (0,)},
    "mlp-last": {"mlp_ratio": 2, "mlp_layers": (1,)},
    "mlp-tanh": {"mlp_ratio": 2, "activation": "gelu_tanh", "init": "truncated"},
    "one-layer": {"n_layers": 1},
    "three-layers": {"n_layers": 3, "mlp_ratio": 1},
    "no-layer-norm": {"layer_norm": False, "mlp_ratio": 2},
    "sinusoidal": {"positions": "sinusoidal"},
    "rotary": {"positions": "rotary", "position_time": 30.0},
    "rotary-one-layer": {"positions": "rotary", "n_layers": 1},
    "conv": {"encoder": "conv", "channels": (3, 4)},
}


def make(kind: str, n_labels: int | None = None) -> Config:
    dim = 36 if kind == "conv" else 6  # 6 x 6 pixels
    return Config(
        name="x",
        steps=10,
        batch_size=16,
        bank=BankConfig(n_classes=30, n_exemplars=4, n_holdout_classes=2, dim=dim, n_labels=n_labels),
        sequences=SequenceConfig(n_pairs=4, burstiness=1),
        model=ModelConfig(**({"d_model": 16, "n_heads": 2} | KINDS[kind])),
    )


def first(config: Config) -> Batch:
    return next(iter(training_batches(config, build_bank(config), 0, 1)))


def gradients(params: Params, batch: Batch, config: Config) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What is filled in, where nan and the label embedding's zeros were."""
    arrays = {name: p.numpy()[None] for name, p in params.items()}
    grads = {name: np.full_like(x, 0 if name == "embed.W_E" else np.nan) for name, x in arrays.items()}
    return loss_and_gradients(arrays, batch, config.model, grads), grads


@pytest.mark.parametrize("n_labels", [None, 10])
@pytest.mark.parametrize("kind", KINDS)
def test_every_gradient_equals_autograd(kind, n_labels):
    config = make(kind, n_labels)
    batch = first(config).to(torch.float64)
    params = {k: p.double() for k, p in pack(init(config)).items()}
    value, grads = gradients(params, batch, config)
    leaves = {k: p.clone().requires_grad_() for k, p in params.items()}
    want = loss(leaves, batch, config)
    want.backward()
    assert value.item() == pytest.approx(want.item(), rel=1e-12)
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        np.testing.assert_allclose(grads[name][0], leaf.grad.numpy(), rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stacked_model_trains_to_the_bits_it_has_alone(kind):
    configs = [make(kind).with_seed(seed) for seed in range(3)]
    batches = [list(training_batches(c, build_bank(c), 0, 5)) for c in configs]
    together = Trainer(configs[0], stack(pack(init(c)) for c in configs))
    for group in zip(*batches, strict=True):
        together.update(stack_batches(group))
    for i, config in enumerate(configs):
        alone = Trainer(config, pack(init(config)))
        for batch in batches[i]:
            alone.update(batch)
        one, other = alone.state(), together.state(i)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_only_shown_labels_get_a_gradient():
    config = make("attention-only")
    batch = first(config)
    _, grads = gradients(pack(init(config)), batch, config)
    touched = set(np.flatnonzero(np.abs(grads["embed.W_E"][0]).sum(1)).tolist())
    assert touched == set(batch.labels.flatten().tolist())
    assert len(touched) < config.bank.labels
