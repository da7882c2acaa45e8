"""`ICLTransformer` is a real HookedTransformer, and trains as the engine does."""

import numpy as np
import pytest
import torch
from model_kinds import KINDS, make
from transformer_lens import ActivationCache, FactoredMatrix, HookedTransformer

from mechicl.config import Config
from mechicl.errors import ConfigError
from mechicl.models.hooked import ICLTransformer
from mechicl.models.params import init, pack, shapes, sinusoidal_positions, unpack
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.batch import Batch
from mechicl.training.loop import training_batches
from mechicl.training.step import Trainer, loss


@pytest.fixture
def config() -> Config:
    return make()


@pytest.fixture
def model(config) -> ICLTransformer:
    return ICLTransformer(config)


@pytest.fixture
def batch(config) -> Batch:
    return build_bank(config).train().draw(config.sequences, 6, np.random.default_rng(0), 12)


def test_it_is_a_hooked_transformer(model, batch):
    assert isinstance(model, HookedTransformer)
    logits = model(batch)
    assert logits.shape == (6, 5, 12)
    assert model.cfg.n_layers == 2
    assert model.cfg.n_ctx == 5


def test_run_with_cache(model, batch):
    logits, cache = model.run_with_cache(batch)
    assert isinstance(cache, ActivationCache)
    assert torch.equal(logits, model(batch))
    pattern = cache["pattern", 1]
    assert pattern.shape == (6, 2, 5, 5)
    torch.testing.assert_close(pattern.sum(-1), torch.ones(6, 2, 5))
    assert (pattern.triu(1) == 0).all()
    stack = cache.decompose_resid(layer=-1, mode="attn")
    torch.testing.assert_close(stack.sum(0), cache["resid_post", 1])
    only, kept = model.run_with_cache(batch, names_filter="blocks.0.attn.hook_z")
    assert list(kept) == ["blocks.0.attn.hook_z"]
    assert torch.equal(only, logits)


@pytest.mark.parametrize(
    "name",
    ["hook_embed", "hook_pos_embed"]
    + [f"blocks.{i}.attn.hook_{x}" for i in (0, 1) for x in ("q", "k", "v", "attn_scores", "pattern", "z")],
)
def test_every_edit_changes_the_answer(model, batch, name):
    before = model(batch)[:, -1]
    after = model.run_with_hooks(batch, fwd_hooks=[(name, lambda x, hook: x.roll(1, 1) * 1.7)])[:, -1]
    assert (after - before).abs().max() > 1e-6
    assert torch.equal(model(batch)[:, -1], before)  # and it is gone after


def test_an_edit_of_the_encoders_output_changes_the_answer():
    config = make("conv")
    model = ICLTransformer(config)
    batch = build_bank(config).train().draw(config.sequences, 6, np.random.default_rng(0), 12)
    before, cache = model.run_with_cache(batch)
    assert cache["hook_encoder"].shape == (6, 3, 4 * 2 * 2)  # 6 x 6 pixels, 3 x 3, 2 x 2
    after = model.run_with_hooks(batch, fwd_hooks=[("hook_encoder", lambda x, hook: x.roll(1, 1))])
    assert (after - before)[:, -1].abs().max() > 1e-6
    assert "hook_encoder" not in ICLTransformer(make()).hook_dict


def test_hooks_are_removed_when_a_hook_raises(model, batch):
    def fail(x, hook):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.run_with_hooks(batch, fwd_hooks=[("hook_embed", fail)])
    assert torch.equal(model(batch), model(batch))  # `_no_leaked_hooks` counts what is left


@pytest.mark.parametrize("kind", ["mlp-last", "conv"])
def test_gradients_reach_every_trained_parameter_and_no_other(kind):
    config = make(kind)
    model = ICLTransformer(config)
    batch = build_bank(config).train().draw(config.sequences, 6, np.random.default_rng(0), 12)
    model(batch, return_type="loss").backward()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained == set(shapes(config))
    for name, p in model.named_parameters():
        assert (p.grad is not None and p.grad.abs().sum() > 0) == (name in trained), name


def test_factored_matrices(model):
    weights = model.weights()
    assert isinstance(model.OV, FactoredMatrix)
    want = weights["blocks.1.attn.W_V"][0] @ weights["blocks.1.attn.W_O"][0]
    torch.testing.assert_close(model.OV.AB[1, 0], want)


