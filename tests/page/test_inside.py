"""Head grid, patterns, logits, one sequence and two checkpoints: the numbers of the measures, in their places."""

import dataclasses
import re

import numpy as np
import pytest
import torch

from mechicl.engine.forward import forward
from mechicl.errors import SeriesError
from mechicl.figures.attention import patterns
from mechicl.figures.scales import fitted
from mechicl.interventions import AblateHeads, every_head
from mechicl.measures.ablation import evaluate
from mechicl.measures.attention import attention_scores
from mechicl.measures.attribution import attribute, logit_attribution
from mechicl.measures.paired_effects import effects
from mechicl.page.compare import compare
from mechicl.page.figures import attention_figure
from mechicl.page.heads import MEASURES, Grid, head_grid, head_scores
from mechicl.page.inside import attention, logit_view
from mechicl.page.numbers import Number, paired
from mechicl.page.payloads import head_cells, label_rows, shade, token
from mechicl.page.runs import Library
from mechicl.page.sequence import answers, picture, tokens
from mechicl.page.state import View
from mechicl.page.texts import signed
from mechicl.protocol.attention_scores import SCORES
from mechicl.tasks.exemplar_label import shown
from mechicl.tasks.exemplar_label.banks.bank import Bank


@pytest.mark.parametrize("evaluator", ["icl", "flip", "ciwl"])
@pytest.mark.parametrize("measure", ["previous_token", "induction_strength", "logit"])
def test_the_grid_is_the_measure(run, bench, settle, measure, evaluator):
    view = settle(f"?step=60&measure={measure}&evaluator={evaluator}&heads=0.0")
    view = dataclasses.replace(view, heads=())
    found = head_scores(bench, run, view)
    if measure == "logit":
        table = logit_attribution(run.series, [60], [evaluator], progress=False)
        table = table[(table.metric == "logit_in_context") & table["head"].notna()]
    else:
        table = attention_scores(run.series, [60], [evaluator], progress=False)
        table = table[table.metric == measure]
    want = {(r.layer, r.head): (r.value, r.ci_low, r.ci_high, r.n) for r in table.itertuples()}
    assert found.keys() == want.keys()
    for head, number in found.items():
        assert (number.value, number.low, number.high, number.n) == pytest.approx(want[head], abs=1e-12)
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


def test_cells_say_their_number_its_interval_and_whether_it_leaves_out_zero(settle):
    values = {(0, 1): Number(-0.25, -0.3, -0.2, 50), (0, 2): Number(0.01, -0.03, 0.05, 50)}
    grid = Grid(MEASURES["effect_icl"], values, -0.3, 0.0, 0.3)
    cells = head_cells(grid, settle("?measure=effect_icl&heads=0.0"), 1, 3)
    assert [c["text"] for c in cells] == ["–", "−.25", "+.01"]
    assert [c["clear"] for c in cells] == [False, True, False]
    assert "ablated already" in cells[0]["says"]
    assert cells[1]["says"].endswith("−.250 [−.300, −.200] change in accuracy, n = 50")
    assert shade(0.5, "effect") != shade(0.2, "effect") != shade(0.8, "effect")
    assert shade(-1, "effect") == shade(0, "effect")  # beyond the range: as at its end
    for place in (0, 0.5, 1):
        light, dark = re.fullmatch(r"light-dark\((.*),(.*)\)", shade(place, "effect")[0]).groups()
        assert light != dark


@pytest.mark.parametrize("measure", ["previous_token", "induction_strength"])
@pytest.mark.parametrize("evaluator", ["icl", "flip", "train"])
def test_what_scores_like_uniform_attention_has_no_colour(run, bench, settle, measure, evaluator):
    """Its value stands beside every score, and equal distances from it are equally strong."""
    view = settle(f"?step=0&measure={measure}&evaluator={evaluator}")
    grid = head_grid(bench, run, view)
    table = attention_scores(run.series, [0], [evaluator], progress=False)
    assert grid.uniform == table[table.metric == measure].uniform.iloc[0]
    assert grid.place(grid.uniform) == 0.5
    assert grid.place(grid.uniform + 0.1) - 0.5 == pytest.approx(0.5 - grid.place(grid.uniform - 0.1))
    assert min(grid.place(grid.low), 1 - grid.place(grid.high)) == pytest.approx(0)
    for cell in head_cells(grid, view, 2, 2):
        assert cell["beside"].removeprefix("+") == signed(grid.uniform, 2).removeprefix("+")
    untrained = [abs(grid.place(n.value) - 0.5) for n in grid.values.values()]
    assert max(untrained) < 0.12  # the untrained model is nearly without colour


def test_one_name_is_one_score_on_the_page_and_in_the_report(run):
    for name in ("previous_token", "induction_strength"):
        assert (MEASURES[name].name, MEASURES[name].meaning) == (SCORES[name].name, SCORES[name].meaning)
    assert len({m.name for m in MEASURES.values()}) == len(MEASURES)


