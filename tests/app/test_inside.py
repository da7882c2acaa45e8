"""Head grid, patterns, logits, one sequence and two checkpoints: the numbers of the measures, in their places."""

import dataclasses

import numpy as np
import pytest
import torch

from mechicl.app.compare import compare
from mechicl.app.heads import MEASURES, head_scores
from mechicl.app.inside import attention, logit_view
from mechicl.app.payloads import head_cells, shade
from mechicl.app.runs import Library
from mechicl.app.sequence import answers, picture, tokens
from mechicl.app.state import View
from mechicl.app.view import Number, paired
from mechicl.data.banks import Bank
from mechicl.engine.forward import forward
from mechicl.figures.attention import patterns
from mechicl.interventions import AblateHeads, every_head
from mechicl.measures.ablation import effects, evaluate
from mechicl.measures.attention import attention_scores
from mechicl.measures.attribution import attribute, logit_attribution


@pytest.mark.parametrize("evaluator", ["icl", "flip", "ciwl"])
@pytest.mark.parametrize("measure", ["previous_token", "induction_strength", "logit"])
def test_the_grid_is_the_measure(run, bench, settle, measure, evaluator):
    view = settle(f"?step=60&measure={measure}&evaluator={evaluator}&heads=0.0")
    found = head_scores(bench, run, view)
    if measure == "logit":
        table = logit_attribution(run.series, [60], [evaluator], progress=False)
        table = table[(table.metric == "logit_in_context") & table["head"].notna()]
    else:
        table = attention_scores(run.series, [60], [evaluator], progress=False)
        table = table[table.metric == measure]
    want = {(r.layer, r.head): (r.value, r.ci_low, r.ci_high, r.n) for r in table.itertuples()}
    assert {k: (n.value, n.low, n.high, n.n) for k, n in found.items()} == want
    assert bool(want) == (not (measure == "induction_strength" and evaluator == "ciwl"))


@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_the_grid_of_effects_is_every_head_alone(run, bench, settle, kind):
    found = head_scores(bench, run, settle(f"?step=60&measure=effect_ciwl&kind={kind}"))
    table = effects(
        evaluate(run.series, [60], ["ciwl"], every_head(run.series.config.model, kind), metrics=None, progress=False)
    )
    assert {k: n.value for k, n in found.items()} == pytest.approx(
        {(r.layer, r.head): r.effect for r in table.itertuples()}
    )
    assert all(n.low <= n.value <= n.high and n.n == 50 for n in found.values())


def test_colours_have_a_fixed_range_and_read_on_their_ground(settle):
    for measure, scale in MEASURES.items():
        low, high = scale.limits
        assert shade(low - 9, scale) == shade(low, scale) != shade(high, scale) == shade(high + 9, scale), measure
    diverging = MEASURES["effect_icl"]
    assert diverging.diverging
    assert shade(0, diverging)[1] == "#111"
    assert shade(-0.5, diverging)[1] == shade(0.5, diverging)[1] == "#fff"
    cells = head_cells({(0, 1): Number(-0.25, -0.3, -0.2, 50)}, settle("?measure=effect_icl"), 1, 2)
    assert [c["text"] for c in cells] == ["–", "−.25"]
    assert cells[1]["says"].endswith("−.250 [−.300, −.200] change in accuracy, n = 50")


@pytest.mark.parametrize("kind", ["zero", "mean", "resample", "pattern_preserving"])
@pytest.mark.parametrize("sequence", ["", "&sequence=3"])
def test_patterns_intact_and_ablated(run, bench, settle, kind, sequence):
    view = settle(f"?step=60&evaluator=flip&heads=0.1&kind={kind}{sequence}")
    found = attention(bench, run, view)
    for values, ablation in ((found.intact, None), (found.ablated, view.ablation)):
        want = patterns(run.series, [60], "flip", view.sequence, ablation).values[0].numpy()
        assert np.array_equal(values, want)
        assert values.sum(-1) == pytest.approx(1, abs=1e-5)
    changed = np.abs(found.ablated - found.intact).max((1, 2, 3))
    assert changed[0] < 1e-6  # other rows of a matmul may differ in the last bit
    assert (changed[1] > 1e-5) == (kind != "pattern_preserving")
    assert attention(bench, run, dataclasses.replace(view, heads=())).ablated is None


def test_a_baseline_is_the_evaluation_sets_and_not_one_sequences(run):
    """The mean over the one sequence that is looked at would be the head itself."""
    ablation = AblateHeads(heads=((0, 0), (0, 1)), kind="mean")
    one = patterns(run.series, [60], "icl", 3, ablation).values
    assert not torch.allclose(one, patterns(run.series, [60], "icl", 3).values, atol=1e-4)


