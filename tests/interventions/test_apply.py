"""The one way interventions are applied: its halves, its parts, and where a pass starts."""

import pytest
import torch
from random_models import ALL, batch_of, make, weights_of

from mechicl.engine import forward as engine
from mechicl.engine.forward import forward, logits, stack
from mechicl.interventions import AblateHeads, CutEdges, apply, edits, intact, under
from mechicl.interventions.apply import in_parts, planned
from mechicl.models.params import pack


def setting(shape="plain", n=7):
    config = make(shape)
    return config, stack([pack(weights_of(config, torch.float64))]), batch_of(config, torch.float64, n)


@pytest.mark.parametrize("name", ALL)
def test_at_once_in_halves_in_parts_and_by_hand_are_the_same(name):
    config, params, batch = setting("three-layers-mlp")
    model, conditions = config.model, ALL[name]
    acts = intact(params, batch, model, conditions).acts
    by_hand = forward(params, batch, model, edits=edits(conditions, model, acts, batch)).final
    on = intact(params, batch, model, conditions)
    parts = list(in_parts(conditions, on, size=3))
    assert [len(part) for part, _ in parts] == [3, 3, 1]
    joined = torch.cat([out.final for _, out in parts], -2)
    for got in (apply(params, batch, model, conditions).final, under(conditions, on).final, joined):
        torch.testing.assert_close(got, by_hand, rtol=0, atol=1e-12)


def test_a_pass_starts_where_something_first_changes(monkeypatch):
    config, params, batch = setting()
    started, condition = [], [AblateHeads(heads=((1, 0),))]
    on = intact(params, batch, config.model, condition)
    block = engine._block

    def noted(params, x, model, layer, *rest):
        started.append(layer)
        return block(params, x, model, layer, *rest)

    monkeypatch.setattr(engine, "_block", noted)
    under(condition, on)
    assert started == [1]


def test_all_positions_are_computed_under_it_where_the_intact_model_has_them():
    config, params, batch = setting()
    cut, hook = [CutEdges(edges=("previous",), layers=(1,))], "blocks.1.attn.hook_pattern"
    every = apply(params, batch, config.model, cut, capture=[hook], query_only=False).acts[hook]
    query = apply(params, batch, config.model, cut, capture=[hook]).acts[hook]
    t = batch.shape[-1]
    assert (every.shape[-2:], query.shape[-2:]) == ((t, t), (1, t))
    torch.testing.assert_close(every[..., -1:, :], query)
    assert every.diagonal(-1, dim1=-2, dim2=-1).abs().max() == 0


def test_the_plan_is_for_a_forward_of_one_s_own():
    config, params, batch = setting()
    conditions = [AblateHeads(heads=((0, 1), (1, 2)), kind="mean")]
    final = forward(params, batch, config.model, edits=planned(conditions, params, batch, config.model)).final
    assert torch.equal(logits(params, final), logits(params, apply(params, batch, config.model, conditions).final))
