"""Treated heads: the written-out gradient against autograd and TransformerLens hooks; patterns by hand."""

import numpy as np
import pytest
import torch

from mechicl.attention_patterns import PATTERNS
from mechicl.config import BankConfig, Config, ModelConfig, SequenceConfig, TrainingIntervention
from mechicl.engine.forward import forward, logits
from mechicl.engine.held import edits, held_layers
from mechicl.models.hooked import ICLTransformer
from mechicl.models.params import Params, init, pack, unpack
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.batch import Batch, stack_batches
from mechicl.tasks.exemplar_label.fast.gradients import loss_and_gradients
from mechicl.training.loop import training_batches
from mechicl.training.step import Trainer, loss_and_autograd

TREATED = {
    "ablate first": ({"kind": "ablate", "heads": [(0, 1)]},),
    "ablate last": ({"kind": "ablate", "heads": [(1, 0), (1, 1)]},),
    "ablate a layer": ({"kind": "ablate", "heads": [(0, 0), (0, 1)]},),
    "uniform": ({"kind": "clamp", "heads": [(0, 0), (1, 1)], "pattern": "uniform"},),
    "previous": ({"kind": "clamp", "heads": [(0, 0), (1, 0)], "pattern": "previous"},),
    "self": ({"kind": "clamp", "heads": [(0, 0), (0, 1)], "pattern": "self"},),
    "previous in part": ({"kind": "clamp", "heads": [(0, 0), (1, 0)], "pattern": "previous", "strength": 0.3},),
    "forbid": ({"kind": "clamp", "heads": [(0, 0), (0, 1)], "pattern": "forbid_previous"},),
    "forbid one": ({"kind": "clamp", "heads": [(0, 1)], "pattern": "forbid_previous"},),
    "match": ({"kind": "clamp_match", "heads": [(1, 1)]},),
    "match in part": ({"kind": "clamp_match", "heads": [(1, 0), (1, 1)], "strength": 0.3},),
    "match beside others": (
        {"kind": "clamp_match", "heads": [(1, 1)], "strength": 0.8},
        {"kind": "clamp", "heads": [(0, 0), (1, 0)], "pattern": "forbid_previous"},
        {"kind": "ablate", "heads": [(0, 1)]},
    ),
    "all at once": (
        {"kind": "clamp", "heads": [(0, 0)], "pattern": "forbid_previous"},
        {"kind": "clamp", "heads": [(0, 1), (1, 0)], "pattern": "uniform"},
        {"kind": "ablate", "heads": [(0, 1), (1, 1)]},
    ),
}


def make(name: str, **model) -> Config:
    last = model.get("n_layers", 2) - 1
    return Config(
        name="x",
        steps=10,
        batch_size=16,
        bank=BankConfig(n_classes=30, n_exemplars=4, n_holdout_classes=2, dim=6),
        sequences=SequenceConfig(n_pairs=4, burstiness=1),
        model=ModelConfig(**({"d_model": 16, "n_heads": 2, "mlp_ratio": 1} | model)),
        training_interventions=tuple(TrainingIntervention(**{**t, "heads": _heads(t, last)}) for t in TREATED[name]),
    )


def _heads(given: dict, last: int) -> tuple[tuple[int, int], ...]:
    """Its heads; of a match, in the last layer, however many there are."""
    match = given["kind"] == "clamp_match"
    return tuple((last if match else layer, head) for layer, head in given["heads"])


def case(config: Config, scale: float = 3.0) -> tuple[Params, Batch, dict]:
    batch = next(iter(training_batches(config, build_bank(config), 0, 1))).to(torch.float64)
    treated = held_layers(config.training_interventions, config.model, config.sequences.n_tokens)
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


LAYER = {
    "layer": ({"kind": "clamp_layer", "heads": []},),
    "layer and match": ({"kind": "clamp_layer", "heads": []}, {"kind": "clamp_match", "heads": [(1, 0)]}),
    "layer, one head": ({"kind": "clamp_layer", "heads": []}, {"kind": "ablate", "heads": [(1, 0)]}),
}


@pytest.mark.parametrize("model", [{}, {"positions": "rotary"}, {"layer_norm": False}], ids=str)
@pytest.mark.parametrize("name", LAYER)
def test_gradients_under_a_clamped_layer_equal_autograd(monkeypatch, name, model):
    monkeypatch.setitem(TREATED, name, LAYER[name])
    test_every_gradient_equals_autograd(name, {"mlp_layers": (1,), **model})


COPY = {
    "copy": ({"kind": "clamp_copy", "heads": [(1, 1)]},),
    "layer and copy": ({"kind": "clamp_layer", "heads": []}, {"kind": "clamp_copy", "heads": [(1, 0)]}),
    "copy, treated before": ({"kind": "clamp_copy", "heads": [(1, 1)]}, {"kind": "ablate", "heads": [(0, 1)]}),
}