@pytest.mark.parametrize("kind", KINDS)
def test_return_type_loss(kind):
    config = make(kind)
    model = ICLTransformer(config)
    batch = build_bank(config).train().draw(config.sequences, 6, np.random.default_rng(0), 12)
    want = -model(batch)[:, -1].log_softmax(-1)[range(6), batch.target]
    value = model(batch, return_type="loss")
    assert value.item() == pytest.approx(want.mean().item(), rel=1e-6)
    assert value.item() == pytest.approx(loss(pack(init(config)), batch, config).item(), rel=1e-5)
    torch.testing.assert_close(model(batch, return_type="loss", loss_per_token=True), want)
    logits, both = model(batch, return_type="both")
    assert torch.equal(logits, model(batch))
    assert torch.equal(both, value)
    assert model(batch, return_type=None) is None


@pytest.mark.parametrize("kind", KINDS)
def test_weights_go_in_and_come_out_bit_for_bit(kind):
    config = make(kind)
    other = init(config.with_seed(3))
    model = ICLTransformer(config)
    fresh = init(config)
    assert all(torch.equal(w, fresh[name]) for name, w in model.weights().items())
    assert model.load_weights(other) is model
    got = model.weights()
    assert got.keys() == other.keys() == shapes(config).keys()
    assert all(torch.equal(got[name], w) for name, w in other.items())
    got["embed.W_E"].zero_()  # copies
    assert model.weights()["embed.W_E"].abs().sum() > 0
    built = ICLTransformer(config, other).weights()
    assert all(torch.equal(built[name], w) for name, w in other.items())


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_never_trained_is_constant(kind):
    config = make(kind)
    model = ICLTransformer(config)
    for name, p in model.named_parameters():
        if name in shapes(config):
            continue
        assert not p.requires_grad
        if name == "pos_embed.W_pos" and kind == "sinusoidal":
            assert torch.equal(p, sinusoidal_positions(5, 16, config.model.position_time))
        else:
            assert name == "pos_embed.W_pos" or ".attn.b_" in name, name
            assert (p == 0).all(), name
    before = {name: p.clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        for p in model.parameters():
            p += 1
    model.load_weights(init(config))
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: w.pop("blocks.1.attn.W_K"), "parameter blocks.1.attn.W_K has shape None"),
        (lambda w: w.update(stray=torch.zeros(3)), "parameter stray has shape (3,)"),
        (lambda w: w.update({"unembed.b_U": torch.zeros(13)}), "parameter unembed.b_U has shape (13,)"),
    ],
)
def test_load_weights_names_what_is_wrong_and_changes_nothing(model, config, damage, message):
    before = model.weights()
    weights = init(config.with_seed(3))
    damage(weights)
    with pytest.raises(ConfigError) as error:
        model.load_weights(weights)
    assert message in str(error.value)
    assert all(torch.equal(w, before[name]) for name, w in model.weights().items())


def test_it_reads_batches_and_says_so(model):
    with pytest.raises(TypeError, match="reads a mechicl Batch of the task 'exemplar_label', not Tensor"):
        model(torch.zeros(2, 5, dtype=torch.long))


def test_building_leaves_the_global_generator_alone(config):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    ICLTransformer(config)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["attention-only", "mlp-last", "rotary", "conv"])
def test_200_steps_of_the_engine_equal_autograd_on_the_hooked_transformer(kind):
    config = make(kind, steps=200)
    trainer, model = Trainer(config, pack(init(config))), ICLTransformer(config)
    o = config.optim
    adam = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=o.lr, betas=o.betas)
    ours, theirs = [], []
    for batch in training_batches(config, build_bank(config), 0, 200):
        ours.append(trainer.update(batch).item())
        adam.zero_grad()
        value = model(batch, return_type="loss")
        value.backward()
        adam.step()
        theirs.append(value.item())
    # float32 sums in another order; Adam lets the two drift apart slowly.
    np.testing.assert_allclose(ours[:20], theirs[:20], rtol=1e-4)
    np.testing.assert_allclose(ours, theirs, rtol=0.02)
    assert np.mean(ours[-20:]) < 0.7 * np.mean(ours[:20])
    trained = unpack({k: v.detach() for k, v in trainer.params.items()}, 2)
    for name, w in model.weights().items():
        torch.testing.assert_close(trained[name], w, rtol=0.05, atol=5e-3, msg=lambda m, n=name: f"{n}: {m}")
