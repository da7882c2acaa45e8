"""The engine's forward against `ICLTransformer`: every hook point, every edit, every model kind;
and its own shortcuts (one query, stacked checkpoints, a condition axis) against doing without."""

import dataclasses

import pytest
import torch
from random_models import batch_of, hooked
from torch import Tensor

from mechicl.config import BankConfig, Config, ModelConfig, SequenceConfig
from mechicl.engine.edit import Edit
from mechicl.engine.forward import forward, label_logits, linear, logits, stack
from mechicl.engine.ops import LONG
from mechicl.models.hooked import ICLTransformer
from mechicl.models.params import Params, init, pack, shapes
from mechicl.models.switches import running
from mechicl.tasks.exemplar_label.batch import Batch

MODELS = {
    "attention-only": {},
    "mlp-everywhere": {"mlp_ratio": 2},
    "mlp-in-last-layer": {"mlp_ratio": 2, "mlp_layers": (1,)},
    "mlp-in-first-layer": {"mlp_ratio": 2, "mlp_layers": (0,)},
    "rotary": {"positions": "rotary", "position_time": 30.5},
    "sinusoidal": {"positions": "sinusoidal", "position_time": 30.0},
    "no-layer-norm": {"layer_norm": False, "mlp_ratio": 2},
    "three-layers": {"n_layers": 3, "mlp_ratio": 2, "mlp_layers": (0, 2), "n_heads": 4},
    "one-layer": {"n_layers": 1},
    "conv": {"encoder": "conv", "channels": (3, 4)},
}
TOLERANCE = {torch.float64: (1e-10, 1e-10), torch.float32: (1e-5, 1e-5)}


def make(kind: str, c: int = 3) -> Config:
    return Config(
        name="x",
        steps=1,
        bank=BankConfig(n_classes=11, n_exemplars=4, n_holdout_classes=2, dim=36 if kind == "conv" else 6),
        sequences=SequenceConfig(n_pairs=c),
        model=ModelConfig(**({"d_model": 16, "n_heads": 2} | MODELS[kind])),
    )


def some_weights(config: Config, seed: int = 0, dtype: torch.dtype = torch.float64) -> Params:
    """Far from init: every bias and LayerNorm too, and scores large enough to matter."""
    rng = torch.Generator().manual_seed(seed)
    return {
        name: w.to(dtype) + 0.3 * torch.randn(w.shape, generator=rng, dtype=dtype) for name, w in init(config).items()
    }


def some_batch(config: Config, n: int = 5, dtype: torch.dtype = torch.float64) -> Batch:
    return batch_of(config, dtype, n)


def close(got: Tensor, want: Tensor, note: str = "") -> None:
    rtol, atol = TOLERANCE[want.dtype]
    assert got.dtype == want.dtype
    torch.testing.assert_close(
        got,
        want,
        rtol=rtol,
        atol=atol * (1 + want[want.isfinite()].abs().max()).item(),
        msg=lambda m: f"{note}: {m}",
    )


def engine_hooks(model: ICLTransformer, batch: Batch) -> dict[str, Tensor]:
    """Everything HookedTransformer caches that is an activation of ours: not the LayerNorm
    scales, nor the unembedding, which the engine does outside `forward`."""
    _, cache = model.run_with_cache(batch)
    return {k: v for k, v in cache.items() if not k.endswith("hook_scale") and not k.startswith("unembed")}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["f64", "f32"])
@pytest.mark.parametrize("kind", MODELS)
def test_parity_at_every_hook_point(kind, dtype):
    config = make(kind)
    weights, batch = some_weights(config, dtype=dtype), some_batch(config, dtype=dtype)
    model = hooked(config, weights)
    want = engine_hooks(model, batch)
    out = forward(pack(weights), batch, config.model, capture=want, query_only=False)
    assert out.acts.keys() == want.keys()
    for layer in range(config.model.n_layers):
        for hook in (
            "attn.hook_q",
            "attn.hook_attn_scores",
            "attn.hook_pattern",
            "attn.hook_z",
            "hook_attn_out",
            "hook_resid_post",
        ):
            assert f"blocks.{layer}.{hook}" in want
        assert (f"blocks.{layer}.mlp.hook_post" in want) == config.model.has_mlp(layer)
    assert ("hook_encoder" in want) == (kind == "conv")
    for name in want:
        close(out.acts[name], want[name].expand_as(out.acts[name]), name)
    close(logits(pack(weights), out.final), model(batch)[:, -1], "logits")