@pytest.mark.parametrize("model", [{}, {"positions": "rotary"}, {"layer_norm": False}], ids=str)
@pytest.mark.parametrize("name", COPY)
def test_gradients_of_a_copied_answer_equal_autograd(monkeypatch, name, model):
    """Also where the context does not show the answer, or shows it twice."""
    monkeypatch.setitem(TREATED, name, COPY[name])
    config = make(name, mlp_layers=(1,), **model)
    params, batch, treated = case(config, 1.0)  # saturated softmaxes cancel to nothing but rounding
    batch.target[3] = 29
    batch.labels[5] = batch.target[5]
    batch.labels[6, :2] = batch.target[6]
    arrays = {key: p.numpy()[None] for key, p in params.items()}
    ours, theirs = ({key: np.full_like(p, fill) for key, p in arrays.items()} for fill in (7.0, 0.0))
    ours["embed.W_E"][:] = 0
    value = loss_and_gradients(arrays, batch, config.model, ours, treated)
    assert value == pytest.approx(loss_and_autograd(arrays, batch, config.model, theirs, treated), rel=1e-12)
    assert value[0] > 1e9 / 17  # the one that cannot be answered
    for key, grad in ours.items():
        np.testing.assert_allclose(grad, theirs[key], rtol=1e-9, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("n", [16, 2, 1], ids="{} sequences".format)  # more than models, as many, fewer
def test_stacked_models_each_have_their_own_rows(n):
    """Two models under a match clamp, on batches of their own, in one pass and one by one."""
    config = make("match in part")
    params, batch, treated = case(config)
    other = next(iter(training_batches(config.with_seed(1), build_bank(config), 0, 1))).to(torch.float64)
    batch, other = batch[:n], other[:n]
    assert len(batch) == len(other) == n
    both = {key: np.stack([p.numpy(), 1.1 * p.numpy()]) for key, p in params.items()}
    grads = {key: np.zeros_like(p) for key, p in both.items()}
    values = loss_and_gradients(both, stack_batches([batch, other]), config.model, grads, treated)
    for i, alone in enumerate((batch, other)):
        own = {key: p[i : i + 1] for key, p in both.items()}
        got = {key: np.zeros_like(p) for key, p in own.items()}
        assert loss_and_gradients(own, alone, config.model, got, treated)[0] == values[i]
        for key, grad in got.items():
            np.testing.assert_array_equal(grad[0], grads[key][i], err_msg=key)


def test_a_copied_answer_trains_what_the_head_attends_with_and_nothing_else(monkeypatch):
    monkeypatch.setitem(TREATED, "copy", ({"kind": "clamp_copy", "heads": [(1, 1)]},))
    config = make("copy", positions="rotary", mlp_ratio=0)
    start = pack(init(config))
    trainer = Trainer(config, start)
    losses = [trainer.update(batch).item() for batch in training_batches(config, build_bank(config), 0, 8)]
    assert losses[0] == pytest.approx(np.log(4), abs=0.3)  # four labels in the context, and no other
    moved = {name for name, p in trainer.params.items() if not torch.equal(p, start[name])}
    unused = {"unembed.W_U", "unembed.b_U", "blocks.1.attn.W_O", "ln_final.w", "ln_final.b"}
    assert moved == set(start) - unused
    qkv, before = (p["blocks.1.attn.W_QKV"].view(16, 3, 2, 8) for p in (trainer.params, start))
    same = [[torch.equal(qkv[:, x, h], before[:, x, h]) for h in (0, 1)] for x in range(3)]
    assert same == [[True, False], [True, False], [True, True]]  # its queries and keys


def oracle(config: Config, batch: Batch) -> list:
    """The training interventions as TransformerLens hooks, written from their definitions and not from our edits."""

    def zero(z, hook, head):
        z = z.clone()
        z[:, :, head] = 0
        return z

    def hold(pattern, hook, head, name, share):
        pattern, t = pattern.clone(), pattern.shape[-1]
        pattern[:, head] *= 1 - share
        for i in range(t):
            if name == "uniform":
                pattern[:, head, i, : i + 1] += share / (i + 1)
            else:
                pattern[:, head, i, i if name == "self" else max(0, i - 1)] += share
        return pattern

    def match(pattern, hook, head, strength):
        pattern = pattern.clone()
        right = batch.labels == batch.target[:, None]
        for i in range(len(batch)):
            if right[i].any():
                row = torch.where(right[i], strength / right[i].sum(), (1 - strength) / (~right[i]).sum())
                pattern[i, head, -1] = 0
                pattern[i, head, -1, 1::2] = row if not right[i].all() else 1 / len(row)
        return pattern

    def renormalise(pattern, hook, head):
        pattern = pattern.clone()
        for i in range(1, pattern.shape[-1], 2):  # labels
            pattern[:, head, i, i - 1] = 0
            pattern[:, head, i] /= pattern[:, head, i].sum(-1, keepdim=True)
        return pattern

    hooks = []
    for t in config.training_interventions:
        for layer, head in t.heads:
            name = f"blocks.{layer}.attn.hook_{'z' if t.kind == 'ablate' else 'pattern'}"
            if t.kind == "ablate":
                hooks.append((name, lambda z, hook, h=head: zero(z, hook, h)))
            elif t.kind == "clamp_match":
                hooks.append((name, lambda p, hook, h=head, s=t.strength: match(p, hook, h, s)))
            elif t.pattern == "forbid_previous":
                hooks.append((name, lambda p, hook, h=head: renormalise(p, hook, h)))
            else:
                hooks.append((name, lambda p, hook, h=head, n=t.pattern, s=t.strength: hold(p, hook, h, n, s)))
    return hooks


@pytest.mark.parametrize("name", TREATED)
def test_hooked_transformer_with_the_same_done_to_it_agrees(name):
    config = make(name)
    params, batch, treated = case(config, 1.0)  # renormalising a saturated pattern would lose its digits
    batch, params = batch.to(torch.float32), {k: p.float() for k, p in params.items()}
    model = ICLTransformer(config, unpack(params, config.model.n_heads))
    with torch.no_grad():
        hooked = model.run_with_hooks(batch, fwd_hooks=oracle(config, batch))
        ours = logits(params, forward(params, batch, config.model, edits=edits(treated, config.model, batch)).final)
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
    torch.testing.assert_close(PATTERNS[name].held(3), torch.tensor(want, dtype=torch.float32))


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
