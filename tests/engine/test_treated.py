"""Treated heads: the written-out gradient against autograd and TransformerLens hooks; patterns by hand."""

import numpy as np
import pytest
import torch

from mechicl.config import BankConfig, Config, ModelConfig, SequenceConfig, Treatment
from mechicl.data.banks import Batch, build_bank
from mechicl.engine.forward import forward, logits
from mechicl.engine.gradients import loss_and_gradients
from mechicl.engine.params import Params, init, pack, unpack
from mechicl.engine.step import Trainer, loss_and_autograd
from mechicl.engine.treated import edits, held_pattern, layer_treatments
from mechicl.model import ICLTransformer
from mechicl.train import training_batches

TREATED = {
    "ablate first": ({"kind": "ablate", "heads": [(0, 1)]},),
    "ablate last": ({"kind": "ablate", "heads": [(1, 0), (1, 1)]},),
    "ablate a layer": ({"kind": "ablate", "heads": [(0, 0), (0, 1)]},),
    "uniform": ({"kind": "clamp", "heads": [(0, 0), (1, 1)], "pattern": "uniform"},),
    "previous": ({"kind": "clamp", "heads": [(0, 0), (1, 0)], "pattern": "previous"},),
    "self": ({"kind": "clamp", "heads": [(0, 0), (0, 1)], "pattern": "self"},),
    "forbid": ({"kind": "clamp", "heads": [(0, 0), (0, 1)], "pattern": "forbid_previous"},),
    "forbid one": ({"kind": "clamp", "heads": [(0, 1)], "pattern": "forbid_previous"},),
    "all at once": (
        {"kind": "clamp", "heads": [(0, 0)], "pattern": "forbid_previous"},
        {"kind": "clamp", "heads": [(0, 1), (1, 0)], "pattern": "uniform"},
        {"kind": "ablate", "heads": [(0, 1), (1, 1)]},
    ),
}


def make(name: str, **model) -> Config:
    return Config(
        name="x",
        steps=10,
        batch_size=16,
        bank=BankConfig(n_classes=30, n_exemplars=4, n_holdout_classes=2, dim=6),
        sequences=SequenceConfig(n_pairs=4, burstiness=1),
        model=ModelConfig(**({"d_model": 16, "n_heads": 2, "mlp_ratio": 1} | model)),
        treatments=tuple(Treatment(**{**t, "heads": tuple(t["heads"])}) for t in TREATED[name]),
    )


def case(config: Config, scale: float = 3.0) -> tuple[Params, Batch, dict]:
    batch = next(iter(training_batches(config, build_bank(config), 0, 1))).to(torch.float64)
    treated = layer_treatments(config.treatments, config.model, config.sequences.n_tokens)
    # Larger than at the start, so that attention is far from uniform.
    return {k: scale * p.double() for k, p in pack(init(config)).items()}, batch, treated


@pytest.mark.parametrize("model", [{}, {"layer_norm": False}, {"n_layers": 3}], ids=str)
@pytest.mark.parametrize("name", TREATED)
def test_every_gradient_equals_autograd(name, model):
    config = make(name, **model)
    params, batch, treated = case(config)
    arrays = {key: p.numpy()[None] for key, p in params.items()}
    ours, theirs, intact = ({key: np.zeros_like(p) for key, p in arrays.items()} for _ in range(3))
    value = loss_and_gradients(arrays, batch, config.model, ours, treated)
    want = loss_and_autograd(arrays, batch, config.model, theirs, treated)
    untreated = loss_and_gradients(arrays, batch, config.model, intact)
    assert value == pytest.approx(want, rel=1e-12)
    assert abs(value - untreated) > 1e-6  # it does something
    for key, grad in ours.items():
        np.testing.assert_allclose(grad, theirs[key], rtol=1e-9, atol=1e-12, err_msg=key)


def oracle(config: Config) -> list:
    """The treatments as TransformerLens hooks, written from their definitions and not from our edits."""

    def zero(z, hook, head):
        z = z.clone()
        z[:, :, head] = 0
        return z

    def hold(pattern, hook, head, name):
        pattern, t = pattern.clone(), pattern.shape[-1]
        pattern[:, head] = 0
        for i in range(t):
            if name == "uniform":
                pattern[:, head, i, : i + 1] = 1 / (i + 1)
            else:
                pattern[:, head, i, i if name == "self" else max(0, i - 1)] = 1
        return pattern

    def renormalise(pattern, hook, head):
        pattern = pattern.clone()
        for i in range(1, pattern.shape[-1], 2):  # labels
            pattern[:, head, i, i - 1] = 0
            pattern[:, head, i] /= pattern[:, head, i].sum(-1, keepdim=True)
        return pattern

    hooks = []
    for t in config.treatments:
        for layer, head in t.heads:
            name = f"blocks.{layer}.attn.hook_{'z' if t.kind == 'ablate' else 'pattern'}"
            if t.kind == "ablate":
                hooks.append((name, lambda z, hook, h=head: zero(z, hook, h)))
            elif t.pattern == "forbid_previous":
                hooks.append((name, lambda p, hook, h=head: renormalise(p, hook, h)))
            else:
                hooks.append((name, lambda p, hook, h=head, n=t.pattern: hold(p, hook, h, n)))
    return hooks


@pytest.mark.parametrize("name", TREATED)
def test_hooked_transformer_with_the_same_done_to_it_agrees(name):
    config = make(name)
    params, batch, treated = case(config, 1.0)  # renormalising a saturated pattern would lose its digits
    batch, params = batch.to(torch.float32), {k: p.float() for k, p in params.items()}
    model = ICLTransformer(config, unpack(params, config.model.n_heads))
    with torch.no_grad():
        hooked = model.run_with_hooks(batch, fwd_hooks=oracle(config))
        ours = logits(params, forward(params, batch, config.model, edits=edits(treated, config.model)).final)
    hooked = hooked[:, -1] if hooked.dim() == 3 else hooked
    torch.testing.assert_close(ours, hooked, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("uniform", [[1, 0, 0], [1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3]]),
        ("previous", [[1, 0, 0], [1, 0, 0], [0, 1, 0]]),
        ("self", [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    ],
)
def test_held_patterns(name, want):
    torch.testing.assert_close(held_pattern(name, 3), torch.tensor(want, dtype=torch.float32))


def test_a_rotary_model_is_treated_too():
    config = make("all at once", positions="rotary")
    bank = build_bank(config)
    one, other = Trainer(config, pack(init(config))), Trainer(make("self", positions="rotary"), pack(init(config)))
    for batch in training_batches(config, bank, 0, 3):
        assert torch.isfinite(one.update(batch))
        other.update(batch)
    assert not torch.equal(one.params["unembed.W_U"], other.params["unembed.W_U"])


def test_an_ablated_head_gets_no_gradient():
    """Its W_O is moved by nothing (there is no decay), and neither is anything before it."""
    config = make("ablate first")
    start = pack(init(config))
    trainer = Trainer(config, start)
    for batch in training_batches(config, build_bank(config), 0, 5):
        trainer.update(batch)
    w, was = (p["blocks.0.attn.W_O"].view(2, 8, 16) for p in (trainer.params, start))
    assert torch.equal(w[1], was[1])
    assert not torch.equal(w[0], was[0])
    qkv, before = (p["blocks.0.attn.W_QKV"].view(16, 3, 2, 8) for p in (trainer.params, start))
    assert torch.equal(qkv[:, :, 1], before[:, :, 1])
    assert not torch.equal(qkv[:, :, 0], before[:, :, 0])
