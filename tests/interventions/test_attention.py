"""Clamped and tempered attention: hooks written by hand, weight surgery, hand-built circuits."""

import pytest
import torch
from known_models import INDUCTION_HEAD, PREVIOUS_TOKEN_HEAD
from random_models import MODELS, batch_of, by_engine, hooked, make, weights_of

from mechicl.errors import ConfigError
from mechicl.interventions import AblateHeads, ClampMatch, Temper, Together
from mechicl.models.params import pack
from mechicl.tasks.exemplar_label.batch import Batch
from mechicl.tasks.exemplar_label.clamped import match_row


def row_by_hand(labels: list[int], target: int, strength: float) -> list[float] | None:
    """The query's attention, slot by slot; None where it is left alone."""
    right, other = labels.count(target), len(labels) - labels.count(target)
    if not right:
        return None
    out = []
    for label in labels:
        share = (strength if other else 1.0) / right if label == target else (1 - strength) / other
        out += [0.0, share]
    return [*out, 0.0]


def contexts(*labels: list[int], target: int = 1) -> Batch:
    b, c = len(labels), len(labels[0])
    slots = torch.zeros(b, c + 1, dtype=torch.long)
    return Batch(torch.zeros(b, c + 1, 2), torch.tensor(labels), torch.full((b,), target), slots, slots, slots)


def test_the_row_of_two_pairs_of_more_and_of_none():
    got, shows = match_row(contexts([1, 0], [0, 1], [1, 1], [2, 3]), 0.75)
    assert got[:3].tolist() == [[0, 0.75, 0, 0.25, 0], [0, 0.25, 0, 0.75, 0], [0, 0.5, 0, 0.5, 0]]
    assert shows.tolist() == [True, True, True, False]
    got, _ = match_row(contexts([1, 0, 2, 1], [0, 2, 3, 1]), 0.4)
    torch.testing.assert_close(got[0], torch.tensor([0, 0.2, 0, 0.3, 0, 0.3, 0, 0.2, 0]))
    torch.testing.assert_close(got[1], torch.tensor([0, 0.2, 0, 0.2, 0, 0.2, 0, 0.4, 0]))
    assert torch.allclose(got.sum(1), torch.ones(2))


@pytest.mark.parametrize("shape", MODELS)
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_a_clamp_equals_hooks_written_by_hand(shape, strength):
    config = make(shape)
    weights, batch = weights_of(config, torch.float64), batch_of(config, torch.float64)
    batch.target[1] = 10  # not in the context, or not surely: left alone where it is not
    model, heads = hooked(config, weights), ((0, 2), (1, 0), (1, 3))

    def clamp(pattern, hook):
        pattern = pattern.clone()
        for layer, head in heads:
            for i in range(len(batch)):
                row = row_by_hand(batch.labels[i].tolist(), int(batch.target[i]), strength)
                if hook.name == f"blocks.{layer}.attn.hook_pattern" and row is not None:
                    pattern[i, head, -1] = torch.tensor(row)
        return pattern

    hooks = [(f"blocks.{la}.attn.hook_pattern", clamp) for la in range(config.model.n_layers)]
    want = model.run_with_hooks(batch, fwd_hooks=hooks)[:, -1]
    got = by_engine(pack(weights), batch, config, [ClampMatch(heads=heads, strength=strength)])[0]
    torch.testing.assert_close(got, want, rtol=0, atol=1e-6)


def test_a_clamped_induction_head_copies_what_it_is_shown(known_series):
    """Strength 1 is right whatever the previous-token head does, 0 is wrong; other heads copy nothing."""
    lost, copier = AblateHeads(heads=(PREVIOUS_TOKEN_HEAD,)), (INDUCTION_HEAD,)
    done = {s: Together(parts=(ClampMatch(heads=copier, strength=s), lost)) for s in (0.0, 0.4, 0.6, 1.0)}
    other = ClampMatch(heads=((1, 0),), strength=0.0)
    table = known_series.evaluate([5], ["icl", "flip"], [*done.values(), other], metrics=None)
    for evaluator in ("icl", "flip"):
        value = table[table.evaluator == evaluator].set_index("intervention").value
        assert [value[str(x)] for x in done.values()] == [0.0, 0.0, 1.0, 1.0]
        assert value[str(other)] == 1.0


@pytest.mark.parametrize("shape", MODELS)
@pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])
def test_a_temperature_is_queries_divided_by_it(shape, temperature):
    """Weight surgery: W_Q / T, in every head or in one; and a hook on the scores."""
    config = make(shape)
    weights, batch, heads = weights_of(config, torch.float64), batch_of(config, torch.float64), ((0, 1), (1, 2), (1, 3))
    cut = {name: w.clone() for name, w in weights.items()}
    for layer, head in heads:
        cut[f"blocks.{layer}.attn.W_Q"][head] /= temperature
    want = hooked(config, cut)(batch)[:, -1]
    asked, model = Temper(heads=heads, temperature=temperature), hooked(config, weights)
    there = by_engine(pack(weights), batch, config, [asked])[0]
    here = model.run_with_hooks(batch, fwd_hooks=model.hooks_for(asked, batch))[:, -1]
    for got in (here, there):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-5)  # 1 / T is single precision


def test_hotter_heads_copy_less(known_series):
    done = [Temper(heads=(INDUCTION_HEAD,), temperature=t) for t in (1.0, 100.0, 1000.0)]
    table = known_series.evaluate([5], ["icl"], done, metrics=["in_context_prob"]).set_index("intervention").value
    values = [table[str(x)] for x in done]
    assert values[0] == pytest.approx(table["intact"], abs=1e-6)
    assert values[0] > values[1] > values[2] > 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ClampMatch(heads=((1, 0),), strength=1.1),
        lambda: ClampMatch(heads=((1, 0),), strength=float("nan")),
        lambda: Temper(heads=((1, 0),), temperature=0.0),
        lambda: Temper(heads=((1, 0),), temperature=-1.0),
        lambda: Temper(heads=(1, 0), temperature=1.0),
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError, match="expected"):
        wrong()


def test_heads_that_are_not_there_are_refused(tiny_series):
    for asked in (ClampMatch(heads=((5, 0),)), Temper(heads=((5, 0),), temperature=2.0)):
        with pytest.raises(ConfigError, match="there is no head L5H0"):
            tiny_series.evaluate([60], ["icl"], asked)
