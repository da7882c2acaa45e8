"""A clamped first layer and a copied answer: circuits written by hand, hooks written by hand."""

import pytest
import torch
from known_models import CONTENT, DIM, INDUCTION_HEAD, MOVED, PREVIOUS_TOKEN_HEAD, induction_model
from random_models import batch_of, by_engine, hooked, make, weights_of

from mechicl.errors import ConfigError
from mechicl.interventions import AblateHeads, ClampCopy, ClampLayer, ClampMatch, Together
from mechicl.models.params import pack
from mechicl.tasks.exemplar_label.banks.build import build_bank

COPY = ClampCopy(head=INDUCTION_HEAD)
LOST = AblateHeads(heads=(PREVIOUS_TOKEN_HEAD,))


def content_matcher():
    """The induction circuit with its match on what a position shows itself: no label shows an exemplar, so it is blind,
    unless the first layer is perfect. The keys' second part keeps to positions that a label's key comes from."""
    config, weights = induction_model()
    (layer, head), places = INDUCTION_HEAD, torch.arange(config.sequences.n_tokens)
    keys = weights[f"blocks.{layer}.attn.W_K"]
    keys[head, CONTENT, :DIM] = torch.eye(DIM)
    keys[head, MOVED] = 0
    keys[head, 64 + places, DIM] = 0.0
    keys[head, 64 + places[0:-1:2], DIM] = 4.0
    return config, weights


def right(config, weights, condition, evaluator="icl", n=300) -> float:
    """Share of sequences answered right in context, under one condition."""
    from mechicl.engine.forward import forward
    from mechicl.engine.held import query_scores, scores_hook
    from mechicl.evaluators import evaluation_set, score
    from mechicl.interventions import edits

    batch, params = evaluation_set(evaluator, config, build_bank(config), n), pack(weights)
    edited = None if condition is None else edits([condition], config.model, {}, batch)
    reads = None if condition is None else condition.reads
    out = forward(params, batch, config.model, edits=edited, capture=[scores_hook(config.model)])
    if reads is None:
        return float(score(params, out.final, batch)["in_context_acc"].float().mean())
    scores = query_scores(out.acts, config.model, reads[1])
    return float(batch.score_copied(scores, ("in_context_acc",))["in_context_acc"].float().mean())


def test_a_perfect_first_layer_completes_a_circuit():
    config, weights = content_matcher()
    assert 0.4 < right(config, weights, None) < 0.6
    for condition in (ClampLayer(), Together(parts=(LOST, ClampLayer())), Together(parts=(ClampLayer(), COPY))):
        assert right(config, weights, condition) == 1.0, condition
    blind = AblateHeads(heads=(INDUCTION_HEAD,))
    assert 0.4 < right(config, weights, Together(parts=(ClampLayer(), blind))) < 0.6


def test_a_copied_answer_needs_the_match_and_nothing_after_it(known_series):
    """It is right without the head's own values and output, and not without the previous-token head. (A score of a
    head that was never made to match says nothing.)"""
    conditions = [COPY, Together(parts=(AblateHeads(heads=(INDUCTION_HEAD,)), COPY)), Together(parts=(LOST, COPY))]
    table = known_series.evaluate([5], ["icl", "flip"], conditions, metrics=["in_context_acc", "acc", "loss"])
    for evaluator in ("icl", "flip"):
        value = table[table.evaluator == evaluator].set_index(["intervention", "metric"]).value
        assert [value[str(c), "acc"] for c in conditions[:2]] == [1.0, 1.0]
        assert [value[str(c), "loss"] for c in conditions[:2]] == pytest.approx([0, 0], abs=1e-3)
        assert 0.3 < value[str(conditions[2]), "in_context_acc"] < 0.7
        assert value["intact", "acc"] == 1.0
    assert known_series.answers(5, "icl", COPY).all()


@pytest.mark.parametrize("model", [{}, {"positions": "rotary"}, {"layer_norm": False}], ids=str)
def test_a_clamped_layer_equals_two_passes_written_by_hand(model):
    """As published: patterns from a pass whose layer 0 gives the embedding of the position before, put into one whose
    layer 0 gives the embeddings."""
    import dataclasses

    config = make("plain")
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, **model))
    weights, batch = weights_of(config, torch.float64), batch_of(config, torch.float64)
    net, shown = hooked(config, weights), {}

    def previous(x, hook):
        shown["embedding"] = x.clone()
        moved = x.clone()
        moved[:, 1:-1] = x[:, :-2]
        return moved

    def keep(pattern, hook):
        shown["pattern"] = pattern

    def nothing(z, hook):
        return torch.zeros_like(z)

    silent = ("blocks.0.attn.hook_z", nothing)
    first = [silent, ("blocks.1.hook_resid_pre", previous), ("blocks.1.attn.hook_pattern", keep)]
    net.run_with_hooks(batch, fwd_hooks=first)
    put = ("blocks.1.attn.hook_pattern", lambda pattern, hook: shown["pattern"])
    want = net.run_with_hooks(batch, fwd_hooks=[silent, put])[:, -1]
    got = by_engine(pack(weights), batch, config, [ClampLayer()])[0]
    torch.testing.assert_close(got, want, rtol=0, atol=1e-9)
    there = net.run_with_hooks(batch, fwd_hooks=net.hooks_for(ClampLayer(), batch))[:, -1]
    torch.testing.assert_close(there, want, rtol=0, atol=1e-9)
    assert not torch.allclose(net(batch)[:, -1], want, atol=1e-3)


def test_beside_other_conditions_of_their_kind():
    config = make("plain")
    weights, batch = weights_of(config, torch.float64), batch_of(config, torch.float64)
    matched = [Together(parts=(ClampLayer(), ClampMatch(heads=((1, h),), strength=s))) for h in (0, 2) for s in (0, 1)]
    alone = [by_engine(pack(weights), batch, config, [c])[0] for c in matched]
    for got, want in zip(by_engine(pack(weights), batch, config, matched), alone, strict=True):
        torch.testing.assert_close(got, want)
    assert not torch.allclose(alone[0], alone[1])


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        ("three-layers-mlp", ClampLayer(), "this model has 3 layers, with an MLP in the first"),
        ("plain", ClampCopy(head=(0, 1)), "L0H1 is no head of the last layer: expected L1H0 to L1H3"),
        ("plain", ClampCopy(head=(1, 4)), "L1H4 is no head"),
        (
            "plain",
            Together(parts=(ClampCopy(head=(1, 0)), ClampCopy(head=(1, 1)))),
            "read from one head, but 2 were given",
        ),
    ],
)
def test_what_cannot_be_is_refused(kind, wrong, message):
    with pytest.raises(ConfigError, match=message):
        wrong.check(make(kind).model)


def test_no_hook_can_read_the_answer_elsewhere():
    config = make("plain")
    weights, batch = weights_of(config, torch.float64), batch_of(config, torch.float64)
    with pytest.raises(ConfigError, match=r"use series\.evaluate or series\.answers"):
        hooked(config, weights).hooks_for(ClampCopy(head=(1, 0)), batch)
