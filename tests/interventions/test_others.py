"""Random others: of the same layers, as many, never one's own."""

import itertools

import numpy as np
import pytest
import torch

from mechicl.config import ModelConfig
from mechicl.errors import ConfigError
from mechicl.interventions import (
    AblateHeads,
    AblateMLPs,
    AblatePositions,
    AblateSubspace,
    CutEdges,
    Graft,
    PatchActivations,
    RemoveDirectPath,
    Together,
)
from mechicl.interventions.edges import edge_mask
from mechicl.interventions.others import other_sets, random_others
from mechicl.interventions.positions import position_mask

MODEL = ModelConfig(n_layers=3, n_heads=8, d_model=16, mlp_ratio=2)


def test_heads_are_of_the_same_layers():
    own = AblateHeads(heads=((0, 5), (1, 3)), kind="mean", hold=("k",))
    drawn = own.controls(MODEL, 8)
    assert len(set(drawn)) == 8
    for one in drawn:
        assert (one.kind, one.hold, [la for la, _ in one.heads]) == ("mean", ("k",), [0, 1])
        assert not set(one.heads) & set(own.heads)
    assert drawn == own.controls(MODEL, 8)


def test_mlps_are_of_other_layers_and_all_of_them_where_they_are_few():
    assert {one.layers for one in AblateMLPs(layers=(1,), kind="mean").controls(MODEL, 8)} == {(0,), (2,)}
    assert {one.layers for one in AblateMLPs(layers=(0, 1)).controls(MODEL, 8)} == {(2,)}
    assert AblateMLPs(layers=(0, 1, 2)).controls(MODEL, 8) == []
    assert AblateMLPs(layers=(0,)).controls(ModelConfig(n_layers=1), 8) == []
    assert len(other_sets([0], range(9), 4)) == 4


def test_sets_of_many_are_drawn_from_all_of_them_evenly():
    own, model = tuple(range(0, 48, 4)), ModelConfig(n_layers=48, mlp_ratio=4)
    for ablated in (AblateMLPs(layers=own), PatchActivations(mlps=own)):  # C(36, 12) sets
        drawn = [getattr(one, "layers", None) or one.mlps for one in ablated.controls(model, 300)]
        assert len(set(drawn)) == 300
        assert all(len(one) == 12 and not set(one) & set(own) for one in drawn)
        often = np.bincount(np.concatenate(drawn), minlength=48)
        often = often[often > 0]
        assert len(often) == 36
        assert 60 < often.min() <= often.max() < 140  # 100 each; the standard deviation is 8
        assert ablated.controls(model, 4) == ablated.controls(model, 4)


def test_sets_of_few_are_those_that_they_were():
    every = list(itertools.combinations([0, 1, 3, 4, 5], 2))
    order = np.random.default_rng(0).permutation(len(every))
    assert other_sets([2, 6], range(7), 4) == [every[i] for i in order[:4]]
    assert len(other_sets([2, 6], range(7), 99)) == len(every)


def test_positions_are_as_many_of_each_sequence_without_the_one_that_answers(known_series):
    batch = known_series.evaluation_set("icl", 200)
    own = position_mask(batch, ("match_label", "match"))
    drawn = AblatePositions(positions=("match_label", "match"), layers=(1,)).controls(MODEL, 8)
    assert len(set(drawn)) == 8
    masks = [position_mask(batch, one.positions) for one in drawn]
    for mask, one in zip(masks, drawn, strict=True):
        assert one.layers == (1,)
        assert not (mask & own).any()
        assert not mask[:, -1].any()  # the query
        assert (mask.sum(1) == own.sum(1)).all()
    alone = [position_mask(batch, one.positions) for one in AblatePositions(positions=("match",)).controls(MODEL, 8)]
    assert torch.stack(alone).float().mean((0, 1))[:-1].min() > 0.1  # everywhere, sooner or later