@pytest.mark.parametrize("kind", ["zero", "mean", "resample", "pattern_preserving", "value_preserving"])
def test_contributions_sum_to_the_logit_beside_the_mean(run, bench, settle, kind):
    view = settle(f"?step=60&evaluator=flip&sequence=3&heads=0.1,1.0&kind={kind}")
    found = logit_view(bench, run, view)
    model = run.series.model(60)
    batch = run.sets["flip"]
    hooks = model.hooks_for(view.ablation, batch)
    ablated = model.run_with_hooks(batch, fwd_hooks=hooks)[3, -1]
    intact = model(batch)[3, -1]
    label = [int(x.removeprefix("label ")) for x in found.labels]
    for values, probability, z in ((found.intact, found.probability, intact),
                                   (found.ablated, found.probability_ablated, ablated)):  # fmt: skip
        want = (z - z.mean())[label].detach().numpy()
        assert values.sum(0) == pytest.approx(want, abs=2e-5)
        assert probability == pytest.approx(z.softmax(-1)[label].detach().numpy(), abs=1e-6)
    assert found.parts == ["embed", "L0H0", "L0H1", "L1H0", "L1H1", "bias"]
    assert list(found.probability) == sorted(found.probability, reverse=True)
    assert int(intact.argmax()) in label
    assert int(ablated.argmax()) in label


def test_average_contributions_are_the_attribution_table(run, bench, settle):
    view = settle("?step=60&evaluator=icl&heads=1.1")
    found = logit_view(bench, run, view)
    table = logit_attribution(run.series, [60], ["icl"], progress=False)
    for column, metric in enumerate(("logit_in_context", "logit_in_weights")):
        rows = table[table.metric == metric].set_index("intervention").value
        assert dict(zip(found.parts, found.intact[:, column], strict=True)) == pytest.approx(dict(rows), abs=1e-6)
    assert found.ablated[found.parts.index("L1H1")] == pytest.approx(0)


def test_the_three_answers_of_a_sequence(run):
    for name, batch in run.sets.items():
        for i in range(5):
            right = answers(run, name, i)
            assert right.true == int(batch.target[i])
            assert right.in_weights == int(batch.canonical[i, -1])
            if name in ("icl", "flip"):
                assert right.in_context == right.true
            if name in ("ciwl", "iwl"):
                assert right.in_context is None
                assert right.true == right.in_weights
            listed = tokens(run, name, i)
            assert [t.name for t in listed] == ["x1", "y1", "x2", "y2", "query"]
            marked = [t.label for t in listed if "true" in t.marks]
            assert marked == ([] if name == "iwl" else [right.true] * len(marked))
            assert all(t.image is None for t in listed)
    flip = answers(run, "flip", 0)
    assert flip.in_context != flip.in_weights
    assert flip.marks(flip.true) == ("true", "in context")


def test_drawings_are_shown_where_the_bank_has_them(run, monkeypatch):
    bank = run.series.bank
    side = np.linspace(0, 1, 25).reshape(5, 5).astype(np.float32)
    images = np.broadcast_to(side, (*bank.exemplars.shape[:2], 5, 5))
    drawn = Bank(bank.exemplars, bank.label_of_class, bank.n_classes, bank.n_exemplars, images=images)
    monkeypatch.setattr(type(run), "part", lambda self, name: drawn.train())
    listed = tokens(run, "icl", 0)
    assert [t.image is not None for t in listed] == [True, False, True, False, True]
    assert listed[0].image == picture(side)
    assert listed[0].image.startswith("data:image/png;base64,iVBOR")


def test_two_checkpoints_of_a_run_share_their_sequences(run, bench, library, settle):
    view = settle("?step=60&with_step=20&heads=0.1")
    found = compare(bench, library, run, view)
    assert found.same_sequences
    for name, difference in found.difference.items():
        assert difference.value == pytest.approx(found.b.numbers[name].value - found.a.numbers[name].value)
        right = [bench.right(run, s, name, view.ablation) for s in (60, 20)]
        assert difference == paired(*right)
    for side, step in ((found.a, 60), (found.b, 20)):
        want = patterns(run.series, [step], "icl", ablate=view.ablation).values[0].numpy()
        assert np.array_equal(side.patterns, want)
    assert found.aligned


def test_runs_of_other_shapes_compare_intact(bench, folder):
    library = Library(folder)
    view = library.settled(View.from_query("?run=known&step=5&heads=1.3&with_run=tiny"))
    found = compare(bench, library, library.run("known"), view)
    assert not found.same_sequences
    assert found.b.note == "intact: it has not all of the ablated heads"
    assert found.b.run.series.name == "tiny"
    d, a, b = found.difference["ciwl"], found.a.numbers["ciwl"], found.b.numbers["ciwl"]
    assert d.value == pytest.approx(b.value - a.value)
    assert d.low < d.value < d.high
    assert len(found.b.heads) == 4
    assert found.b.attention.ablated is None
    assert found.b.patterns.shape[:2] == (2, 2)
    assert not found.aligned
    several = library.settled(View.from_query(f"?run=known&with_run=tiny&sequence={len(found.b.run.sets['icl'])}"))
    found = compare(bench, library, library.run("known"), several)  # a sequence that only one side has
    assert "sequence" in found.a.attention.what
    assert found.b.attention.what.startswith("mean over")


def test_attribution_under_edits_leaves_the_forward_pass_alone(run):
    """`attribute` without edits is as before."""
    params = run.series.params([60])
    batch, model = run.sets["icl"], run.series.config.model
    total = sum(x for x in attribute(params, batch, model, batch.target).values())
    final = forward(params, batch, model).final
    z = final @ params["unembed.W_U"][:, None] + params["unembed.b_U"]
    want = z[0, 0].gather(-1, batch.target[:, None])[:, 0] - z[0, 0].mean(-1)
    assert torch.allclose(total[0], want, atol=1e-4)