@pytest.mark.parametrize("measure", ["effect_flip", "logit"])
def test_a_range_is_fitted_about_zero_and_stays_while_one_scrubs(run, bench, settle, measure):
    grids = {step: head_grid(bench, run, settle(f"?step={step}&measure={measure}")) for step in run.steps}
    anchors = {run.first_look(), run.steps[-1]}
    largest = {step: max(abs(n.value) for n in grid.values.values()) for step, grid in grids.items()}
    for step, grid in grids.items():
        assert grid.low == -grid.high
        assert grid.middle == 0
        assert grid.high == fitted([largest[s] for s in {*anchors, step}], grid.measure.least)
    quiet = [s for s in grids if largest[s] <= max(largest[a] for a in anchors)]
    assert len(quiet) >= 2
    assert len({grids[s].high for s in quiet}) == 1
    ablated = head_grid(bench, run, settle(f"?step={quiet[0]}&measure={measure}&heads=0.1"))
    largest_now = max(abs(n.value) for n in ablated.values.values())
    assert ablated.high == fitted([*(largest[s] for s in anchors), largest_now], ablated.measure.least)


def test_a_range_passes_over_checkpoints_that_cannot_be_read(bench, folder):
    library = Library(folder)
    broken = library.run("broken")
    object.__setattr__(broken, "steps", [0, 10, 20])  # its end is the broken one
    view = library.settled(View.from_query("?run=broken&step=10&measure=effect_icl"))
    assert head_grid(bench, broken, view).high > 0
    with pytest.raises(SeriesError):
        head_grid(bench, broken, dataclasses.replace(view, step=20))


@pytest.mark.parametrize("kind", ["zero", "mean", "pattern_preserving"])
@pytest.mark.parametrize("measure", ["previous_token", "logit", "effect_ciwl"])
def test_under_an_ablation_the_grid_is_of_the_model_as_it_is_edited(run, bench, settle, measure, kind):
    view = settle(f"?step=60&measure={measure}&evaluator=flip&heads=0.1&kind={kind}")
    found = head_scores(bench, run, view)
    series, batch = run.series, run.sets["flip"]
    model, hooks = series.model(60), series.model(60).hooks_for(view.intervention, batch)
    if measure == "previous_token":
        with model.hooks(fwd_hooks=hooks):
            _, cache = model.run_with_cache(batch)
        for (layer, head), number in found.items():
            want = cache["pattern", layer][:, head].diagonal(-1, 1, 2).mean()
            assert number.value == pytest.approx(float(want), abs=1e-5)
    elif measure == "logit":
        shown = logit_view(bench, run, view)
        for (layer, head), number in found.items():
            want = shown.ablated[shown.parts.index(f"L{layer}H{head}"), 0]
            assert number.value == pytest.approx(want, abs=1e-6)
    else:
        assert set(found) == {(0, 0), (1, 0), (1, 1)}  # L0H1 is out already
        before = bench.right(run, 60, "ciwl", view.intervention)
        for head, number in found.items():
            both = AblateHeads(heads=((0, 1), head), kind=kind)
            assert number == paired(before, bench.right(run, 60, "ciwl", both))


@pytest.mark.parametrize(
    ("heads", "kind", "free"),
    [
        ("0.1", "zero", {(1, 0), (1, 1)}),
        ("1.0", "mean", set()),
        ("0.1,1.0", "resample", {(1, 0), (1, 1)}),
        ("0.1", "pattern_preserving", set()),
        ("0.1", "value_preserving", {(1, 0), (1, 1)}),
    ],
)
def test_a_pattern_that_cannot_change_is_drawn_once_with_the_reason(run, bench, settle, heads, kind, free):
    """An ablated head's output is removed, not its pattern; and no difference of zeros is drawn as a finding."""
    found = attention(bench, run, settle(f"?step=60&evaluator=flip&heads={heads}&kind={kind}"))
    every = {(la, h) for la in (0, 1) for h in (0, 1)}
    assert every - found.same.keys() == free
    for layer, head in every:
        moved = np.abs(found.ablated[layer, head] - found.intact[layer, head]).max()
        assert (moved > 1e-6) == ((layer, head) in free), (layer, head)
    if kind != "pattern_preserving":
        first = tuple(map(int, heads.split(",")[0].split(".")))
        assert "output" in found.same[first]
        assert "pattern" in found.same[first]
    fig = attention_figure(found, "")
    drawn = [t for t in fig.data if np.isfinite(np.array(t.z, dtype=float)).any()]
    assert len(drawn) == 4 + 2 * len(free)


@pytest.mark.parametrize("kind", ["zero", "mean", "resample", "pattern_preserving"])
@pytest.mark.parametrize("sequence", ["", "&sequence=3"])
def test_patterns_intact_and_ablated(run, bench, settle, kind, sequence):
    view = settle(f"?step=60&evaluator=flip&heads=0.1&kind={kind}{sequence}")
    found = attention(bench, run, view)
    for values, ablation in ((found.intact, None), (found.ablated, view.intervention)):
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
    hooks = model.hooks_for(view.intervention, batch)
    ablated = model.run_with_hooks(batch, fwd_hooks=hooks)[3, -1]
    intact = model(batch)[3, -1]
    label = [int(x.removeprefix("label ")) for x in found.labels]
    for values, probability, z in (
        (found.intact, found.probability, intact),
        (found.ablated, found.probability_ablated, ablated),
    ):
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


