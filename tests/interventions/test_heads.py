"""Every kind of ablation against one written with TransformerLens hooks in this file, against
weight surgery, and against itself: many conditions at once equal one at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from known_models import PREVIOUS_TOKEN_HEAD
from random_models import MODELS, batch_of, by_engine, hooked, make, weights_of
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.forward import forward, logits, stack
from mechicl.errors import ConfigError
from mechicl.interventions import (
    BASELINES,
    AblateHeads,
    edits,
    every_head,
    matched_heads,
    needs,
    only_head,
    random_heads,
)
from mechicl.models.hooked import ICLTransformer
from mechicl.models.params import pack
from mechicl.tasks.exemplar_label.batch import Batch

KINDS = ("zero", "mean", "resample", "pattern_preserving", "value_preserving")
SETS = [
    ((0, 1),),
    ((1, 3),),
    ((0, 0), (0, 2)),
    ((0, 0), (1, 1), (1, 2)),
    ((0, 3), (1, 0)),
]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def hooks_on(model: ICLTransformer) -> int:
    """As TransformerLens counts them, and as torch does."""
    return sum(len(m._forward_hooks) + len(getattr(m, "fwd_hooks", ())) for m in model.modules())


def by_hand(model: ICLTransformer, batch: Batch, heads, kind: str) -> Tensor:
    """Logits at the query after an ablation, with hooks that share nothing with mechicl's edits:
    values are zeroed at hook_v where a definition says 'values', z is set head by head elsewhere."""
    _, cache = model.run_with_cache(batch)
    hooks = []

    def hold(name):
        return name, lambda x, hook: cache[name].clone()

    layers = range(model.cfg.n_layers)
    for layer, head in heads:
        z = cache[f"blocks.{layer}.attn.hook_z"]  # [b, t, h, k]

        def replace(x, hook, head=head, z=z):
            x = x.clone()
            for row in range(len(x)):
                if kind == "mean":
                    x[row, :, head] = sum(z[i, :, head] for i in range(len(z))) / len(z)
                elif kind == "resample":
                    x[row, :, head] = z[row - 1, :, head]  # python's -1 wraps to the last
                else:
                    x[row, :, head] = 0.0
            return x

        where = "hook_v" if kind == "pattern_preserving" else "hook_z"
        hooks.append((f"blocks.{layer}.attn.{where}", replace))
    if kind == "pattern_preserving":
        hooks = [hold(f"blocks.{la}.attn.hook_pattern") for la in layers] + hooks
    if kind == "value_preserving":
        hooks = [hold(f"blocks.{la}.attn.hook_v") for la in layers] + hooks
    return model.run_with_hooks(batch, fwd_hooks=hooks)[:, -1]


def test_every_kind_is_tested_and_has_a_baseline():
    assert set(BASELINES) == set(KINDS)
    assert len(set(BASELINES.values())) == len(KINDS)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["f64", "f32"])
@pytest.mark.parametrize("shape", MODELS)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_hooks_written_by_hand(kind, shape, dtype):
    config = make(shape)
    weights, batch = weights_of(config, dtype), batch_of(config, dtype)
    model = hooked(config, weights)
    intact = model(batch)[:, -1]
    last = config.model.n_layers - 1
    for heads in [*SETS, ((last, 2),), ((0, 1), (last, 0), (last, 1))]:
        asked = AblateHeads(heads=heads, kind=kind)
        want = by_hand(model, batch, heads, kind)
        here = model.run_with_hooks(batch, fwd_hooks=model.hooks_for(asked, batch))[:, -1]
        there = by_engine(pack(weights), batch, config, [asked])[0]
        for got in (here, there):
            assert got.dtype == dtype
            scale = 1 + want.abs().max().item()
            torch.testing.assert_close(got, want, rtol=0, atol=TOLERANCE[dtype] * scale)
        assert (want - intact).abs().max() > 1e-3, "an edit that does nothing"
    assert torch.equal(model(batch)[:, -1], intact)


@pytest.mark.parametrize("heads", SETS)
def test_zero_is_weight_surgery(heads):
    config = make()
    weights, batch = weights_of(config, torch.float64), batch_of(config, torch.float64)
    cut = {name: w.clone() for name, w in weights.items()}
    for layer, head in heads:
        cut[f"blocks.{layer}.attn.W_O"][head] = 0.0
    params = pack(cut)
    want = logits(params, forward(params, batch, config.model).final)
    got = by_engine(pack(weights), batch, config, [AblateHeads(heads=heads)])[0]
    torch.testing.assert_close(got, want, rtol=0, atol=1e-10)
    assert (want - by_engine(pack(weights), batch, config, [AblateHeads(heads=())])[0]).abs().max() > 1e-3


def test_the_kinds_differ_from_one_another():
    config = make()
    params, batch = pack(weights_of(config, torch.float64)), batch_of(config, torch.float64)
    for heads in (((0, 1),), ((0, 0), (1, 2))):
        got = [by_engine(params, batch, config, [AblateHeads(heads=heads, kind=k)])[0] for k in KINDS]
        for i in range(len(got)):
            for j in range(i):
                assert (got[i] - got[j]).abs().max() > 1e-3, (heads, KINDS[i], KINDS[j])


@pytest.mark.parametrize("kind", ["pattern_preserving", "value_preserving"])
def test_in_the_last_layer_what_is_held_is_intact_anyway(kind):
    """Nothing lies above the last layer, so there both 'preserving' kinds are plain zeroing."""
    config = make()
    params, batch = pack(weights_of(config, torch.float64)), batch_of(config, torch.float64)
    got = by_engine(params, batch, config, [AblateHeads(heads=((1, 1), (1, 2)), kind=kind)])[0]
    want = by_engine(params, batch, config, [AblateHeads(heads=((1, 1), (1, 2)))])[0]
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "held", "free"),
    [("pattern_preserving", "hook_pattern", "hook_v"), ("value_preserving", "hook_v", "hook_pattern")],
)
def test_preserving_kinds_hold_what_they_say_and_nothing_else(kind, held, free):
    """A head of layer 0 acts on layer 1 by its patterns and by its values: each kind holds one of
    the two at its intact value, to the bit, and lets the other change."""
    config = make()
    model, batch = hooked(config, weights_of(config, torch.float64)), batch_of(config, torch.float64)
    seen = {}

    def keep(x, hook):
        seen[hook.name] = x.clone()

    hooks = model.hooks_for(AblateHeads(heads=((0, 1),), kind=kind), batch)
    names = [f"blocks.1.attn.{h}" for h in (held, free)]
    with torch.no_grad():  # as `hooks_for` runs the intact model: with gradients the embedding sums in another order
        _, intact = model.run_with_cache(batch)
        model.run_with_hooks(batch, fwd_hooks=[*hooks, *((name, keep) for name in names)])
    assert torch.equal(seen[names[0]], intact[names[0]])
    assert (seen[names[1]] - intact[names[1]]).abs().max() > 1e-3


def test_mean_and_resample_of_a_head_that_says_the_same_everywhere_change_nothing():
    """With one sequence repeated, its mean and its neighbour are itself; zeroing still bites."""
    config = make()
    params, one = pack(weights_of(config, torch.float64)), batch_of(config, torch.float64, 1)
    batch = one[torch.zeros(4, dtype=torch.long)]
    intact = by_engine(params, batch, config, [AblateHeads(heads=())])[0]
    for kind in ("mean", "resample"):
        got = by_engine(params, batch, config, [AblateHeads(heads=((0, 1), (1, 1)), kind=kind)])[0]
        torch.testing.assert_close(got, intact, rtol=0, atol=1e-12)
    zeroed = by_engine(params, batch, config, [AblateHeads(heads=((0, 1), (1, 1)))])[0]
    assert (zeroed - intact).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_activations_that_other_kinds_need_change_nothing(kind):
    """Measures capture once for all kinds: `intact` then holds more than one kind asks for."""
    config = make()
    params, batch = pack(weights_of(config, torch.float64)), batch_of(config, torch.float64)
    every = {name for k in KINDS for name in needs(k, config.model)}
    intact = forward(params, batch, config.model, capture=every).acts
    asked = [AblateHeads(heads=s, kind=kind) for s in SETS]
    got = logits(params, forward(params, batch, config.model, edits=edits(asked, config.model, intact)).final)
    torch.testing.assert_close(got, by_engine(params, batch, config, asked), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_many_at_once_equal_one_at_a_time(kind):
    config = make()
    params, batch = pack(weights_of(config, torch.float64)), batch_of(config, torch.float64)
    conditions = [*every_head(config.model, kind), *(AblateHeads(heads=s, kind=kind) for s in SETS)]
    together = by_engine(params, batch, config, conditions)
    assert together.shape == (len(conditions), len(batch), config.bank.labels)
    for condition, got in zip(conditions, together, strict=True):
        alone = by_engine(params, batch, config, [condition])[0]
        torch.testing.assert_close(got, alone, rtol=0, atol=1e-12, msg=str(condition))


@pytest.mark.parametrize("kind", KINDS)
def test_many_checkpoints_at_once_equal_one_at_a_time(kind):
    config = make()
    listed = [pack(weights_of(config, torch.float64, seed)) for seed in range(3)]
    batch, model = batch_of(config, torch.float64), config.model
    conditions = [AblateHeads(heads=s, kind=kind) for s in SETS]
    stacked = stack(listed)
    intact = forward(stacked, batch, model, capture=needs(kind, model)).acts
    final = forward(stacked, batch, model, edits=edits(conditions, model, intact)).final
    got = logits(stacked, final)  # [s, c, b, v]
    assert got.shape[:2] == (3, len(SETS))
    for s, params in enumerate(listed):
        want = by_engine(params, batch, config, conditions)
        torch.testing.assert_close(got[s], want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_hooks_are_gone_after_a_run_and_after_an_exception(kind):
    config = make()
    model = hooked(config, weights_of(config, torch.float32))
    batch = batch_of(config, torch.float32)
    intact = model(batch)
    hooks = model.hooks_for(AblateHeads(heads=((0, 1),), kind=kind), batch)
    assert hooks_on(model) == 0  # making them runs the intact model, and leaves none

    def fail(x, hook):
        assert hooks_on(model) > len(hooks)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.run_with_hooks(batch, fwd_hooks=[*hooks, ("blocks.1.hook_attn_out", fail)])
    assert hooks_on(model) == 0
    assert torch.equal(model(batch), intact)


def test_printable_hashable_equal_whatever_the_order():
    a = AblateHeads(heads=((1, 3), (0, 2), (1, 3)))
    b = AblateHeads(heads=[(0, 2), (np.int64(1), 3)])
    assert a == b
    assert hash(a) == hash(b)
    assert {a: 1}[b] == 1
    assert a != AblateHeads(heads=((0, 2), (1, 3)), kind="mean")
    assert a != AblateHeads(heads=((0, 2),))
    assert str(a) == "zero L0H2 L1H3"
    assert str(AblateHeads(heads=(), kind="mean")) == "mean nothing"
    assert eval(repr(a)) == a
    assert a.first_layer == 0
    assert AblateHeads(heads=((2, 1), (1, 1))).first_layer == 1
    with pytest.raises(AttributeError):
        a.kind = "mean"


def test_every_head_and_only_head():
    model = ModelConfig(n_layers=2, n_heads=4, d_model=16)
    each = every_head(model, "resample")
    assert [c.heads for c in each] == [((la, h),) for la in range(2) for h in range(4)]
    assert {c.kind for c in each} == {"resample"}
    assert only_head(model, 1, 2) == AblateHeads(heads=((1, 0), (1, 1), (1, 3)))
    assert only_head(model, 0, 0, "mean") == AblateHeads(heads=((0, 1), (0, 2), (0, 3)), kind="mean")


def test_needs_names_hooks_of_every_layer():
    model = ModelConfig(n_layers=2, n_heads=4, d_model=16)
    want = {"zero": None, "mean": "z", "resample": "z", "pattern_preserving": "pattern", "value_preserving": "v"}
    for kind, hook in want.items():
        names = [] if hook is None else [f"blocks.{la}.attn.hook_{hook}" for la in (0, 1)]
        assert needs(kind, model) == names


def test_an_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match="kind='noise': expected one of 'zero', 'mean', 'resample', 'pattern_pres"):
        AblateHeads(heads=((0, 0),), kind="noise")


@pytest.mark.parametrize("head", [(2, 0), (0, 4), (-1, 0), (0, -1)])
def test_a_head_that_is_not_there_is_refused(head):
    config = make()
    message = rf"no head L{head[0]}H{head[1]}: this model has layers 0\.\.1 with heads 0\.\.3"
    with pytest.raises(ConfigError, match=message):
        edits([AblateHeads(heads=((0, 0), head))], config.model, {})
    model = hooked(config, weights_of(config, torch.float32))
    with pytest.raises(ConfigError, match=message):
        model.hooks_for(AblateHeads(heads=(head,)), batch_of(config, torch.float32))


def test_conditions_of_two_kinds_do_not_share_a_pass():
    with pytest.raises(ConfigError, match=r"must be of one kind; given \['mean', 'zero'\]"):
        edits([AblateHeads(heads=((0, 0),)), AblateHeads(heads=((0, 0),), kind="mean")], make().model, {})


def test_random_heads(tiny_config):
    model = replace(tiny_config.model, n_heads=8)
    rng = np.random.default_rng(0)
    drawn = [random_heads(model, 3, rng, layer=0, excluding=((0, 1), (0, 2))) for _ in range(50)]
    assert all(len(set(d)) == 3 for d in drawn)
    assert {h for d in drawn for h in d} == {(0, h) for h in range(8)} - {(0, 1), (0, 2)}
    assert {la for la, _ in random_heads(model, 12, rng)} == {0, 1}
    with pytest.raises(ConfigError, match="expected at most 2 random heads"):
        random_heads(model, 3, rng, layer=1, excluding=[(1, h) for h in range(6)])


def test_matched_heads(tiny_config):
    """As many of each layer, none of the given ones; from other layers where one has too few; all others at most."""
    model, rng = replace(tiny_config.model, n_layers=2, n_heads=8), np.random.default_rng(0)
    like = ((0, 0), (0, 1), (1, 5))
    drawn = {matched_heads(model, like, rng) for _ in range(200)}
    assert all([la for la, _ in d] == [0, 0, 1] and not set(d) & set(like) for d in drawn)
    assert len(drawn) > 80  # of 15 pairs x 7
    crowded = tuple((0, h) for h in range(6))
    some = matched_heads(model, crowded, rng)
    assert [la for la, _ in some] == [0] * 2 + [1] * 4
    assert not set(some) & set(crowded)
    most = tuple((la, h) for la in range(2) for h in range(8))[:12]
    assert matched_heads(model, most, rng) == tuple((1, h) for h in range(4, 8))


@pytest.mark.parametrize(
    "heads", [(0, 1), 3, "L0H1", "01", None, (("0", "1"),), ((0, 1, 2),), ((0,),), ((0.0, 1.0),), ((True, 1),), [None]]
)
def test_heads_that_are_no_pairs_are_refused_by_name(heads):
    with pytest.raises(ConfigError, match="heads=") as error:
        AblateHeads(heads=heads)
    assert "(layer, head) pairs" in str(error.value)
    assert ("heads=((0, 1),)" in str(error.value)) == (heads == (0, 1))  # what was surely meant


def test_heads_may_be_any_pairs_of_whole_numbers():
    wanted = AblateHeads(heads=((0, 1), (1, 3)))
    for heads in (
        [[1, 3], [0, 1]],
        np.array([[0, 1], [1, 3]]),
        {(0, 1), (1, 3)},
        (x for x in ((0, 1), (1, 3))),
        torch.tensor([[0, 1], [1, 3]]),
    ):
        assert AblateHeads(heads=heads) == wanted
    assert AblateHeads(heads=()).heads == ()


HOLDS = [("pattern",), ("v",), ("q",), ("k",), ("k", "v"), ("v", "pattern"), ("q", "k", "v")]


@pytest.mark.parametrize("shape", MODELS)
@pytest.mark.parametrize("hold", HOLDS, ids="-".join)
def test_what_is_held_equals_hooks_written_by_hand(hold, shape):
    """Held in the layers after the first ablated one; before rotation, where positions are rotary."""
    config = make(shape)
    weights, batch = weights_of(config, torch.float64), batch_of(config, torch.float64)
    model = hooked(config, weights)
    _, cache = model.run_with_cache(batch)
    for heads in [((0, 1),), ((0, 0), (0, 2), (1, 1))]:

        def cut(z, hook, heads=heads):
            z = z.clone()
            for layer, head in heads:
                if hook.name == f"blocks.{layer}.attn.hook_z":
                    z[:, :, head] = 0.0
            return z

        hooks = [(f"blocks.{la}.attn.hook_z", cut) for la in range(config.model.n_layers)]
        hooks += [
            (f"blocks.{la}.attn.hook_{part}", lambda x, hook: cache[hook.name].clone())
            for la in range(1, config.model.n_layers)
            for part in hold
        ]
        want = model.run_with_hooks(batch, fwd_hooks=hooks)[:, -1]
        asked = AblateHeads(heads=heads, hold=hold)
        here = model.run_with_hooks(batch, fwd_hooks=model.hooks_for(asked, batch))[:, -1]
        there = by_engine(pack(weights), batch, config, [asked])[0]
        for got in (here, there):
            torch.testing.assert_close(got, want, rtol=0, atol=1e-9)


def test_the_preserving_kinds_are_zero_with_something_held():
    config = make()
    params, batch = pack(weights_of(config, torch.float32)), batch_of(config, torch.float32)
    for kind, part in (("pattern_preserving", "pattern"), ("value_preserving", "v")):
        named, spelled = (AblateHeads(heads=((0, 1),), kind=kind), AblateHeads(heads=((0, 1),), hold=(part,)))
        assert named.held == spelled.held == (part,)
        got = [by_engine(params, batch, config, [x]) for x in (named, spelled)]
        assert torch.equal(*got)


def test_the_last_layer_sees_queries_keys_and_values_or_patterns_and_values():
    """Both leave to the ablated heads what they write to the output directly."""
    config = make()
    params, batch = pack(weights_of(config, torch.float64)), batch_of(config, torch.float64)
    heads = ((0, 0), (0, 1), (0, 2), (0, 3))
    got = [
        by_engine(params, batch, config, [AblateHeads(heads=heads, hold=hold)])[0]
        for hold in (("q", "k", "v"), ("pattern", "v"))
    ]
    torch.testing.assert_close(*got, rtol=0, atol=1e-10)


def test_the_hand_built_circuit_composes_through_keys_alone(known_series):
    lost, held = (AblateHeads(heads=(PREVIOUS_TOKEN_HEAD,), hold=hold) for hold in (("q", "v"), ("k",)))
    table = known_series.evaluate([5], ["flip"], [lost, held], metrics=None).set_index("intervention").value
    assert table["zero L0H1, k held"] == table["intact"] == 1.0
    assert table["zero L0H1, q v held"] == pytest.approx(0.5, abs=0.07)


def test_what_is_held_is_said_and_printed():
    one = AblateHeads(heads=((0, 1),), hold=("v", "k", "v"))
    assert one.hold == ("k", "v")
    assert str(one) == "zero L0H1, k v held"
    assert eval(repr(one)) == one
    assert "hold" not in repr(AblateHeads(heads=((0, 1),)))
    for word in ("0", "keys and values", "intact"):
        assert word in one.baseline
    assert AblateHeads(heads=((0, 1),), kind="value_preserving").baseline == BASELINES["value_preserving"]
    with pytest.raises(ConfigError, match="hold"):
        AblateHeads(heads=((0, 1),), hold=("z",))
