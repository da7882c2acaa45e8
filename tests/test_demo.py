"""The committed series is sound and shows what the README says it shows."""

from pathlib import Path

import pytest

from mechicl import AblateHeads, open_series
from mechicl.measures.phases import series_phases
from mechicl.verify import verify

DEMO = Path(__file__).parents[1] / "checkpoints" / "demo"


@pytest.fixture(scope="module")
def demo():
    return open_series(DEMO)


def test_it_is_sound_small_and_dense(demo):
    assert verify(DEMO) == []
    assert demo.complete
    assert len(demo.steps) >= 40
    assert sum(p.stat().st_size for p in DEMO.rglob("*") if p.is_file()) <= 20e6


def test_icl_rises_and_fades_while_the_loss_falls(demo):
    phases, loss = series_phases(demo), demo.training_loss
    assert phases["icl"].peak_value > 0.9
    assert phases["icl"].final_value < phases["icl"].peak_value - 0.15
    assert phases["flip"].peak_value > 0.8
    assert phases["flip"].final_value < 0.06
    assert phases["ciwl"].final_value > 0.95
    at_peak = loss.loss[(loss.sequences - phases["icl"].peak).abs().idxmin()]
    assert loss.loss.iloc[-1] < at_peak


def test_half_precision_keeps_the_evaluators(demo):
    """Recorded during training in float32; recomputed from the saved float16 weights."""
    steps = demo.steps[::6]
    again = demo.evaluate(steps).set_index(["step", "evaluator", "metric"]).value
    recorded = demo.metrics.set_index(["step", "evaluator", "metric"]).value.loc[again.index]
    accuracies = again.index.get_level_values("metric") != "loss"
    assert (again - recorded).abs()[accuracies].max() <= 0.005


def test_removing_the_previous_token_head_removes_icl(demo):
    """The causal claim of the README's picture: one head of layer 0 carries ICL at its peak."""
    from mechicl.measures.attention import attention_scores

    peak = demo.nearest(series_phases(demo)["flip"].peak)
    scores = attention_scores(demo, [peak], ["flip"])
    head = scores[(scores.metric == "label_to_exemplar") & (scores.layer == 0)].sort_values("value").iloc[-1]
    table = demo.evaluate([peak], ["flip"], AblateHeads(heads=((0, int(head["head"])),)))
    value = table[table.metric == "in_context_acc"].set_index("intervention").value
    assert value.drop("intact").item() < value["intact"] - 0.2
