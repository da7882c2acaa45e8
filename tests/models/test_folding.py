"""Folded models: the same function in the form that TransformerLens' helpers assume, and nothing loaded by halves.

Also `transformer_lens.patching` on our batches, and models that are moved or cast."""

import numpy as np
import pytest
import torch
from known_models import INDUCTION_HEAD, induction_model
from model_kinds import KINDS, make
from torch import Tensor
from transformer_lens import patching

from mechicl.config import Config
from mechicl.errors import ConfigError
from mechicl.evaluators import evaluation_set
from mechicl.interventions import AblateHeads
from mechicl.measures.attribution import attribute
from mechicl.models.hooked import ICLTransformer
from mechicl.models.params import Params, init, pack
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.batch import Batch

ABLATIONS = ("zero", "mean", "resample", "pattern_preserving", "value_preserving")


def trained(config: Config, seed: int = 0) -> Params:
    """Far from init: LayerNorms, biases and all else are no longer what folding could ignore."""
    rng = torch.Generator().manual_seed(seed)
    return {name: w + 0.2 * torch.randn(w.shape, generator=rng) for name, w in init(config).items()}


def batch_of(config: Config, n: int = 6) -> Batch:
    part = build_bank(config).train()
    return part.draw(config.sequences, n, np.random.default_rng(0), config.bank.labels)


def logprobs(model: ICLTransformer, batch: Batch) -> Tensor:
    with torch.no_grad():
        return model(batch).log_softmax(-1)


