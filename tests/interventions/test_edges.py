"""Attention edges cut, in the hand-built circuit: its own two edges carry ICL, no other does."""

import re

import pytest
import torch
from known_models import INDUCTION_HEAD, PREVIOUS_TOKEN_HEAD

from mechicl import cli
from mechicl.cli.ablation import asked
from mechicl.engine.forward import forward
from mechicl.errors import ConfigError
from mechicl.interventions import CutEdges, PatchActivations, Together, edits
from mechicl.interventions.edges import edge_mask
from mechicl.models.hooked import ICLTransformer
from mechicl.models.params import pack

SPARED = [
    "query->match",
    "query->other",
    "query->other_label",
    "exemplar->label",
    "exemplar->previous",
    "label->label",
    "first",
]


@pytest.mark.parametrize("edge", [*SPARED, "label->exemplar", "label->previous", "previous", "query->match_label"])
def test_only_the_circuit_s_own_edges_carry_icl(known_series, edge):
    icl = known_series.evaluate([5], ["icl"], CutEdges(edges=(edge,)), metrics=None).value
    assert icl.iloc[0] == 1.0
    needed = edge not in SPARED
    if needed and edge == "query->match_label":
        assert icl.iloc[1] < 0.1  # what is left to copy is the other label
    elif needed:
        # A label that does not see its own exemplar sees the pair before it, so that it looks like the other's.
        assert (0.1 if edge == "label->previous" else 0.35) < icl.iloc[1] < 0.65
    elif edge == "first":
        assert icl.iloc[1] < 1.0  # the first label's exemplar stands there
    else:
        assert icl.iloc[1] == 1.0


def test_where_it_is_cut_matters(known_series):
    layer, head = INDUCTION_HEAD
    cuts = [
        CutEdges(edges=("query->match_label",), heads=(INDUCTION_HEAD,)),
        CutEdges(edges=("query->match_label",), heads=((layer, head - 1),)),
        CutEdges(edges=("query->match_label",), layers=(0,)),
        CutEdges(edges=("previous",), heads=(PREVIOUS_TOKEN_HEAD,)),
    ]
    found = known_series.evaluate([5], ["icl"], cuts, metrics=None).set_index("intervention").value
    own, beside, before, previous = (found[str(cut)] for cut in cuts)
    assert own < 0.1
    assert beside == before == 1.0
    assert previous < 0.65


def test_an_edge_from_a_role_along_a_relation_is_that_part_of_it(tiny_series):
    batch = tiny_series.evaluation_set("flip", 30)
    own, whole, roles = edge_mask(batch, "label->previous"), batch.relations()["previous"], batch.roles()
    assert torch.equal(own, whole & roles["label"][:, :, None])
    assert torch.equal(own.sum(-1), roles["label"].long())  # every label has one exemplar, and no other has
    assert set(type(batch).known_edges) >= {"label->previous", "query->match_label"}
    for edge in type(batch).known_edges:
        assert edge_mask(batch, edge).any()


def test_hooks_and_engine_agree_and_rows_still_sum_to_one(tiny_series):
    cut = CutEdges(edges=("query->match_label", "label->exemplar"), layers=(1,))
    batch, model = tiny_series.evaluation_set("flip", 40), tiny_series.model(60)
    assert isinstance(model, ICLTransformer)
    with model.hooks(fwd_hooks=model.hooks_for(cut, batch)):
        z, cache = model.run_with_cache(batch)
    pattern = cache["blocks.1.attn.hook_pattern"]
    masked = edge_mask(batch, "query->match_label") | edge_mask(batch, "label->exemplar")
    assert (pattern * masked[:, None]).abs().max() == 0
    assert torch.allclose(pattern.sum(-1), torch.ones(()), atol=1e-6)
    params, config = pack(tiny_series.weights(60)), tiny_series.config.model
    intact = forward(params, batch, config, capture=cut.needs(config)).acts
    final = forward(params, batch, config, edits=edits([cut], config, intact, batch)).final
    mine = final.reshape(len(batch), -1) @ params["unembed.W_U"] + params["unembed.b_U"]
    assert torch.allclose(z[:, -1], mine, atol=1e-5)


