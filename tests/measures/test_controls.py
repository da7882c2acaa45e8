"""Controls: the same done to as many random others, of every kind of intervention."""

import numpy as np
import pytest
from known_series import behind_recall

from mechicl.config import ModelConfig
from mechicl.interventions import (
    AblateHeads,
    AblateMLPs,
    AblateSubspace,
    CutPaths,
    Graft,
    PatchActivations,
    RemoveDirectPath,
    Together,
    only_head,
)
from mechicl.measures.controls import CONTROLS, control_effects, said
from mechicl.measures.words import Words


def asked(**texts):
    return Words.of(texts).intervention()


@pytest.mark.parametrize(
    "texts",
    [
        {"heads": "L0H1"},
        {"edge": "query->match_label:1"},
        {"edge": "label->exemplar:0"},
        {"position": "match_label:1"},
        {"patch": "L1H2"},
        {"patch": "match_label:1"},
        {"graft": "ov.1@0"},
        {"without_subspace": "flip"},
        {"heads": "L0H1", "edge": "query->match_label"},
    ],
    ids=str,
)
def test_what_carries_icl_takes_it_and_its_random_others_do_not(known_series, texts):
    table = control_effects(known_series, asked(**texts), 5, ["icl"])
    own, others = table[table.control == 0], table[table.control > 0]
    assert len(own) == 1
    assert own.effect.item() < -0.3
    assert own.effect_high.item() < 0
    assert 1 <= len(others) <= CONTROLS
    assert others.intervention.is_unique
    assert others.effect.abs().max() < 0.05
    assert table[table.intervention == "intact"].effect.isna().all()


def test_an_edge_that_carries_nothing_changes_nothing(known_series):
    table = control_effects(known_series, asked(edge="query->other_label"), 5, ["icl"])
    assert table[table.control == 0].effect.item() == 0


def test_where_the_query_looks_does_not_depend_on_the_labels(known_series):
    """So its attention patched from sequences with exchanged labels changes nothing, where what it reads does."""
    table = control_effects(known_series, asked(patch="query->label:1"), 5, ["icl"])
    assert table[table.control == 0].effect.item() == 0


def test_controls_are_said_and_where_there_is_no_other_that_is_said(tmp_path):
    series = behind_recall(tmp_path / "recall")
    mlp = AblateMLPs(layers=(1,))
    table = control_effects(series, mlp, 10, ["flip"])
    assert table[table.control == 0].effect.item() > 0.9  # the circuit behind the MLP shows again
    assert not (table.control > 0).any()
    assert said(mlp, []) == "none, since there is no other of its kind"
    graft = Graft(parts=("ov.1",), source=0)
    (only,) = graft.controls(series.config.model, 8)
    assert said(graft, [only]) == "the change of the only other of its kind, graft qk.1 from step 0"
    heads = asked(heads="L0H1,L1H2")
    drawn = heads.controls(series.config.model, 8)
    assert said(heads, drawn) == "the changes of 8 random sets of as many other heads of the same layers"


DEMO, DEEP = ModelConfig(n_layers=2, n_heads=8), ModelConfig(n_layers=4, n_heads=8, mlp_ratio=2)
FLAT = ModelConfig(n_layers=1, n_heads=8)
ONE = AblateHeads(heads=((0, 1),), kind="mean")


@pytest.mark.parametrize(
    ("condition", "model", "want"),
    [
        (ONE, DEMO, "the changes of 7 random sets of as many other heads of the same layers"),
        (
            only_head(DEMO, 0, 5),
            DEMO,
            "the changes of 8 random sets of as many other heads, of other layers where the same ones have not enough",
        ),
        (
            AblateHeads(heads=tuple((0, h) for h in range(5))),
            FLAT,
            "the change of the only other of its kind, zero L0H5 L0H6 L0H7 (fewer other heads, since the model has no "
            "more)",
        ),
        (
            AblateMLPs(layers=(0, 1, 2)),
            DEEP,
            "the change of the only other of its kind, zero L3 MLP (fewer other MLPs, since the model has no more)",
        ),
        (AblateMLPs(layers=(0, 1)), DEEP, "the change of the only other of its kind, zero L2 L3 MLP"),
        (
            CutPaths(paths=tuple(f"L0H{h}->out" for h in range(6))),
            DEMO,
            "the change of the only other of its kind, cut L0H6->out L0H7->out (fewer other paths between the same "
            "kinds of components in the same layers, since there are no more)",
        ),
        (
            Graft(parts=("layer.1",), source=3),
            DEEP,
            "the changes of 3 random sets of as many other parts of the same kinds, of other layers, from the same "
            "step",
        ),
        (
            Graft(parts=("qk.1",), source=3),
            DEEP,
            "the change of the only other of its kind, graft ov.1 from step 3",
        ),
        (
            PatchActivations(heads=((0, 1),), mlps=(0, 1, 2)),
            DEEP,
            "the changes of 7 random sets of as many other heads of the same layers, fewer other MLPs, since the model "
            "has no more",
        ),
        (
            Together(parts=(ONE, AblateHeads(heads=((0, 5),)), RemoveDirectPath())),
            DEMO,
            "the changes of 8 random sets of as many other heads of the same layers",
        ),
        (
            Together(parts=(ONE, AblateSubspace(directions=np.eye(64)[:, :2], layer=1))),
            DEMO,
            "the changes of 8 random sets of as many other heads of the same layers, as many random directions",
        ),
    ],
    ids=lambda x: str(x)[:30],
)
def test_what_is_said_of_controls_is_true_of_those_that_were_drawn(condition, model, want):
    assert said(condition, condition.controls(model, 8)) == want