def difference(logits: Tensor, y: Tensor, other: Tensor) -> Tensor:
    rows = torch.arange(len(y))
    return logits[rows, -1, y] - logits[rows, -1, other]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_log_probabilities_at_every_position(kind):
    config = make(kind)
    weights, batch = trained(config), batch_of(config)
    plain, folded = (ICLTransformer(config, weights, fold_ln=fold) for fold in (False, True))
    torch.testing.assert_close(logprobs(folded, batch), logprobs(plain, batch), rtol=0, atol=1e-5)
    if config.model.layer_norm:
        assert not any(".ln" in name or name.startswith("ln") for name, _ in folded.named_parameters())
        assert max(folded.blocks[0].attn.b_Q.abs().max(), folded.blocks[1].attn.b_V.abs().max()) > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_decomposition_sums_to_the_logit_difference(kind):
    config = make(kind)
    model, batch = ICLTransformer(config, trained(config), fold_ln=True), batch_of(config)
    with torch.no_grad():
        logits, cache = model.run_with_cache(batch)
        y, other = batch.target, (batch.target + 5) % config.bank.labels
        wanted = difference(logits, y, other) - (model.b_U[y] - model.b_U[other])
        assert wanted.abs().max() > 0.1
        for stack in (
            cache.get_full_resid_decomposition(expand_neurons=False, pos_slice=-1),
            cache.get_full_resid_decomposition(pos_slice=-1),
            cache.decompose_resid(pos_slice=-1),
            cache.accumulated_resid(pos_slice=-1)[-1:],
        ):
            parts = cache.logit_attrs(stack, y, other, pos_slice=-1)
            torch.testing.assert_close(parts.sum(0), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_our_attribution_and_transformer_lens_agree_component_by_component(kind):
    """Ours works on the trained weights, theirs on the folded ones."""
    config = make(kind)
    weights, batch = trained(config), batch_of(config)
    model = ICLTransformer(config, weights, fold_ln=True)
    stacked = {name: p[None] for name, p in pack(weights).items()}
    with torch.no_grad():
        ours = {name: x[0] for name, x in attribute(stacked, batch, config.model, batch.target).items()}
        logits, cache = model.run_with_cache(batch)
        stack, names = cache.get_full_resid_decomposition(expand_neurons=False, pos_slice=-1, return_labels=True)
        theirs = dict(zip(names, cache.logit_attrs(stack, batch.target, pos_slice=-1), strict=True))
    wanted = {f"L{la}H{h}": theirs[f"L{la}H{h}"] for la in range(2) for h in range(2)}
    wanted |= {f"L{la} MLP": theirs[f"{la}_mlp_out"] for la in range(2) if config.model.has_mlp(la)}
    wanted["embed"] = theirs["embed"] + theirs.get("pos_embed", 0)
    wanted["bias"] = model.b_U[batch.target].detach()  # W_U and b_U are centred: relative to the mean logit
    assert ours.keys() == wanted.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], wanted[name], rtol=0, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    assert theirs["bias"].abs().max() < 1e-5  # heads keep their value biases
    torch.testing.assert_close(sum(ours.values()), logits[torch.arange(6), -1, batch.target], rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["attention-only", "mlp-last", "no-layer-norm"])
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_an_ablation_means_the_same_in_both(kind, ablation):
    config = make(kind)
    weights, batch, asked = trained(config), batch_of(config), AblateHeads(heads=((0, 1), (1, 0)), kind=ablation)
    got = []
    for fold in (False, True):
        model = ICLTransformer(config, weights, fold_ln=fold)
        with torch.no_grad():
            logits = model.run_with_hooks(batch, fwd_hooks=model.hooks_for(asked, batch))
        got.append(logits.log_softmax(-1))
    torch.testing.assert_close(*got, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_another_steps_weights_are_folded_too(kind):
    config = make(kind)
    model, other = ICLTransformer(config, trained(config), fold_ln=True), trained(config, seed=1)
    assert model.load_weights(other) is model
    fresh = ICLTransformer(config, other, fold_ln=True)
    assert all(torch.equal(p, dict(fresh.named_parameters())[name]) for name, p in model.named_parameters())
    with pytest.raises(ConfigError, match=r"series.weights\(step\)"):
        model.weights()


@pytest.mark.parametrize("kind", KINDS)
def test_after_process_weights_nothing_is_loaded_by_halves(kind):
    config = make(kind)
    model, batch, other = ICLTransformer(config, trained(config)), batch_of(config), trained(config, seed=1)
    before = logprobs(model, batch)
    model.process_weights_()
    torch.testing.assert_close(logprobs(model, batch), before, rtol=0, atol=1e-5)
    held = {name: p.clone() for name, p in model.named_parameters()}
    if not config.model.layer_norm:  # nothing is gone: what was centred is replaced
        model.load_weights(other)
        assert torch.equal(logprobs(model, batch), logprobs(ICLTransformer(config, other), batch))
        return
    with pytest.raises(ConfigError, match="fold_ln=True"):
        model.load_weights(other)
    assert all(torch.equal(p, held[name]) for name, p in model.named_parameters())
    with pytest.raises(ConfigError):
        model.weights()


def test_processing_that_takes_nothing_away_is_undone_by_loading():
    config = make("mlp")
    model, other = ICLTransformer(config, trained(config)), trained(config, seed=1)
    model.process_weights_(fold_ln=False, refactor_factored_attn_matrices=True)
    model.load_weights(other)
    fresh = dict(ICLTransformer(config, other).named_parameters())
    assert all(torch.equal(p, fresh[name]) for name, p in model.named_parameters())


def test_a_series_gives_folded_models(tiny_series):
    plain, folded = tiny_series.model(60), tiny_series.model(60, fold_ln=True)
    batch = tiny_series.evaluation_set("icl")
    torch.testing.assert_close(logprobs(folded, batch), logprobs(plain, batch), rtol=0, atol=1e-5)
    folded.load_weights(tiny_series.weights(0))
    torch.testing.assert_close(logprobs(folded, batch), logprobs(tiny_series.model(0), batch), rtol=0, atol=1e-5)


# Batches as inputs of TransformerLens' helpers.


def test_a_batch_answers_as_a_tensor_of_tokens():
    batch = batch_of(make())
    ids = batch.ids
    assert batch.shape == ids.shape == (6, 5)
    assert (batch.ndim, batch.device) == (2, torch.device("cpu"))
    assert torch.equal(ids[:, ::2], batch.classes)
    assert torch.equal(ids[:, 1::2], batch.labels)
    assert torch.equal(batch[:, -1], batch.classes[:, -1])
    assert batch[2, 1] == batch.labels[2, 0]
    assert len(batch[2]) == len(batch[np.int64(-1)]) == 1
    assert torch.equal(batch[-1].exemplars[0], batch.exemplars[5])
    assert isinstance(batch[1:3], Batch)


@pytest.mark.parametrize("kind", ["attention-only", "mlp", "rotary"])
def test_patching_a_batch_with_itself_changes_nothing(kind):
    config = make(kind)
    model, batch = ICLTransformer(config, trained(config)), batch_of(config)
    with torch.no_grad():
        logits, cache = model.run_with_cache(batch)
        metric = lambda z: z[torch.arange(6), -1, batch.target].mean()  # noqa: E731
        wanted = metric(logits)
        for helper, shape in (
            (patching.get_act_patch_resid_pre, (2, 5)),
            (patching.get_act_patch_attn_out, (2, 5)),
            (patching.get_act_patch_attn_head_out_all_pos, (2, 2)),
            (patching.get_act_patch_attn_head_out_by_pos, (2, 5, 2)),
            (patching.get_act_patch_attn_head_pattern_all_pos, (2, 2)),
        ):
            got = helper(model, batch, cache, metric)
            assert got.shape == shape
            torch.testing.assert_close(got, wanted.expand(shape), rtol=0, atol=1e-5)


def test_patching_finds_the_induction_head():
    """The circuit by hand (known_models.py), clean: ICL's sequences; corrupted: labels exchanged, so that the other
    label is right. At the query, the induction head's output alone brings the clean answer back."""
    config, weights = induction_model()
    model = ICLTransformer(config, weights)
    clean = evaluation_set("icl", config, build_bank(config), 20)
    swapped = Batch(**(vars(clean) | {"labels": clean.labels.flip(1)}))
    rows = torch.arange(20)
    metric = lambda z: (z[rows, -1].argmax(-1) == clean.target).float().mean()  # noqa: E731
    with torch.no_grad():
        logits, cache = model.run_with_cache(clean)
        assert metric(logits) == 1
        assert metric(model(swapped)) == 0
        found = patching.get_act_patch_attn_head_out_all_pos(model, swapped, cache, metric)
        streams = patching.get_act_patch_resid_pre(model, swapped, cache, metric)
    wanted = torch.zeros(2, 4)
    wanted[INDUCTION_HEAD] = 1
    assert torch.equal(found, wanted)
    assert (streams[:, ::2] == 0).all()  # exemplars are the same in both; the labels differ


# Moved and cast models.


@pytest.mark.parametrize("kind", ["attention-only", "mlp-last", "rotary", "conv"])
@pytest.mark.parametrize("cast", [lambda m: m.to(torch.float64), lambda m: m.double()], ids=["to", "double"])
def test_a_model_in_double_precision(kind, cast, capsys):
    config = make(kind)
    model, batch = ICLTransformer(config, trained(config)), batch_of(config)
    asked = AblateHeads(heads=((0, 1),), kind="mean")
    before = [model.hooks_for(AblateHeads(heads=((0, 1),), kind=kind), batch) for kind in ABLATIONS]
    single = model.run_with_hooks(batch, fwd_hooks=model.hooks_for(asked, batch)).detach()
    cast(model)
    assert model(batch).dtype == torch.float64
    for hooks in (*before, model.hooks_for(asked, batch)):  # made before it was cast, and after
        assert model.run_with_hooks(batch, fwd_hooks=hooks).dtype == torch.float64
    double = model.run_with_hooks(batch, fwd_hooks=model.hooks_for(asked, batch)).detach()
    torch.testing.assert_close(double.float(), single, rtol=1e-4, atol=1e-4)
    assert (double.float() != single).any()  # it is indeed another precision


def test_hooks_keep_a_models_dtype():
    config = make()
    model, batch = ICLTransformer(config, trained(config)).to(torch.bfloat16), batch_of(config)
    for kind in ABLATIONS:
        hooks = model.hooks_for(AblateHeads(heads=((0, 1), (1, 0)), kind=kind), batch)
        assert model.run_with_hooks(batch, fwd_hooks=hooks).dtype == torch.bfloat16


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_everything_follows_a_model_to_another_device(kind, fold):
    """On 'meta' a tensor left on the CPU is an error, as on a GPU, and there is one everywhere."""
    config = make(kind)
    model, batch = ICLTransformer(config, trained(config), fold_ln=fold), batch_of(config)
    early = [model.hooks_for(AblateHeads(heads=((0, 1), (1, 0)), kind=kind), batch) for kind in ABLATIONS]
    model.to("meta", print_details=False)
    for given in (batch, batch.to("meta")):
        assert model(given).device.type == "meta"
        assert model(given, return_type="loss").device.type == "meta"
        late = [model.hooks_for(AblateHeads(heads=((0, 1), (1, 0)), kind=kind), given) for kind in ABLATIONS]
        for hooks in (*early, *late):
            assert model.run_with_hooks(given, fwd_hooks=hooks).device.type == "meta"
    assert batch.to("meta").device.type == "meta"
    assert "meta" in repr(model)
    assert "meta" in repr(batch.to("meta"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_gpu_the_answers_are_the_same(kind):
    config = make(kind)
    model, batch = ICLTransformer(config, trained(config)), batch_of(config)
    asked = [AblateHeads(heads=((0, 1), (1, 0)), kind=kind) for kind in ABLATIONS]
    wanted = [model.run_with_hooks(batch, fwd_hooks=model.hooks_for(a, batch)).detach() for a in asked]
    model.to("cuda", print_details=False)
    for each, want in zip(asked, wanted, strict=True):
        got = model.run_with_hooks(batch, fwd_hooks=model.hooks_for(each, batch)).detach()
        assert got.device.type == "cuda"
        torch.testing.assert_close(got.cpu(), want, rtol=1e-3, atol=1e-3)
