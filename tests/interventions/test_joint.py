"""Controls of several parts together: others of all of them, none twice, as many as there are."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mechicl.config import ModelConfig
from mechicl.interventions import (
    AblateHeads,
    AblateMLPs,
    AblatePositions,
    AblateSubspace,
    ClampCopy,
    ClampMatch,
    CutEdges,
    CutPaths,
    Graft,
    PatchActivations,
    RemoveDirectPath,
    Together,
    only_head,
)
from mechicl.interventions.edges import edge_mask
from mechicl.interventions.joint import components
from mechicl.interventions.positions import position_mask

MODEL = ModelConfig(n_layers=3, n_heads=8, d_model=16, mlp_ratio=2)
HEADS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 7)), min_size=1, max_size=5)


def drawn_for(*parts, model=MODEL, count=8):
    return [one.parts for one in Together(parts=parts).controls(model, count)]


def test_two_heads_of_one_layer_have_two_others():
    own = AblateHeads(heads=((0, 5),)), AblateHeads(heads=((0, 1),), kind="mean")
    drawn = drawn_for(*own)
    assert len(set(drawn)) == 8
    for zero, mean in drawn:
        assert (zero.kind, mean.kind) == ("zero", "mean")
        (a,), (b,) = zero.heads, mean.heads
        assert a != b
        assert a[0] == b[0] == 0
        assert not {a, b} & {(0, 5), (0, 1)}


@given(heads=st.lists(HEADS, min_size=1, max_size=4))
def test_heads_of_all_parts_have_as_many_others_of_the_same_layers(heads):
    parts = [PatchActivations(heads=x) if i % 2 else AblateHeads(heads=x) for i, x in enumerate(heads)]
    own = set(components(parts)["heads"])
    drawn = drawn_for(*parts)
    assert drawn
    few = any(sum(la == layer for la, _ in own) > 4 for layer in range(3))
    for others in drawn:
        theirs = set(components(others)["heads"])
        assert not own & theirs
        assert len(theirs) == min(len(own), 24 - len(own))
        if not few:
            assert sorted(la for la, _ in theirs) == sorted(la for la, _ in own)
            assert [len(one.heads) for one in others] == [len(one.heads) for one in parts]


def test_the_same_head_in_two_parts_has_the_same_other():
    for clamp, patch in drawn_for(ClampMatch(heads=((1, 3),)), PatchActivations(heads=((1, 3), (1, 4)))):
        assert set(clamp.heads) < set(patch.heads)
    for clamp, alone in drawn_for(ClampMatch(heads=((1, 3),)), only_head(MODEL, 1, 3)):  # a whole layer
        assert not {la for la, _ in (*clamp.heads, *alone.heads)} & {1}
        assert len({*clamp.heads, *alone.heads}) == 8


def test_heads_that_a_part_keeps_are_no_others():
    kept = ClampCopy(head=(2, 0)), CutEdges(edges=("previous",), heads=((2, 1), (2, 2)))
    for *_, heads in drawn_for(*kept, AblateHeads(heads=((2, 3),)), count=20):
        assert {la for la, _ in heads.heads} == {2}
        assert not set(heads.heads) & {(2, 0), (2, 1), (2, 2), (2, 3)}


def test_a_part_that_gets_none_of_too_few_is_left_out():
    model = ModelConfig(n_layers=1, n_heads=4)
    drawn = drawn_for(
        *(AblateHeads(heads=((0, h),), kind=k) for h, k in enumerate(("zero", "mean", "resample"))), model=model
    )
    assert {len(others) for others in drawn} == {1}
    assert {others[0].heads for others in drawn} == {((0, 3),)}
    assert len(set(drawn)) == len(drawn) == 3  # which part has the one that is left is random


def test_mlps_paths_and_grafts_are_disjoint_too():
    model = ModelConfig(n_layers=6, n_heads=4, mlp_ratio=2)
    for zero, mean in drawn_for(AblateMLPs(layers=(0, 1)), AblateMLPs(layers=(2,), kind="mean"), model=model):
        assert sorted((*zero.layers, *mean.layers)) == [3, 4, 5]
    paths = "L0H1->L1H2.k", "L0H3->L1H2.k"
    cut = [CutPaths(paths=(path,), kind=kind) for path, kind in zip(paths, ("zero", "mean"), strict=True)]
    for zero, mean in drawn_for(*cut, model=model):
        assert len({*zero.paths, *mean.paths, *paths}) == 4
    own = Graft(parts=("layer.0",), source=0), Graft(parts=("layer.1", "layer.2"), source=8)
    drawn = drawn_for(*own, model=model)
    assert drawn
    for first, second in drawn:
        assert {*first.parts, *second.parts} == {"layer.3", "layer.4", "layer.5"}
        assert (first.source, second.source) == (0, 8)
    assert drawn_for(Graft(parts=("qk.1",), source=0), Graft(parts=("ov.1",), source=8), model=model) == []


def test_different_directions_have_different_random_ones_and_the_same_the_same():
    one, other = torch.eye(16)[:, :2], torch.eye(16)[:, 2:4]
    parts = [AblateSubspace(directions=x, layer=la, name=f"{la}") for la, x in enumerate((one, other, one))]
    for a, b, c in drawn_for(*parts):
        assert a.directions == c.directions != b.directions
    assert [x[0] for x in drawn_for(*parts)] == parts[0].controls(MODEL, 8)


def test_positions_of_all_parts_are_disjoint_in_each_sequence(known_series):
    batch = known_series.evaluation_set("icl", 200)
    parts = (
        AblatePositions(positions=("match_label",), layers=(1,)),
        PatchActivations(mlps=(0,), positions=("match",)),
        AblatePositions(positions=("match", "match_label")),
    )
    own = position_mask(batch, ("match_label", "match"))
    drawn = drawn_for(*parts)
    assert len(set(drawn)) == 8
    for others in drawn:
        first, second, both = (position_mask(batch, one.positions) for one in others)
        assert not (first & second).any()
        assert torch.equal(first | second, both)
        assert not (both & own).any()
        assert not both[:, -1].any()
        assert (first.sum(1) == position_mask(batch, ("match_label",)).sum(1)).all()
        assert (second.sum(1) == position_mask(batch, ("match",)).sum(1)).all()


def test_edges_of_all_parts_are_disjoint_in_each_sequence(known_series):
    batch = known_series.evaluation_set("icl", 200)
    parts = CutEdges(edges=("query->match_label",), layers=(1,)), CutEdges(edges=("query->match",), layers=(1,))
    own = [edge_mask(batch, one.edges[0]) for one in parts]
    for others in drawn_for(*parts):
        masks = [edge_mask(batch, one.edges[0]) for one in others]
        assert not (masks[0] & masks[1]).any()
        for mask, mine in zip(masks, own, strict=True):
            assert not (mask & (own[0] | own[1])).any()
            assert (mask.sum(-1) == mine.sum(-1)).all()


def test_parts_within_parts_are_drawn_with_all_others():
    inner = Together(parts=(AblateHeads(heads=((0, 1),)), RemoveDirectPath()))
    for a, direct, b in drawn_for(inner, AblateHeads(heads=((0, 2),), kind="mean")):
        assert direct == RemoveDirectPath()
        assert len({*a.heads, *b.heads, (0, 1), (0, 2)}) == 4


def test_together_they_are_measured(known_series):
    parts = (
        AblateHeads(heads=((0, 5),)),
        CutEdges(edges=("query->match_label",), layers=(1,)),
        AblatePositions(positions=("match",), layers=(1,)),
        AblatePositions(positions=("match_label",), layers=(1,)),
    )
    drawn = Together(parts=parts).controls(known_series.config.model, 3)
    table = known_series.evaluate([5], ["icl"], drawn, n=20, metrics=None)
    assert set(table.intervention) == {"intact", *map(str, drawn)}
    assert known_series.answers(5, "icl", drawn[0], n=20).shape == (20,)


@pytest.mark.parametrize(
    "parts", [(AblateHeads(heads=((0, 5), (1, 3))),), (AblateMLPs(layers=(1,)), RemoveDirectPath())]
)
def test_one_part_has_the_controls_that_it_has_alone(parts):
    assert [others[0] for others in drawn_for(*parts)] == parts[0].controls(MODEL, 8)