@pytest.mark.parametrize("evaluator", ["icl", "flip", "ciwl", "iwl"])
def test_average_logits_have_the_mean_probability_of_their_labels(run, bench, settle, evaluator):
    view = settle(f"?step=60&evaluator={evaluator}&heads=1.1")
    found = logit_view(bench, run, view)
    batch, model = run.sets[evaluator], run.series.model(60)
    labels = [batch.target, batch.trained_labels[:, -1]]
    if evaluator in ("ciwl", "iwl"):  # the same label: one column, with both marks
        labels = labels[:1]
        assert found.marks == [("true", "in weights")]
    hooks = model.hooks_for(view.intervention, batch)
    for z, got in (
        (model(batch), found.probability),
        (model.run_with_hooks(batch, fwd_hooks=hooks), found.probability_ablated),
    ):
        p = z[:, -1].softmax(-1)
        want = [float(p.gather(1, y[:, None]).detach().mean()) for y in labels]
        assert list(got) == pytest.approx(want, abs=1e-5)
    rows = label_rows(found)
    assert [row["intact"]["share"] for row in rows] == [round(100 * float(p), 1) for p in found.probability]
    assert all(row[side]["says"].startswith("mean p = ") for row in rows for side in ("intact", "ablated"))
    assert found.limit >= max(np.abs(found.intact).max(), np.abs(found.ablated).max())


def test_the_three_answers_of_a_sequence(run):
    for name, batch in run.sets.items():
        for i in range(5):
            right = answers(run, name, i)
            assert list(right) == list(run.series.task.marks)
            assert right["true"] == int(batch.target[i])
            assert right["in weights"] == int(batch.trained_labels[i, -1])
            if name in ("icl", "flip"):
                assert right["in context"] == right["true"]
            if name in ("ciwl", "iwl"):
                assert right["in context"] is None
                assert right["true"] == right["in weights"]
            listed = tokens(run, name, i)
            assert [t.name for t in listed] == ["x1", "y1", "x2", "y2", "query"]
            marked = [t.output for t in listed if "true" in t.marks]
            assert marked == ([] if name == "iwl" else [right["true"]] * len(marked))
            assert all(t.picture is None for t in listed)
    flip = answers(run, "flip", 0)
    assert flip["in context"] != flip["in weights"]
    (shown,) = {t.marks for t in tokens(run, "flip", 0) if t.output == flip["true"]}
    assert shown == ("true", "in context")


def test_drawings_are_shown_where_the_bank_has_them(run, monkeypatch):
    bank = run.series.bank
    side = np.linspace(0, 1, 25).reshape(5, 5).astype(np.float32)
    images = np.broadcast_to(side, (*bank.exemplars.shape[:2], 5, 5))
    drawn = Bank(bank.exemplars, bank.label_of_class, bank.n_classes, bank.n_exemplars, images=images)
    monkeypatch.setattr(shown, "part_shown", lambda source, name: drawn.train())
    listed = tokens(run, "icl", 0)
    assert [t.picture is not None for t in listed] == [True, False, True, False, True]
    image = token(listed[0])["image"]
    assert image == picture(side)
    assert image.startswith("data:image/png;base64,iVBOR")


def test_two_checkpoints_of_a_run_share_their_sequences(run, bench, library, settle):
    view = settle("?step=60&with_step=20&heads=0.1")
    found = compare(bench, library, run, view)
    assert found.same_sequences
    for name, difference in found.difference.items():
        assert difference.value == pytest.approx(found.b.numbers[name].value - found.a.numbers[name].value)
        right = [bench.right(run, s, name, view.intervention) for s in (60, 20)]
        assert difference == paired(*right)
    for side, step in ((found.a, 60), (found.b, 20)):
        want = patterns(run.series, [step], "icl", ablate=view.intervention).values[0].numpy()
        assert np.array_equal(side.patterns, want)
    assert found.aligned
    assert found.a.heads.values == head_scores(bench, run, view)  # as edited, not intact


def test_two_sides_have_one_range_of_colours(run, bench, library, settle):
    found = compare(bench, library, run, settle("?step=60&with_step=1&measure=logit"))
    assert found.a.heads.high == found.b.heads.high
    largest = max(abs(n.value) for side in (found.a, found.b) for n in side.heads.values.values())
    assert found.a.heads.high >= largest


def test_runs_of_other_shapes_compare_intact(bench, folder):
    library = Library(folder)
    view = library.settled(View.from_query("?run=known&step=5&heads=1.3&with_run=tiny"))
    found = compare(bench, library, library.run("known"), view)
    assert not found.same_sequences
    assert found.b.note == "intact: it lacks some of the changed parts"
    assert found.b.run.series.name == "tiny"
    d, a, b = found.difference["ciwl"], found.a.numbers["ciwl"], found.b.numbers["ciwl"]
    assert d.value == pytest.approx(b.value - a.value)
    assert d.low < d.value < d.high
    assert len(found.b.heads.values) == 4
    assert found.b.ablation is None
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
