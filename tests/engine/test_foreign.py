"""Models through HookedTransformer's hooks: mechicl's own, run both ways, give the same under every intervention."""

import pytest
import torch
from random_models import batch_of, make, weights_of
from random_models import hooked as built

from mechicl.engine import foreign as hooked
from mechicl.engine.edit import Edit
from mechicl.engine.forward import forward, stack
from mechicl.errors import ConfigError
from mechicl.interventions import (
    AblateHeads,
    AblateMLPs,
    AblatePositions,
    AblateSubspace,
    ClampCopy,
    ClampLayer,
    ClampMatch,
    CutEdges,
    CutPaths,
    Graft,
    PatchActivations,
    RemoveDirectPath,
    Temper,
    Together,
    edits,
    every_head,
    intact,
    only_direct_path,
)
from mechicl.interventions.base import Intervention
from mechicl.measures.subspace_ablation import AblateCarried
from mechicl.models.foreign import Pass
from mechicl.models.params import pack

MODELS = ("plain", "rotary-no-norm", "three-layers-mlp")
_TWO = ((0, 1), (1, 2))
GROUPS: dict[str, list] = {
    **{
        f"heads, {kind}": [AblateHeads(heads=((la, h),), kind=kind) for la in (0, 1) for h in (0, 3)]
        for kind in ("zero", "mean", "resample", "pattern_preserving", "value_preserving")
    },
    "heads, held": [AblateHeads(heads=(pair,), hold=("k", "v", "q")) for pair in _TWO],
    "mlp, zero": [AblateMLPs(layers=(0,))],
    "mlp, mean": [AblateMLPs(layers=(0,), kind="mean")],
    "mlp, resample": [AblateMLPs(layers=(0, 2), kind="resample")],
    "match": [ClampMatch(heads=((1, 0),), strength=x) for x in (0.5, 1.0)],
    "copy": [ClampCopy(head=(1, 2))],
    "layer": [ClampLayer()],
    "edges": [CutEdges(edges=("query->match_label",)), CutEdges(edges=("previous",), heads=((0, 1),))],
    "direct": [RemoveDirectPath()],
    **{
        f"paths, {kind}": [
            CutPaths(paths=("L0H1->L1H2.v", "L0H2->out"), kind=kind),
            CutPaths(paths=("L0H0->L1H1.k", "L1H3->out"), kind=kind),
        ]
        for kind in ("zero", "mean", "counterfactual")
    },
    "paths of MLPs": [CutPaths(paths=(path,), kind="mean") for path in ("mlp.0->L2H0.q", "L2H1->mlp.2")],
    "temper": [Temper(heads=_TWO, temperature=x) for x in (0.3, 3.0)],
    "direct path alone": [only_direct_path(make("three-layers-mlp").model)],
    "positions": [AblatePositions(positions=("match_label",), layers=(1,), kind=kind) for kind in ("mean", "mean")],
    "patches": [PatchActivations(heads=((0, 1),)), PatchActivations(heads=((1, 2),))],
    "subspace": [
        AblateSubspace(directions=torch.randn(16, n, generator=torch.Generator().manual_seed(n)).numpy(), layer=1)
        for n in (1, 3)
    ],
    "together": [Together(parts=(AblateHeads(heads=_TWO), RemoveDirectPath()))],
}


def runs(condition: Intervention, config) -> bool:
    try:
        condition.check(config.model)
    except ValueError:
        return False
    return True


def everything(model) -> list[str]:
    names = ["hook_embed", *([] if model.positions == "rotary" else ["hook_pos_embed"])]
    for la in range(model.n_layers):
        block, inside = f"blocks.{la}", ["q", "k", "v", "z", "attn_scores", "pattern"]
        inside += ["rot_q", "rot_k"] if model.positions == "rotary" else []
        names += [f"{block}.attn.hook_{x}" for x in inside]
        names += [f"{block}.hook_{x}" for x in ("resid_pre", "attn_out", "resid_post")]
        if model.has_mlp(la):
            names += [f"{block}.{x}" for x in ("hook_resid_mid", "mlp.hook_pre", "mlp.hook_post", "hook_mlp_out")]
    return names + (["ln_final.hook_normalized"] if model.layer_norm else [])