@pytest.mark.parametrize("kind", ["mlp-in-last-layer", "rotary", "no-layer-norm", "three-layers"])
def test_what_each_head_reads_and_writes_is_as_in_a_hooked_transformer(kind):
    """Hooks that both run only where they are asked for; and an edit at each of them."""
    config = make(kind)
    weights, batch = some_weights(config), some_batch(config)
    model, params = hooked(config, weights), pack(weights)
    names = [f"blocks.{la}.{x}" for la in range(config.model.n_layers) for x in ("hook_q_input", "hook_k_input")]
    names += [f"blocks.{la}.{x}" for la in range(config.model.n_layers) for x in ("hook_v_input", "attn.hook_result")]
    names += [f"blocks.{la}.hook_mlp_in" for la in range(config.model.n_layers) if config.model.has_mlp(la)]
    with running(model, names):
        _, want = model.run_with_cache(batch)
        got = forward(params, batch, config.model, capture=names, query_only=False)
        query = forward(params, batch, config.model, capture=names)
        close(logits(params, query.final), model(batch)[:, -1])
        for name in names:
            close(got.acts[name], want[name], name)
            close(query.acts[name], want[name][:, -query.acts[name].shape[1] :], name)
            edit = Edit(0.5, torch.linspace(-1, 1, want[name].shape[-1], dtype=torch.float64))
            edited = model.run_with_hooks(batch, fwd_hooks=[(name, lambda x, hook, edit=edit: edit(x))])[:, -1]
            close(logits(params, forward(params, batch, config.model, edits={name: edit}).final), edited, name)
            assert (edited - model(batch)[:, -1]).abs().max() > 1e-6


@pytest.mark.parametrize("kind", MODELS)
def test_captures_can_be_asked_one_at_a_time(kind):
    config = make(kind)
    weights, batch = some_weights(config), some_batch(config)
    names = [*engine_hooks(hooked(config, weights), batch)]
    every = forward(pack(weights), batch, config.model, capture=names).acts
    for name in names:
        one = forward(pack(weights), batch, config.model, capture=[name]).acts
        assert list(one) == [name]
        torch.testing.assert_close(one[name], every[name], rtol=0, atol=1e-12)  # LayerNorm fuses where it can


@pytest.mark.parametrize("kind", MODELS)
def test_the_query_alone_is_the_last_position_of_everything(kind):
    config = make(kind)
    weights, batch = some_weights(config), some_batch(config)
    names = [*engine_hooks(hooked(config, weights), batch)]
    params = pack(weights)
    full = forward(params, batch, config.model, capture=names, query_only=False)
    query = forward(params, batch, config.model, capture=names)
    close(query.final, full.final)
    last = f"blocks.{config.model.n_layers - 1}."
    for name in names:
        want = full.acts[name]
        if query.acts[name].shape != want.shape:
            assert name.startswith((last, "ln_final"))
            axis = 2 if name.endswith(("pattern", "attn_scores")) else 1
            want = want.narrow(axis, -1 % want.shape[axis], 1)
        finite = want.isfinite()
        close(query.acts[name][finite], want[finite], name)
    narrowed = [n for n in names if query.acts[n].shape != full.acts[n].shape]
    assert f"{last}attn.hook_q" in narrowed
    assert f"{last}attn.hook_z" in narrowed
    assert f"{last}attn.hook_v" not in narrowed


@pytest.mark.parametrize("kind", MODELS)
def test_stacked_checkpoints_equal_one_by_one(kind):
    config = make(kind)
    listed, batch = [pack(some_weights(config, s)) for s in range(3)], some_batch(config)
    names = [*engine_hooks(hooked(config, some_weights(config)), batch)]
    together = stack(listed)
    out = forward(together, batch, config.model, capture=names)
    assert out.final.shape == (3, 1, 5, 16)
    for s, params in enumerate(listed):
        one = forward(params, batch, config.model, capture=names)
        close(out.final[s, 0], one.final)
        for name in names:
            close(out.acts[name][s, 0], one.acts[name], name)
        close(logits(together, out.final)[s, 0], logits(params, one.final))
        chosen = label_logits(together, out.final, batch.labels)
        close(chosen[s, 0], label_logits(params, one.final, batch.labels))