def test_edges_run_from_the_same_positions_to_as_many_others(known_series):
    batch = known_series.evaluation_set("icl", 200)
    own = edge_mask(batch, "query->match_label")
    drawn = CutEdges(edges=("query->match_label",), layers=(1,)).controls(MODEL, 8)
    assert len(set(drawn)) == 8
    for one in drawn:
        (edge,) = one.edges
        mask = edge_mask(batch, edge)
        assert one.layers == (1,)
        assert not (mask & own).any()
        assert not mask.triu(1).any()
        assert (mask.sum(-1) == own.sum(-1)).all()
    with pytest.raises(ConfigError, match="no role 'nobody'"):
        edge_mask(batch, "random 1 for query->nobody")


def test_a_position_with_fewer_others_has_them_all():
    own = torch.tensor([[True, True, False, False]])
    among = torch.tensor([[True, True, True, False]])
    assert random_others(own, among, 0).tolist() == [[False, False, True, False]]
    assert not random_others(own, own, 0).any()


def test_grafts_are_of_the_same_kind_and_step():
    def others(*parts: str) -> set[tuple[str, ...]]:
        drawn = Graft(parts=parts, source=3, rest=False).controls(MODEL, 8)
        assert all(one.source == 3 for one in drawn)
        return {one.parts for one in drawn}

    assert others("qk.1") == {("ov.1",)}
    assert others("layer.1") == {("layer.0",), ("layer.2",)}
    assert others("mlp.1") == {("attention.1",)}
    assert others("embeddings") == {("unembedding",)}
    assert others("qk.1", "ov.1") == others("all") == set()
    assert others("embed", "pos_embed") == set()  # 'exemplar_embed' cannot stand for both
    assert others("layer.1", "qk.0") == {("layer.2", "ov.0")}  # layer 0 holds a part of its own
    deep = ModelConfig(n_layers=4)
    assert {frozenset(one.parts) for one in Graft(parts=("layer.0", "layer.1"), source=3).controls(deep, 8)} == {
        frozenset(("layer.2", "layer.3"))
    }
    assert len(Graft(parts=("layer.0", "layer.1"), source=3).controls(deep, 8)) == 1
    many = tuple(f"layer.{la}" for la in range(0, 24, 2))
    drawn = Graft(parts=many, source=3).controls(ModelConfig(n_layers=26), 8)
    assert len({frozenset(one.parts) for one in drawn}) == 8
    assert all(len(one.parts) == 12 and not set(one.parts) & set(many) for one in drawn)
    no_mlp = ModelConfig(n_layers=2, mlp_ratio=0)
    assert Graft(parts=("attention",), source=0).controls(no_mlp, 8) == []
    assert [x.parts for x in Graft(parts=("attention.1",), source=0).controls(no_mlp, 8)] == [("attention.0",)]


def test_patches_have_others_of_each_thing_that_they_patch():
    patch = PatchActivations(heads=((1, 3),), mlps=(0,), positions=("match",), residual=(2,))
    drawn = patch.controls(MODEL, 8)
    assert len(set(drawn)) == 8
    assert all(one.heads[0][0] == 1 and one.heads != patch.heads and one.mlps != (0,) for one in drawn)
    assert all(one.positions[0].startswith("random") and one.residual == (2,) for one in drawn)
    assert PatchActivations(residual=(1,)).controls(MODEL, 8) == []  # all of it: there is no other


def test_together_each_part_has_its_own_and_what_has_none_stays():
    heads, path = AblateHeads(heads=((0, 5),)), RemoveDirectPath()
    drawn = Together(parts=(heads, path)).controls(MODEL, 4)
    assert [one.parts[1] for one in drawn] == [path] * 4
    assert [one.parts[0] for one in drawn] == heads.controls(MODEL, 4)
    assert Together(parts=(path, path)).controls(MODEL, 4) == []
    directions = AblateSubspace(directions=torch.eye(16)[:, :3], layer=1)
    assert {one.count for one in directions.controls(MODEL, 4)} == {3}
