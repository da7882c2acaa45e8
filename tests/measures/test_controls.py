"""Controls: the same done to as many random others, of every kind of intervention."""

import pytest
from known_series import behind_recall

from mechicl.interventions import AblateMLPs, Graft
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