@pytest.mark.parametrize("kind", ["attention-only", "rotary"])
def test_label_logits_are_the_logits_gathered(kind):
    config = make(kind)
    batch = some_batch(config)
    for params in (pack(some_weights(config)), stack(pack(some_weights(config, s)) for s in range(2))):
        final = forward(params, batch, config.model).final
        z = logits(params, final)
        want = z.gather(-1, batch.labels.expand(*z.shape[:-1], -1))
        close(label_logits(params, final, batch.labels), want)
    wide = final.expand(2, 4, 5, 16) * torch.arange(1.0, 5, dtype=torch.float64).view(1, 4, 1, 1)
    z = logits(params, wide)
    close(label_logits(params, wide, batch.labels), z.gather(-1, batch.labels.expand(2, 4, 5, 3)))


# Edits: hook name in a layer -> the shape of its activation for b sequences, with full positions.
SHAPES = {
    "attn.hook_q": lambda b, t, h, k: (b, t, h, k),
    "attn.hook_k": lambda b, t, h, k: (b, t, h, k),
    "attn.hook_v": lambda b, t, h, k: (b, t, h, k),
    "attn.hook_z": lambda b, t, h, k: (b, t, h, k),
    "attn.hook_attn_scores": lambda b, t, h, k: (b, h, t, t),
    "attn.hook_pattern": lambda b, t, h, k: (b, h, t, t),
    "hook_attn_out": lambda b, t, h, k: (b, t, h * k),
    "hook_resid_pre": lambda b, t, h, k: (b, t, h * k),
}


def edit_pair(shape: tuple[int, ...], kind: str) -> Edit:
    """A zeroing, a fixing, and a mixture, of random parts of an activation."""
    rng = torch.Generator().manual_seed(len(shape) + shape[-1])
    mask = (torch.rand(shape, generator=rng) < 0.5).double()
    value = torch.randn(shape, generator=rng, dtype=torch.float64)
    if shape[-1] == shape[-2]:  # attention: keep what causality masks (for scores, -inf * 0 is nan)
        mask = mask.masked_fill(torch.ones(shape).triu(1).bool(), 1.0)
    return {
        "zero": Edit(keep=mask),
        "fix": Edit(keep=0.0, add=value),
        "part": Edit(keep=mask, add=(1 - mask) * value),
    }[kind]


def query_part(edit: Edit, axis: int) -> Edit:
    """The same edit for a layer that computes the query's position alone."""

    def last(x):
        return x if isinstance(x, float) else x.narrow(axis, x.shape[axis] - 1, 1)

    return Edit(last(edit.keep), last(edit.add))


@pytest.mark.parametrize("what", ["zero", "fix", "part"])
@pytest.mark.parametrize("hook", SHAPES)
@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("kind", ["attention-only", "mlp-everywhere"])
def test_an_edit_equals_run_with_hooks_doing_the_same(kind, layer, hook, what):
    config = make(kind)
    weights, batch = some_weights(config), some_batch(config)
    name = f"blocks.{layer}.{hook}"
    edit = edit_pair(SHAPES[hook](5, 7, 2, 8), what)
    model = hooked(config, weights)

    def by_hand(x, hook):
        return edit.add.clone() if what == "fix" else x * edit.keep + edit.add

    want = model.run_with_hooks(batch, fwd_hooks=[(name, by_hand)])[:, -1]
    params = pack(weights)
    out = forward(params, batch, config.model, edits={name: edit}, query_only=False)
    close(logits(params, out.final), want, name)
    intact = logits(params, forward(params, batch, config.model).final)
    assert (want - intact).abs().max() > 1e-3  # the edit does something
    one_query = layer == 1 and hook not in ("attn.hook_k", "attn.hook_v", "hook_resid_pre")
    axis = 2 if "scores" in hook or "pattern" in hook else 1
    narrow = query_part(edit, axis) if one_query else edit
    close(forward(params, batch, config.model, edits={name: narrow}).final, out.final, f"{name}, query only")


