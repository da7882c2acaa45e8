"""Activation patching: in the hand-built circuit the answer turns with what carries it, and with nothing else."""

import pytest
import torch
from known_models import INDUCTION_HEAD, PREVIOUS_TOKEN_HEAD
from random_models import batch_of, make, weights_of

from mechicl.config import Config
from mechicl.engine.forward import forward, logits
from mechicl.errors import ConfigError
from mechicl.interventions import PatchActivations, Together, apply
from mechicl.interventions.edges import edge_mask
from mechicl.models.params import init, pack
from mechicl.tasks.markov import Markov


@pytest.mark.parametrize(
    ("patch", "turned"),
    [
        ({"heads": (INDUCTION_HEAD,)}, True),  # it writes the label
        ({"heads": (PREVIOUS_TOKEN_HEAD,)}, False),  # it moves exemplars, which stay
        ({"heads": ((1, 0),)}, False),
        ({"heads": (INDUCTION_HEAD,), "part": "v"}, True),
        ({"heads": (INDUCTION_HEAD,), "part": "k"}, False),
        ({"residual": (1,), "positions": ("match_label",)}, None),  # the other's label there as well: no answer of two
        ({"residual": (0,), "positions": ("label",)}, True),
        ({"residual": (1,), "positions": ("match", "query")}, False),
    ],
)
def test_the_answer_turns_with_what_carries_the_label(known_series, patch, turned):
    icl = known_series.answers(5, "icl", PatchActivations(**patch)).mean()
    assert icl == {True: 0.0, False: 1.0, None: 0.0}[turned]


def test_everything_patched_is_the_counterfactual_itself():
    config = make("three-layers-mlp")
    params, batch = pack(weights_of(config, torch.float64)), batch_of(config, torch.float64)
    for kind in batch.counterfactuals:
        want = forward(params, batch.counterfactual(kind), config.model).final
        for layer in range(config.model.n_layers):
            got = apply(params, batch, config.model, [PatchActivations(residual=(layer,), counterfactual=kind)]).final
            torch.testing.assert_close(got.reshape(want.shape), want, rtol=0, atol=1e-10)


@pytest.mark.parametrize("layers", [(1,), None])
def test_along_patched_edges_the_scores_are_the_partner_s_and_rows_still_sum_to_one(tiny_series, layers):
    edges = ("query->match_label", "previous")
    patch = PatchActivations(edges=edges, layers=layers, counterfactual="next")
    batch, model = tiny_series.evaluation_set("flip", 40), tiny_series.model(60)
    masked = edge_mask(batch, edges[0]) | edge_mask(batch, edges[1])
    hook = f"blocks.{0 if layers is None else layers[0]}.attn.hook_"
    _, intact = model.run_with_cache(batch)
    _, partner = model.run_with_cache(batch.counterfactual("next"))
    with model.hooks(fwd_hooks=model.hooks_for(patch, batch)):
        z, cache = model.run_with_cache(batch)
    want = torch.where(masked[:, None], partner[f"{hook}attn_scores"], intact[f"{hook}attn_scores"]).softmax(-1)
    torch.testing.assert_close(cache[f"{hook}pattern"], want)
    params, config = pack(tiny_series.weights(60)), tiny_series.config.model
    final = apply(params, batch, config, [patch]).final
    torch.testing.assert_close(logits(params, final).reshape(len(batch), -1), z[:, -1], rtol=1e-4, atol=1e-4)


def test_layers_are_those_of_edges():
    with pytest.raises(ConfigError, match="give edges, too"):
        PatchActivations(heads=((0, 1),), layers=(1,))
    with pytest.raises(ConfigError, match="residual or edges"):
        PatchActivations()


def test_parts_together_are_as_one(known_series):
    one, other = PatchActivations(heads=(INDUCTION_HEAD,)), PatchActivations(heads=(PREVIOUS_TOKEN_HEAD,))
    both = PatchActivations(heads=(INDUCTION_HEAD, PREVIOUS_TOKEN_HEAD))
    found = known_series.evaluate([5], ["icl", "flip"], [one, both, Together(parts=(one, other))], metrics=["loss"])
    loss = found.set_index(["evaluator", "intervention"]).value
    for name in ("icl", "flip"):
        assert loss[name, str(both)] == pytest.approx(loss[name, str(Together(parts=(one, other)))])
        assert loss[name, str(both)] > loss[name, "intact"] + 1


def test_labels_exchanged_leave_all_else_and_move_the_answer_where_the_context_has_it(tiny_series):
    for name in ("icl", "flip", "ciwl", "iwl"):
        batch = tiny_series.evaluation_set(name)
        other = batch.counterfactual()
        assert torch.equal(batch.exemplars, other.exemplars)
        assert torch.equal(batch.labels.sort(1).values, other.labels.sort(1).values)
        assert (batch.labels != other.labels).all()
        assert torch.equal(other.counterfactual().labels, batch.labels)
        moved = batch.target != other.target
        assert moved.all() if name in ("icl", "flip") else not moved.any()


def test_tokens_are_patched_from_the_next_sequence():
    task = Markov(n_states=4, n_chains=3, length=8)
    config = Config(name="m", steps=1, task=task)
    batch = next(task.batches(config, task.source(config), 0, 1))[:5]
    params = pack(init(config))
    patched = apply(params, batch, config.model, [PatchActivations(residual=(1,))]).final
    want = forward(params, batch[[1, 2, 3, 4, 0]], config.model).final
    torch.testing.assert_close(logits(params, patched).reshape(5, 8, -1), logits(params, want), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "give heads"),
        ({"heads": ((0, 9),)}, "no head L0H9"),
        ({"mlps": (0,)}, "no MLP in layer 0"),
        ({"residual": (5,)}, "no layer 5"),
        ({"residual": (0,), "positions": ("lable",)}, "match_label"),
        ({"residual": (0,), "counterfactual": "label"}, "'labels', 'next'"),
        ({"heads": ((0, 0),), "part": "w"}, "'z'"),
    ],
)
def test_what_cannot_be_is_refused(tiny_series, given, said):
    with pytest.raises(ConfigError, match=said):
        tiny_series.evaluate([60], ["icl"], PatchActivations(**given), n=10)
