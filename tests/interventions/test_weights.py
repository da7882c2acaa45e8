"""Grafts as interventions: the same numbers as their own table, in any chunk, beside others, refused as hooks."""

from dataclasses import dataclass

import pytest
import torch
from known_models import INDUCTION_HEAD, PREVIOUS_TOKEN_HEAD
from random_models import batch_of, make, weights_of

from mechicl.config import ModelConfig
from mechicl.engine.forward import forward, stack
from mechicl.errors import ConfigError, SeriesError
from mechicl.figures.attention import patterns
from mechicl.interventions import AblateHeads, ClampCopy, Graft, Intervention, Together, apply
from mechicl.measures.grafts import evaluate_grafts
from mechicl.models.params import pack


@dataclass(frozen=True)
class Silence(Intervention):
    """Somebody's own, of weights: one head writes nothing."""

    layer: int
    head: int

    @property
    def baseline(self) -> str:
        return "W_O of 0"

    def weights(self, weights, checkpoint):
        name = f"blocks.{self.layer}.attn.W_O"
        out = weights[name].clone()
        out[self.head] = 0
        return weights | {name: out}


def test_evaluate_and_the_table_of_grafts_say_the_same(tiny_series):
    graft = Graft(parts=("qk.1", "unembedding"), source=20)
    got = tiny_series.evaluate([0, 60], ablate=[graft, AblateHeads(heads=((0, 1),))])
    want = evaluate_grafts(tiny_series, [graft], [0, 60])
    key = ["step", "evaluator", "metric"]
    ours, theirs = (t[t.intervention == str(graft)].sort_values(key) for t in (got, want))
    assert ours.value.tolist() == theirs.value.tolist()
    assert ours.baseline.tolist() == theirs.baseline.tolist() == ["step 20"] * len(ours)
    assert ours.effect_low.notna().all()


def test_the_missing_half_of_a_circuit_is_put_back(known_series):
    """Step 0 lacks the induction head's output, step 5 is whole, step 10 has no circuit."""
    layer = INDUCTION_HEAD[0]
    back, none = Graft(parts=(f"ov.{layer}",), source=5), Graft(parts=(f"qk.{layer}",), source=5)
    icl = known_series.evaluate([0], ["icl"], [back, none], metrics=None).set_index("intervention").value
    assert icl[str(back)] == 1.0
    assert icl[str(none)] == icl["intact"] < 0.65


def test_weights_and_activations_change_together(known_series):
    back = Graft(parts=(f"ov.{INDUCTION_HEAD[0]}",), source=5)
    both = Together(parts=(back, AblateHeads(heads=(PREVIOUS_TOKEN_HEAD,))))
    assert (both.changes_weights, both.donors) == (True, (5,))
    found = known_series.answers(0, "icl", both)
    assert 0.35 < found.mean() < 0.65
    assert known_series.answers(0, "icl", back).all()
    copied = Together(parts=(back, ClampCopy(head=INDUCTION_HEAD)))
    assert known_series.answers(0, "icl", copied).all()


def test_stacked_checkpoints_and_several_conditions_each_have_their_own_weights():
    config = make("three-layers-mlp")
    batch, model = batch_of(config, torch.float64), config.model
    weights = [weights_of(config, torch.float64, seed) for seed in (0, 1)]
    conditions, hook = [Silence(1, 2), Silence(2, 0), Silence(0, 1)], "blocks.2.attn.hook_z"
    params = [pack(w) for w in weights]
    together = apply(stack(params), batch, model, conditions, capture=[hook])
    assert together.final.shape[:2] == (2, 3)
    for i, one in enumerate(params):
        alone = apply(one, batch, model, conditions, capture=[hook])
        for c, condition in enumerate(conditions):
            ablated = AblateHeads(heads=((condition.layer, condition.head),))
            want = apply(one, batch, model, [ablated]).final[0]
            by_hand = forward(pack(condition.weights(weights[i], lambda step: {})), batch, model).final
            for got in (together.final[i, c], alone.final[c], by_hand):
                torch.testing.assert_close(got, want, rtol=0, atol=1e-10)
            torch.testing.assert_close(together.acts[hook][i, c], alone.acts[hook][c], rtol=0, atol=1e-12)


def test_one_s_own_is_evaluated(known_series):
    icl = known_series.evaluate([5], ["icl"], [Silence(*INDUCTION_HEAD), Silence(0, 0)], metrics=None).value
    assert icl.iloc[0] == icl.iloc[2] == 1.0
    assert icl.iloc[1] < 0.65


def test_pictures_show_where_the_grafted_model_looks(known_series):
    graft = Graft(parts=("layer.1",), source=10)
    got = patterns(known_series, [5], "icl", ablate=graft).values[0, 1]
    own = patterns(known_series, [5], "icl").values[0, 1]
    assert (got - own).abs().max() > 0.1


def test_what_cannot_be_is_said(tiny_series):
    graft = Graft(parts=("qk",), source=20)
    batch = tiny_series.evaluation_set("icl", 10)
    with pytest.raises(ConfigError, match="load_weights"):
        tiny_series.model(60).hooks_for(graft, batch)
    with pytest.raises(ConfigError, match=r"checkpoint=series\.weights"):
        apply(pack(tiny_series.weights(60)), batch, tiny_series.config.model, [graft])
    with pytest.raises(SeriesError, match="no checkpoint at step 7"):
        tiny_series.evaluate([60], ["icl"], Graft(parts=("qk",), source=7))
    with pytest.raises(ConfigError, match="no part 'kq'"):
        tiny_series.evaluate([60], ["icl"], Graft(parts=("kq",), source=20))


def test_parts_of_the_embeddings_are_those_that_such_a_model_has():
    encoder = Graft(parts=("encoder",), source=0)
    encoder.check(ModelConfig(encoder="conv"))
    with pytest.raises(ConfigError, match=r"no part 'encoder': .*exemplar_embed, embed, pos_embed"):
        encoder.check(ModelConfig())
    drawn = Graft(parts=("embed",), source=0).controls(ModelConfig(positions="rotary"), 8)
    assert [one.parts for one in drawn] == [("exemplar_embed",)]


def test_the_model_of_a_graft_is_one_line(tiny_series):
    graft, model = Graft(parts=("qk.1",), source=20), tiny_series.model(60)
    batch = tiny_series.evaluation_set("icl", 10)
    model.load_weights(graft.weights(tiny_series.weights(60), tiny_series.weights))
    got = apply(pack(tiny_series.weights(60)), batch, tiny_series.config.model, [graft], checkpoint=tiny_series.weights)
    want = got.final[0] @ tiny_series.weights(60)["unembed.W_U"] + tiny_series.weights(60)["unembed.b_U"]
    torch.testing.assert_close(model(batch)[:, -1], want, rtol=0, atol=1e-5)