def test_several_edits_at_once():
    config = make("mlp-everywhere")
    weights, batch = some_weights(config), some_batch(config)
    names = ["blocks.0.attn.hook_z", "blocks.0.hook_mlp_out", "blocks.1.attn.hook_pattern", "hook_embed"]
    sizes = [(5, 7, 2, 8), (5, 7, 16), (5, 2, 7, 7), (5, 7, 16)]
    edits = {name: edit_pair(shape, "part") for name, shape in zip(names, sizes, strict=True)}
    want = hooked(config, weights).run_with_hooks(
        batch, fwd_hooks=[(name, lambda x, hook: edits[hook.name](x)) for name in names]
    )
    params = pack(weights)
    out = forward(params, batch, config.model, edits=edits, capture=names, query_only=False)
    close(logits(params, out.final), want[:, -1])
    close(out.acts["blocks.1.attn.hook_pattern"], edits[names[2]](out_pattern(params, batch, config, edits)))
    assert len(edits) == 4  # the caller's dict is not consumed


def out_pattern(params, batch, config, edits) -> Tensor:
    """The pattern of layer 1 before its own edit, after the others."""
    rest = {k: v for k, v in edits.items() if k != "blocks.1.attn.hook_pattern"}
    name = "blocks.1.attn.hook_pattern"
    return forward(params, batch, config.model, edits=rest, capture=[name], query_only=False).acts[name]


def test_zeroing_a_head_equals_weight_surgery():
    config = make("mlp-everywhere")
    weights, batch = some_weights(config), some_batch(config)
    for layer in (0, 1):
        for head in (0, 1):
            mask = torch.ones(2, 1, dtype=torch.float64)
            mask[head] = 0
            edits = {f"blocks.{layer}.attn.hook_z": Edit(keep=mask)}
            cut = {k: v.clone() for k, v in weights.items()}
            cut[f"blocks.{layer}.attn.W_O"][head] = 0
            want = forward(pack(cut), batch, config.model).final
            close(forward(pack(weights), batch, config.model, edits=edits).final, want)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("stacked", [1, 3])
def test_the_condition_axis_equals_one_condition_at_a_time(kind, stacked):
    config = make(kind)
    batch, (n, h) = some_batch(config), (config.model.n_layers, config.model.n_heads)
    params = stack(pack(some_weights(config, s)) for s in range(stacked))
    # Condition i zeroes head i of the first layer; and one, all of the last one's heads.
    first = torch.ones(h + 1, 1, 1, h, 1, dtype=torch.float64)
    first[range(h), :, :, range(h)] = 0
    last = torch.ones(h + 1, 1, 1, h, 1, dtype=torch.float64)
    last[h] = 0
    edits = {"blocks.0.attn.hook_z": Edit(keep=first)}
    if n > 1:
        edits[f"blocks.{n - 1}.attn.hook_z"] = Edit(keep=last)
    out = forward(params, batch, config.model, edits=edits)
    assert out.final.shape == (stacked, h + 1, 5, 16)
    for s in range(stacked):
        plain = {name: w[s] for name, w in params.items()}
        for c in range(h + 1):
            one = {name: Edit(keep=e.keep[c]) for name, e in edits.items()}
            close(out.final[s, c], forward(plain, batch, config.model, edits=one).final, f"condition {c}")
    assert (out.final[:, 0] - out.final[:, 1]).abs().max() > 1e-3


def test_conditions_of_patterns_and_of_added_values():
    config = make("attention-only")
    batch, params = some_batch(config), stack([pack(some_weights(config))])
    one = {name: w[0] for name, w in params.items()}
    values = torch.rand(3, 5, 2, 7, 7, dtype=torch.float64)
    name = "blocks.0.attn.hook_pattern"
    out = forward(params, batch, config.model, edits={name: Edit(0.0, values)}, capture=[name])
    assert out.acts[name].shape == (1, 3, 5, 2, 7, 7)
    for c in range(3):
        want = forward(one, batch, config.model, edits={name: Edit(0.0, values[c])}).final
        close(out.final[0, c], want)
        assert torch.equal(out.acts[name][0, c], values[c])