def test_roles_cover_every_position_once(tiny_series):
    roles = tiny_series.evaluation_set("flip", 30).roles()
    assert (roles["query"].int() + roles["exemplar"] + roles["label"] == 1).all()
    assert torch.equal(roles["match"] | roles["other"], roles["exemplar"])
    assert torch.equal(roles["match_label"] | roles["other_label"], roles["label"])


@pytest.mark.parametrize(
    ("edge", "said"),
    [
        ("query->labels", "match_label"),
        ("qury->label", "query"),
        ("before", "previous"),
        ("query->9", "0 to 4"),
        ("query->query,query->exemplar,query->label", "attend to nothing"),
    ],
)
def test_what_is_no_edge_is_refused_with_those_there_are(tiny_series, edge, said):
    with pytest.raises(ConfigError, match=said):
        tiny_series.evaluate([60], ["flip"], asked(edge=edge), n=20)


def test_the_command_line_cuts_edges(known_series, capsys):
    from mechicl import cli

    cli.main(["ablate", str(known_series.root), "--edge", "query->match_label", "--step", "5"])
    assert "cut query->match_label" in capsys.readouterr().out


def test_what_several_parts_cut_together_leaves_a_position_something_to_see(known_series):
    """Each of them alone does."""
    parts = (CutEdges(edges=("query->exemplar",)), CutEdges(edges=("query->label",), layers=(1,)))
    known_series.evaluate([5], ["icl"], [*parts, Together(parts=parts)], n=20)  # itself is left
    blind = Together(parts=(*parts, CutEdges(edges=("query->query",), layers=(1,))))
    with pytest.raises(ConfigError, match="could attend to nothing"):
        known_series.evaluate([5], ["icl"], blind, n=20)


def test_an_edge_that_is_cut_and_patched_has_what_came_last(known_series):
    cut = CutEdges(edges=("query->match_label",), layers=(1,))
    patch = PatchActivations(edges=("query->match_label",), layers=(1,), counterfactual="labels")  # it looks alike
    found = known_series.evaluate(
        [5], ["icl"], [Together(parts=(patch, cut)), Together(parts=(cut, patch)), cut], n=100, metrics=["loss"]
    ).set_index("intervention")
    last_cut, last_patched = (found.value[" + ".join(map(str, parts))] for parts in ((patch, cut), (cut, patch)))
    assert last_cut == pytest.approx(found.value[str(cut)])
    assert last_patched == pytest.approx(found.value["intact"], abs=1e-5)


def test_sequences_without_such_an_edge_are_told_apart(known_series, capsys):
    cut, icl, iwl = (
        CutEdges(edges=("query->match_label",)),
        *(known_series.evaluation_set(e, 20) for e in ("icl", "iwl")),
    )
    assert (cut.found_in(icl), cut.found_in(iwl)) == (True, False)
    assert not CutEdges(edges=("match_label->query",)).found_in(icl)  # which comes later
    assert Together(parts=(cut, CutEdges(edges=("previous",)))).found_in(iwl)
    cli.main(["ablate", str(known_series.root), "--step", "5", "--n", "100", "--edge", "query->match_label"])
    out = capsys.readouterr().out
    assert re.search(r"^iwl +\d\.\d{3} +- +- +not in these +100$", out, re.M)
    assert "not in these" not in re.search(r"^icl .*", out, re.M)[0]
    cli.main(["ablate", str(known_series.root), "--steps", "0..10", "--n", "50", "--edge", "query->match_label"])
    assert "there is nothing to change" in capsys.readouterr().out


@pytest.mark.parametrize("edit", [CutEdges, PatchActivations])
def test_an_edge_with_spaces_is_the_same_edge_in_its_controls_too(known_series, edit):
    spaced = edit(edges=(" query -> match_label", "query->match_label"), layers=(1,))
    assert spaced == edit(edges=("query->match_label",), layers=(1,))
    known_series.evaluate([5], ["icl"], spaced.controls(known_series.config.model, 2), n=20)