def both(kind: str, conditions: list, plain: bool, query_only: bool, captured: bool = True):
    config = make(kind)
    weights = [weights_of(config, torch.float32, seed) for seed in (0, 1)]
    params = pack(weights[0]) if plain else stack(map(pack, weights))
    batch, model = batch_of(config, torch.float32), config.model
    through = Pass(built(config, weights[0]))
    on = intact(params, batch, model, conditions, query_only=query_only)
    edited = edits(conditions, model, on.acts, batch) if conditions else {}
    capture = everything(model) if captured else []
    asked = {"edits": edited, "capture": capture, "query_only": query_only}
    return forward(params, batch, model, **asked), hooked.forward(params, batch, model, **asked, through=through)


def same(own, other) -> None:
    assert own.final.shape == other.final.shape
    torch.testing.assert_close(other.final, own.final, rtol=1e-5, atol=1e-5)
    assert own.acts.keys() == other.acts.keys()
    for name, x in own.acts.items():
        assert other.acts[name].shape == x.shape, name
        size = 1 + x[x.isfinite()].abs().max().item()  # of intermediate sums, whose rounding grows with them
        torch.testing.assert_close(other.acts[name], x, rtol=1e-5, atol=1e-5 * size, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("query_only", [True, False])
@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("kind", MODELS)
def test_intact(kind, plain, query_only):
    same(*both(kind, [], plain, query_only))


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("group", GROUPS)
def test_every_intervention_gives_the_same_values_and_shapes(group, kind, plain):
    conditions = [each for each in GROUPS[group] if runs(each, make(kind))]
    if not conditions:
        pytest.skip("this model has not what is changed")
    same(*both(kind, conditions, plain, True))
    same(*both(kind, conditions, plain, False))


def test_no_intervention_is_left_out():
    """A new one of mechicl's own is compared, too: all but those that change weights or are
    others at each step, which no pass sees."""

    def classes(cls):
        return {cls, *(c for sub in cls.__subclasses__() for c in classes(sub))}

    def inside(condition):
        return {type(condition)}.union(*(inside(x) for x in getattr(condition, "parts", ()) or ()))

    ours = {c for c in classes(Intervention) if c.__module__.startswith("mechicl.") and not c.__abstractmethods__}
    assert ours - {Graft, AblateCarried} == set().union(*(inside(c) for group in GROUPS.values() for c in group))


def test_every_head_at_once_is_each_alone():
    config = make()
    own, other = both("plain", every_head(config.model), False, True, captured=False)
    assert own.final.shape[1] == config.model.n_layers * config.model.n_heads
    torch.testing.assert_close(other.final, own.final, rtol=1e-5, atol=1e-5)


def test_a_hook_that_does_not_run_is_named():
    config = make()
    through = Pass(built(config, weights_of(config, torch.float32)))
    params, batch = pack(weights_of(config, torch.float32)), batch_of(config, torch.float32)
    with pytest.raises(KeyError, match="no hook named blocks"):
        hooked.forward(params, batch, config.model, edits={"blocks.9.hook_resid_pre": Edit()}, through=through)


def test_no_hook_stays_behind():
    config = make()
    through = Pass(built(config, weights_of(config, torch.float32)))
    params, batch = pack(weights_of(config, torch.float32)), batch_of(config, torch.float32)
    edit = {"blocks.0.attn.hook_z": Edit(0.0)}
    wrong = {"blocks.0.attn.hook_z": Edit(torch.ones(7, 7))}
    with pytest.raises(ConfigError, match=r"the Edit of blocks.0.attn.hook_z has keep"):
        hooked.forward(params, batch, config.model, edits=wrong, through=through)
    before = hooked.forward(params, batch, config.model, through=through).final
    assert not torch.equal(hooked.forward(params, batch, config.model, edits=edit, through=through).final, before)
    torch.testing.assert_close(hooked.forward(params, batch, config.model, through=through).final, before)
    assert not any(point.fwd_hooks for point in through.model.hook_dict.values())