@pytest.mark.parametrize(
    "name",
    [
        "blocks.2.attn.hook_z",
        "blocks.0.mlp.hook_post",
        "blocks.0.hook_resid_mid",
        "hook_embde",
        "blocks.0.attn.hook_rot_q",
        "blocks.0.hook_attn_in",
        "",
    ],
)
def test_hooks_that_do_not_run_raise(name):
    config = make("attention-only")
    params, batch = pack(some_weights(config)), some_batch(config)
    with pytest.raises(KeyError, match=f"no hook named {name}"):
        forward(params, batch, config.model, edits={name: Edit(keep=0.0)})
    with pytest.raises(KeyError, match=f"no hook named {name}"):
        forward(params, batch, config.model, capture=[name, "hook_embed"])


def test_models_without_position_vectors_run_no_such_hook():
    config = make("rotary")
    with pytest.raises(KeyError, match="hook_pos_embed"):
        forward(pack(some_weights(config)), some_batch(config), config.model, capture=["hook_pos_embed"])


def test_attention_is_causal_and_patterns_sum_to_one():
    config = make("attention-only")
    name = "blocks.0.attn.hook_pattern"
    out = forward(pack(some_weights(config)), some_batch(config), config.model, capture=[name])
    pattern = out.acts[name]
    torch.testing.assert_close(pattern.sum(-1), torch.ones_like(pattern[..., 0]))
    assert (pattern.triu(1) == 0).all()
    assert (pattern.tril() > 0).sum() == pattern.shape[0] * 2 * 7 * 8 // 2


def test_one_sequence_does_not_see_another():
    config = make("mlp-everywhere")
    params, batch = pack(some_weights(config)), some_batch(config)
    together = forward(params, batch, config.model).final
    for i in range(len(batch)):
        close(together[i : i + 1], forward(params, batch[i : i + 1], config.model).final)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_pairs_weights_with_their_checkpoint(bias):
    x = torch.randn(3, 2, 5, 4, dtype=torch.float64)
    w, b = torch.randn(3, 4, 6, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    out = linear(x, w, b if bias else None)
    for s in range(3):
        close(out[s], x[s] @ w[s] + (b[s] if bias else 0))
        close(linear(x[s], w[s], b[s] if bias else None), out[s])


def test_forward_has_gradients_at_every_parameter():
    config = make("mlp-everywhere")
    params = {k: v.requires_grad_() for k, v in pack(some_weights(config)).items()}
    batch = some_batch(config)
    final = forward(params, batch, config.model).final
    logits(params, final).logsumexp(-1).sum().backward()
    assert {n for n, p in params.items() if p.grad is None or not p.grad.abs().sum() > 0} == set()
    assert len(params) == len(shapes(config)) - 2 * 2  # q, k, v in one


@pytest.mark.parametrize("kind", ["attention-only", "rotary", "sinusoidal"])
def test_long_sequences_take_another_way_to_the_same(kind):
    """Beyond ops.LONG positions torch's own operators serve, unless somebody asks for what is inside."""
    config = make(kind, c=LONG // 2 + 8)
    weights, batch = some_weights(config), some_batch(config, 3)
    z, inside = "blocks.0.attn.hook_z", "blocks.0.attn.hook_pattern"
    params = pack(weights)
    quick = forward(params, batch, config.model, capture=[z], query_only=False)
    steps = forward(params, batch, config.model, capture=[z, inside, "blocks.1.attn.hook_q"], query_only=False)
    close(quick.acts[z], steps.acts[z])
    close(quick.final, steps.final)
    others = some_weights(config, seed=1)
    both = forward(stack([params, pack(others)]), batch, config.model, capture=[z], query_only=False)
    close(both.acts[z][0, 0], quick.acts[z])
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    found = [
        torch.autograd.grad(
            forward(leaves, batch, config.model, capture=asked, query_only=False).final.square().sum(),
            list(leaves.values()),
            materialize_grads=True,
        )
        for asked in ([], [inside, "blocks.1.attn.hook_q"])
    ]
    for quickly, in_steps in zip(*found, strict=True):
        close(quickly, in_steps)


def test_longer_contexts_than_trained_on_need_positions_of_their_own():
    config = make("rotary", c=2)
    wide = dataclasses.replace(config, sequences=SequenceConfig(n_pairs=3))
    weights, batch = some_weights(config), some_batch(wide)
    close(
        logits(pack(weights), forward(pack(weights), batch, config.model).final),
        hooked(wide, weights)(batch)[:, -1],
    )
