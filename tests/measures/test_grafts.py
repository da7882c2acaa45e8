"""Grafts: identities, the hand-built circuit, and weight surgery on a HookedTransformer."""

import pandas as pd
import pytest
from known_models import INDUCTION_HEAD, induction_model, without_head
from known_series import write_series

from mechicl.errors import ConfigError, SeriesError
from mechicl.evaluators import EVALUATORS
from mechicl.measures.ablation import evaluate
from mechicl.measures.grafts import Graft, evaluate_grafts, first_half, in_parts, second_half
from mechicl.measures.paired_effects import effects
from mechicl.measures.tables import COLUMNS
from mechicl.models.params import shapes


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Step 0: without its induction head's output; 1: without its query and key; 5: whole."""
    config, circuit = induction_model()
    layer, head = INDUCTION_HEAD
    blind = {name: w.clone() for name, w in circuit.items()}
    blind[f"blocks.{layer}.attn.W_Q"][head] = 0
    weights = {0: without_head(circuit, layer, head), 1: blind, 5: circuit}
    return write_series(tmp_path_factory.mktemp("broken") / "broken", config, weights)


def scores(table: pd.DataFrame, step: int, graft: Graft) -> dict[str, float]:
    rows = table[(table.step == step) & (table.intervention == str(graft))]
    return dict(zip(rows.evaluator, rows.value, strict=True))


def test_the_table(tiny_series):
    graft = Graft(parts=("qk.1",), source=20)
    got = evaluate_grafts(tiny_series, [graft], [0, 60])
    assert tuple(got.columns) == COLUMNS
    assert len(got) == 2 * 2 * 6 * 3
    assert set(got.intervention) == {"intact", "graft qk.1 from step 20"}
    assert set(got[got.intervention == str(graft)].baseline) == {"step 20"}
    assert (got.ci_low <= got.value).all()
    assert (got.value <= got.ci_high).all()
    assert str(Graft(parts=("qk", "embed"), source=3, rest=True)) == "graft all but qk embed from step 3"


def test_a_step_grafted_onto_itself_is_itself_and_all_of_another_is_the_other(tiny_series):
    model = tiny_series.config.model
    own = [Graft(parts=p, source=60) for p in (("qk",), ("ov.0",), first_half(model), ("all",))]
    got = evaluate_grafts(tiny_series, own, [60])
    assert (effects(got).effect == 0).all()
    everything = [
        Graft(parts=("all",), source=60),
        Graft(parts=(*first_half(model), *second_half(model)), source=60),
        Graft(parts=(), source=60, rest=True),
    ]
    got = evaluate_grafts(tiny_series, everything, [0])
    want = evaluate(tiny_series, [60])
    for graft in everything:
        rows = got[got.intervention == str(graft)]
        assert rows.value.tolist() == want.value.tolist()


def test_halves_and_parts_name_every_weight_once(tiny_series):
    config = tiny_series.config
    model, names = config.model, list(shapes(config))
    halves = [{n for n in names if in_parts(n, half)} for half in (first_half(model), second_half(model))]
    assert halves[0] | halves[1] == set(names)
    assert not halves[0] & halves[1]
    qk, ov = ({n for n in names if in_parts(n, (p,))} for p in ("qk.1", "ov.1"))
    assert qk == {"blocks.1.attn.W_Q", "blocks.1.attn.W_K"}
    assert ov == {"blocks.1.attn.W_V", "blocks.1.attn.W_O"}
    tables = {n for n in names if in_parts(n, ("exemplar_embed", "embed", "pos_embed"))}
    assert tables == {n for n in names if in_parts(n, ("embeddings",))}
    convolutions = ("encoder.0.W", "encoder.0.b", "encoder.1.W", "encoder.1.b")
    assert all(in_parts(n, ("encoder",)) and in_parts(n, ("embeddings",)) for n in convolutions)
    assert not any(in_parts(n, ("encoder",)) for n in names)


def test_the_circuit_is_restored_by_the_part_it_lacks_and_by_no_other(broken):
    found = {part: Graft(parts=(part,), source=5) for part in ("layer.1", "ov.1", "qk.1", "ov.0", "embeddings")}
    got = evaluate_grafts(broken, list(found.values()), [0, 1], ["icl", "flip"], metrics=None)
    mends = {0: {"layer.1", "ov.1"}, 1: {"layer.1", "qk.1"}}
    for step, parts in mends.items():
        for part, graft in found.items():
            values = scores(got, step, graft)
            want = 1.0 if part in parts else pytest.approx(0.5, abs=0.07)
            assert values == {"icl": want, "flip": want}, (step, part)


def test_a_graft_is_weight_surgery_on_a_hooked_transformer(tiny_series):
    """Metrics counted from the logits of an ICLTransformer whose weights were set by hand."""
    graft = Graft(parts=("qk.1", "embed"), source=20)
    host, donor = tiny_series.weights(60), tiny_series.weights(20)
    taken = ("blocks.1.attn.W_Q", "blocks.1.attn.W_K", "embed.W_E")
    model = tiny_series.model(60)
    state = dict(model.named_parameters())
    for name in taken:
        state[name].data.copy_(donor[name])
    got = evaluate_grafts(tiny_series, [graft], [60], ["flip", "iwl"])
    for evaluator in ("flip", "iwl"):
        batch = tiny_series.evaluation_set(evaluator)
        z = model(batch)[:, -1].detach()
        loss = -z.log_softmax(-1).gather(1, batch.target[:, None]).mean().item()
        rows = got[(got.evaluator == evaluator) & (got.intervention == str(graft))].set_index("metric").value
        assert rows["acc"] == (z.argmax(-1) == batch.target).double().mean().item()
        assert rows["loss"] == pytest.approx(loss, rel=1e-5)
        intact = got[(got.evaluator == evaluator) & (got.intervention == "intact")].set_index("metric").value
        assert abs(intact["loss"] - loss) > 1e-5
    mixed = graft.weights(host, {20: donor}.__getitem__)
    assert {n for n in mixed if mixed[n] is donor[n]} == set(taken)


def test_headlines_alone(tiny_series):
    got = evaluate_grafts(tiny_series, [], [60], metrics=None)
    assert dict(zip(got.evaluator, got.metric, strict=True)) == {e: EVALUATORS[e].primary_metric for e in got.evaluator}


@pytest.mark.parametrize("part", ["qk.2", "kq", "mlp.0", "attention.L", "ov.x"])
def test_parts_that_are_not_there_are_refused(tiny_series, part):
    if part == "mlp.0" and tiny_series.config.model.has_mlp(0):
        pytest.skip("it is there")
    with pytest.raises(ConfigError, match=f"this model has no part '{part}': expected one of all, attention"):
        evaluate_grafts(tiny_series, [Graft(parts=(part,), source=60)])


def test_a_donor_that_was_not_saved_is_refused(tiny_series):
    with pytest.raises(SeriesError, match="no checkpoint at step 7"):
        evaluate_grafts(tiny_series, [Graft(parts=("qk",), source=7)])
