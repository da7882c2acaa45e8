"""The committed series is sound and shows what the README says it shows."""

from pathlib import Path

import pytest

from analyses.head_ablations import icl_heads
from mechicl import AblateHeads, open_series
from mechicl.measures.phases import series_phases
from mechicl.series.verify import verify

DEMO = Path(__file__).parents[1] / "checkpoints" / "demo"


@pytest.fixture(scope="module")
def demo():
    return open_series(DEMO)


def test_it_is_sound_small_and_dense(demo):
    assert verify(DEMO) == []
    assert demo.complete
    assert len(demo.steps) >= 40
    made_later = ("analysis", "report.html")  # by the commands of the guide; git ignores them
    committed = [p for p in DEMO.rglob("*") if p.is_file() and p.relative_to(DEMO).parts[0] not in made_later]
    assert len(committed) > len(demo.steps)
    assert sum(p.stat().st_size for p in committed) <= 20e6


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


def test_the_icl_heads_carry_icl_and_are_in_layer_0(demo):
    """The causal claim of the README: four heads of layer 0, of sixteen, carry ICL at its peak;
    the heads of layer 1 stand in for one another."""
    heads = icl_heads(demo)
    assert len(heads) == 4
    assert {layer for layer, _ in heads} == {0}
    peak = demo.nearest(series_phases(demo)["flip"].peak)
    table = demo.evaluate([peak], ["icl", "flip"], AblateHeads(heads=heads))
    value = table[table.metric == "in_context_acc"].set_index(["evaluator", "intervention"]).value
    assert value["icl", "intact"] > 0.9
    assert value.drop("intact", level=1)["icl"].item() < 0.7
    assert value.drop("intact", level=1)["flip"].item() < 0.5


def test_the_icl_heads_act_through_where_layer_1_looks(demo):
    """With layer 1's patterns held as in the intact model, the same heads can go and ICL stays; with its values held it
    does not."""
    heads = icl_heads(demo)
    peak = demo.nearest(series_phases(demo)["flip"].peak)

    def without(*hold):
        table = demo.evaluate([peak], ["icl"], AblateHeads(heads=heads, hold=hold), n=1000)
        return table[(table.metric == "in_context_acc") & (table.intervention != "intact")].value.item()

    assert without("pattern") > 0.95
    assert without("v") < 0.7
    assert without() < 0.7
