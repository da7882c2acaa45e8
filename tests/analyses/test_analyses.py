"""The analyses on a series whose answers are known: numbers, sentences, pictures, files."""

import dataclasses
import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import torch
from altered_runs import without_weights
from known_models import INDUCTION_HEAD, PREVIOUS_TOKEN_HEAD, lookup_model
from known_series import write_series

import analyses
import analyses.induction_heads
from analyses.attention_over_time import TARGETS, moments, strongest_head
from analyses.controls import CONTROLS, described, random_sets, spread
from analyses.findings import Findings
from analyses.head_ablations import icl_heads
from mechicl.config import ModelConfig
from mechicl.errors import ConfigError, SeriesError
from mechicl.interventions import AblateHeads
from mechicl.measures.tables import COLUMNS
from mechicl.series import open_series
from mechicl.series.choosing import chosen

CIRCUIT = (PREVIOUS_TOKEN_HEAD, INDUCTION_HEAD)


@pytest.fixture(scope="module")
def found(known_series) -> dict[str, Findings]:
    return {name: analyses.get(name)(known_series, progress=False) for name in analyses.NAMES}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """One checkpoint, of a model that never learns in context."""
    config, weights = lookup_model()
    config = dataclasses.replace(config, n_eval=60)
    return write_series(tmp_path_factory.mktemp("begun") / "begun", config, {0: weights})


def test_every_analysis_answers_its_question(found):
    assert (
        tuple(found)
        == analyses.NAMES
        == (
            "transience",
            "induction_heads",
            "attention_over_time",
            "head_ablations",
            "circuits",
            "circuit_formation",
        )
    )
    for name, findings in found.items():
        assert findings.name == name
        assert findings.question.endswith("?")
        assert "\n" not in findings.question
        assert findings.text
        assert all(re.search(r"\d", line) for line in findings.text), name
        assert list(findings.table.columns)[: len(COLUMNS)] == list(COLUMNS)
        assert set(findings.table.run) == {"known"}
        assert findings.figures
        assert all(isinstance(f, go.Figure) and f.data for f in findings.figures.values())


@pytest.mark.parametrize("name", analyses.NAMES)
def test_whichever_checkpoints_are_chosen_those_that_sentences_are_about_are_there(known_series, found, name):
    some = chosen(known_series, "0")
    assert some.steps == [0]
    told = analyses.get(name)(some, progress=False)
    assert told.text == found[name].text
    assert {5, 10} <= set(told.table.step)


def test_of_chosen_checkpoints_that_lack_the_peaks_weights(known_series):
    some = chosen(without_weights(known_series, 5), "0")
    with pytest.raises(SeriesError, match="at step 5, but the nearest weights"):
        analyses.get("induction_heads")(some, progress=False)
    assert set(analyses.get("transience")(some, progress=False).table.step) >= {0, 5, 10}


def test_without_the_peaks_weights_there_is_no_analysis_of_them(known_series):
    ends = without_weights(known_series, 5)
    assert analyses.get("transience")(ends, progress=False).table.equals(
        analyses.get("transience")(known_series, progress=False).table
    )
    for name in analyses.NAMES[1:]:
        with pytest.raises(SeriesError, match=r"at step 5, but the nearest weights that it kept are of step \d+\. "):
            analyses.get(name)(ends, progress=False)


def test_an_unknown_analysis_is_refused():
    with pytest.raises(ConfigError, match="no analysis named 'heads'; there are transience, induction_heads"):
        analyses.get("heads")


def test_transience(found, known_series):
    findings = found["transience"]
    table, text = findings.table, findings.text
    icl = known_series.curve("icl")[1]
    assert text[0].startswith("ICL rises through half-way at 20 sequences, peaks at 1.000 (40), is half-way back ")
    assert f"ends at {icl[-1]:.3f} (n = 500 sequences; chance 0.500)" in text[0]
    assert "is half-way back to chance at 50, and ends at 0.000" in text[1]
    assert re.fullmatch(r"CIWL rises through half-way at \d+ sequences and ends at 1\.000 \(chance 0\.500\)\.", text[2])
    assert text[3] == "Pure IWL rises through half-way at 61 sequences and ends at 1.000 (chance 0.062)."  # 1 of 16
    assert text[4] == "The training loss is 0.500 at ICL's peak and 0.010 at the end: it falls while ICL fades."
    assert table[(table.evaluator == "flip") & (table.metric == "peak")].value.item() == 40
    assert table[(table.evaluator == "flip") & (table.metric == "half_decay")].value.item() == pytest.approx(50)
    assert np.isnan(table[(table.evaluator == "iwl") & (table.metric == "half_decay")].value.item())
    recorded = table[table.metric.isin(["in_context_acc", "acc", "loss"])]
    assert len(recorded) == 3 * 6 * 3
    want = known_series.metrics.sort_values("step", kind="stable")
    assert recorded.value.tolist() == want.value.tolist()
    assert len(table) == len(recorded) + 5 * 5


def test_curves_that_are_there_from_the_start_have_formed(begun):
    text = analyses.get("transience")(begun, progress=False).text
    assert text[0].startswith("ICL never rose .1 above chance (0.500); it ends at 0.")
    assert text[1] == "Flip never rose .1 above chance (0.500); it ends at 0.000."
    assert text[2] == "CIWL rises through half-way at 0 sequences and ends at 1.000 (chance 0.500)."
    assert text[3] == "Pure IWL rises through half-way at 0 sequences and ends at 1.000 (chance 0.062)."
    assert len(text) == 4


def test_a_loss_that_does_not_fall_is_said_not_to(tmp_path):
    from known_models import induction_model

    config, circuit = induction_model()
    weights = {0: circuit, 5: circuit, 10: lookup_model()[1]}
    series = write_series(tmp_path / "x", dataclasses.replace(config, n_eval=60), weights, loss={5: 0.1, 10: 0.4})
    text = analyses.get("transience")(series, progress=False).text
    assert text[-1] == "The training loss is 0.100 at ICL's peak and 0.400 at the end: it does not fall after the peak."


def test_induction_heads(found):
    findings = found["induction_heads"]
    text = findings.text
    assert "At Flip's peak (40 sequences, n = 500): the strongest induction head is L1H2" in text[0]
    assert "(induction strength 1.00 [1.00" in text[0]
    assert "uniform attention has 0.00" in text[0]
    assert "mean induction strength of 0.25 " in text[1]
    assert "to 1.00) at the peak" in text[1]
    assert "previous-token head" in text[2]
    assert "uniform attention has 0.38" in text[2]
    assert text[3].startswith("The last layer's heads together add +20.00 logits to the in-context label")
    assert text[3].endswith("and +0.00 at the end.")
    assert len(text) == 4  # no head before the last layer looks at the match more than uniform attention does
    strength, previous, attribution = (
        findings.figures[k].data[0] for k in ("induction_strength", "previous_token", "attribution")
    )
    assert list(strength.y) == [f"L{la}H{h}" for la in (0, 1) for h in range(4)]
    at_peak = np.array(strength.z, dtype=float)[:, 1]
    assert at_peak[6] == pytest.approx(1, abs=1e-3)
    assert np.delete(at_peak, [1, 6]) == pytest.approx(0, abs=1e-6)
    assert np.array(previous.z, dtype=float)[1, 1] == pytest.approx(1, abs=1e-3)
    logits = np.array(attribution.z, dtype=float)
    assert logits[6].tolist() == pytest.approx([0, 20, 0], abs=0.02)
    assert (attribution.zmin, attribution.zmax) == (-20, 20)
    assert np.delete(logits, 6, axis=0) == pytest.approx(0, abs=1e-4)


def test_a_head_is_called_something_only_where_it_stands_out(tmp_path):
    """A model that answers in context by an induction head, while no label attends to the exemplar before it."""
    from known_models import induction_model

    config, circuit = induction_model()
    config = dataclasses.replace(config, n_eval=100)
    text = analyses.get("induction_heads")(
        write_series(tmp_path / "circuit", config, {0: lookup_model()[1], 5: circuit, 10: circuit}), progress=False
    ).text
    assert "the strongest induction head is L1H2" in text[0]
    assert "the strongest previous-token head is L0H1 (previous-token score at labels 1.00" in text[2]
    assert "1 of 8 heads are above both" in text[2]
    table = analyses.induction_heads.attention_scores(
        write_series(tmp_path / "even", config, {5: _evenly(circuit)}), progress=False
    )
    untrained = dict.fromkeys(table.metric, 0.0)
    for metric, what in (("induction_strength", "an induction head"), ("label_to_exemplar", "a previous-token head")):
        rows = table[(table.evaluator == "flip")]
        said = analyses.induction_heads._named(rows, metric, 5, what.split(" ", 1)[1], untrained)
        assert said.startswith(f"no head is called {what}: the highest")
        assert f"uniform attention has {rows[rows.metric == metric].uniform.iloc[0]:.2f}" in said


def _evenly(weights: dict) -> dict:
    """The same weights with heads that attend evenly."""
    return {name: torch.zeros_like(w) if name.endswith(("W_Q", "W_K")) else w for name, w in weights.items()}


def test_attention_over_time(found, known_series):
    findings = found["attention_over_time"]
    assert set(findings.figures) == {"targets", "patterns_onset", "patterns_peak", "patterns_end", "animation"}
    peak = next(line for line in findings.text if line.startswith("At peak (40 sequences)"))
    # Layer 0: one head of four attends the exemplar alone, three attend evenly (3/8).
    assert f"labels attend {(1 + 3 * 3 / 8) / 4:.2f} to their exemplar and {3 * 3 / 8 / 4:.2f} to themselves" in peak
    assert "uniform attention: 0.38 each" in peak
    assert "uniform attention: 0.20 and 0.20" in peak
    # Layer 1: one head attends the matching label alone, three attend evenly (1/5).
    assert f"attends {(1 + 3 / 5) / 4:.2f} to the matching exemplar's label and {3 / 5 / 4:.2f} to the others" in peak
    assert "L1H2" in findings.figures["animation"].layout.title.text
    targets = findings.figures["targets"]
    assert len(targets.data) == 2 * 2 * len(TARGETS)
    even = [t for t in targets.data if t.name == "uniform attention"]
    assert [set(np.round(t.y, 3)) for t in even[: len(TARGETS)]] == [{0.375}] * 2 + [{0.2}] * 4
    label, colour, _ = TARGETS["query_to_label"]
    line = [t for t in targets.data if t.name == label][1]
    assert line.line.color == colour
    assert list(line.x) == [40, 80]
    assert line.y[0] == pytest.approx(0.4, abs=1e-3)
    # Onset is at 20.5 sequences: nearer to 40 than to 0.
    assert moments(known_series) == {"onset": 5, "peak": 5, "end": 10}
    flip = findings.table[findings.table.evaluator == "flip"]
    assert strongest_head(known_series, flip) == INDUCTION_HEAD


@pytest.mark.slow
def test_where_icl_never_formed_the_moments_are_of_the_run(begun, tiny_series):
    assert moments(begun) == {"start": 0, "middle": 0, "end": 0}
    steps = list(moments(tiny_series).values())
    assert set(steps) <= set(tiny_series.steps)
    assert steps[-1] == 60


def test_head_ablations_find_the_circuit_and_nothing_else(found, known_series):
    findings = found["head_ablations"]
    assert icl_heads(known_series) == CIRCUIT
    table = findings.table
    group = str(AblateHeads(heads=CIRCUIT))
    assert findings.text[0] == "ICL heads (chosen at 40 sequences on other sequences): L0H1 L1H2."
    grouped = table[table.condition.notna()]
    assert set(grouped.condition) == {"intact", "ICL heads", "random heads"}
    assert set(grouped[grouped.condition == "ICL heads"].intervention) == {group}
    random = grouped[grouped.condition == "random heads"]
    assert random.intervention.nunique() == 9  # three other heads in each layer
    assert not random.intervention.str.contains("L0H1|L1H2").any()

    def at(step, evaluator, condition):
        rows = grouped[(grouped.step == step) & (grouped.evaluator == evaluator) & (grouped.condition == condition)]
        return set(rows.value)

    for evaluator in ("icl", "flip"):
        assert at(5, evaluator, "intact") == at(5, evaluator, "random heads") == {1.0}
        (cut,) = at(5, evaluator, "ICL heads")
        assert cut == pytest.approx(0.5, abs=0.07)
    for evaluator in ("icl", "flip", "ciwl", "iwl"):  # the lookup table has no use for heads
        assert at(10, evaluator, "intact") == at(10, evaluator, "ICL heads") == at(10, evaluator, "random heads")
    (cut,) = at(5, "icl", "ICL heads")
    others = "1.000 (1.000 to 1.000, 9 sets)"  # of one head of each layer, three others there
    said = (
        "Removing them at ICL's peak (without others: all 9 other sets of the same layers and size (median, "
        "range)): ICL 1.000"
    )
    assert f"{said} → {cut:.3f}, without others {others}" in findings.text[1]
    assert f"IWL 1.000 → 1.000, without others {others}" in findings.text[2]
    assert "2 of 8 heads cost more than .05" in findings.text[3]
    assert "'s, +0.000 [-0.0" in findings.text[4]
    assert "0 of 8 heads cost more than .05" in findings.text[4]


def test_zero_and_mean_ablations_are_their_own(found, known_series):
    """Single heads under both kinds, in one table: each as it is when measured alone."""
    table = found["head_ablations"].table
    single = table[table.condition.isna()]
    assert single.intervention.nunique() == 16
    for kind in ("zero", "mean"):
        alone = known_series.evaluate([5], ["icl", "flip", "ciwl"], AblateHeads(heads=(INDUCTION_HEAD,), kind=kind))
        for evaluator in ("icl", "flip", "ciwl"):

            def pick(t, evaluator=evaluator, kind=kind):
                where = (t.step == 5) & (t.evaluator == evaluator) & (t.metric == "in_context_acc")
                return t[where & (t.intervention == f"{kind} L1H2")].value.item()

            assert pick(single) == pick(alone)
    figures = found["head_ablations"].figures
    assert set(figures) == {"zero_icl", "zero_ciwl", "mean_icl", "mean_ciwl", "icl_heads"}
    cells = np.array(figures["zero_icl"].data[0].z, dtype=float)
    assert cells[[1, 6], 1] == pytest.approx(-0.5, abs=0.07)
    assert np.delete(cells, [1, 6], axis=0).tolist() == np.zeros((6, 3)).tolist()


def test_the_heads_are_chosen_on_other_sequences_than_are_reported(known_series, monkeypatch):
    import analyses.head_ablations as module

    splits, real = [], module.evaluate

    def spy(series, *args, **kwargs):
        splits.append((kwargs.get("split", 0), args[0] if args else None))
        return real(series, *args, **kwargs)

    monkeypatch.setattr(module, "evaluate", spy)
    icl_heads(known_series)
    assert splits == [(1, [5])]  # another set, at Flip's peak alone


def test_random_sets_are_distinct_fixed_and_matched_by_layer():
    model = ModelConfig(n_layers=3, n_heads=8)
    chosen = ((0, 1), (0, 2), (0, 3), (1, 0), (2, 7), (2, 1))
    got = random_sets(model, chosen)
    assert got == random_sets(model, chosen)
    assert len(got) == len(set(got)) == CONTROLS == 20
    for control in got:
        assert control.kind == "zero"
        assert not set(control.heads) & set(chosen)
        assert [la for la, _ in control.heads] == [0, 0, 0, 1, 2, 2]
    one_layer = tuple((0, h) for h in range(4))
    assert random_sets(model, one_layer) == [AblateHeads(heads=tuple((0, h) for h in range(4, 8)))]
    assert random_sets(ModelConfig(n_layers=1, n_heads=1), ((0, 0),)) == []  # taking out nothing is no control


@pytest.mark.parametrize(
    ("layers", "heads", "chosen", "sets"),
    [
        (1, 8, ((0, 0),), 7),
        (2, 8, ((0, 0), (1, 0)), CONTROLS),
        (1, 4, ((0, 0), (0, 1)), 1),
        (2, 4, ((0, 1), (1, 2)), 9),
        (1, 7, ((0, 0), (0, 1), (0, 2)), 4),
        (3, 4, ((0, 0), (0, 1), (0, 2), (0, 3)), CONTROLS),
    ],
)
def test_there_are_twenty_controls_or_every_one_that_exists(layers, heads, chosen, sets):
    got = random_sets(ModelConfig(n_layers=layers, n_heads=heads, d_model=8 * heads), chosen)
    assert len(set(got)) == len(got) == sets
    said = described(str(AblateHeads(heads=chosen)), list(map(str, got)))
    assert ("the only other set" in said) == (sets == 1)
    assert (f"all {sets} other sets" in said) == (1 < sets < CONTROLS)
    assert (f"{CONTROLS} random other sets" in said) == (sets == CONTROLS)
    assert ("range" in said) == (sets > 1)  # one set has no spread
    same = all([la for la, _ in c.heads] == [la for la, _ in chosen] for c in got)
    assert ("same layers" in said) == same == (layers < 3)  # a whole layer: its controls are of others
    values = pd.Series(np.linspace(0, 1, sets))
    assert str(sets) in spread(values) if sets > 1 else "the only such set" in spread(values)


def test_no_control_is_said_to_be_none():
    assert described("zero L0H0", []) == "no other heads to compare with"


def test_a_control_of_fewer_heads_is_said_to_be_one():
    (only,) = random_sets(ModelConfig(n_layers=1, n_heads=8), tuple((0, h) for h in range(5)))
    assert described("zero L0H0 L0H1 L0H2 L0H3 L0H4", [str(only)]) == (
        "the only other set of fewer heads (the model has no more)"
    )


def test_no_spread_is_said_of_none():
    assert spread(pd.Series(dtype=float)) == "- (there are none)"


def test_legend_and_table_hold_the_controls_that_were_run(found):
    findings = found["head_ablations"]
    sets = findings.table[findings.table.condition == "random heads"].intervention.nunique()
    names = {t.name for t in findings.figures["icl_heads"].data if t.showlegend}
    assert f"all {sets} other sets of the same layers and size (median, range), ablated" in names
    assert f"all {sets} other sets" in findings.text[1]


def test_a_single_heads_loss_is_named_only_where_it_is_sure(found):
    from analyses.head_ablations import _against_others, _costliest

    assert "the single head whose loss costs ICL most is L" in found["head_ablations"].text[3]
    assert "for 2 of 8 heads a loss is sure" in found["head_ablations"].text[3]
    assert "no single head's loss is sure to cost ICL anything" in found["head_ablations"].text[4]
    rows = pd.DataFrame(
        {
            "evaluator": "icl",
            "metric": "in_context_acc",
            "layer": 0,
            "head": range(16),
            "effect": [-0.03] + [0.0] * 15,
            "effect_low": -0.055,
            "effect_high": [-0.005] + [0.02] * 15,
        }
    )
    assert "the single head" in _costliest(rows[:1])
    assert "no single head's loss is sure" in _costliest(rows)  # the worst of 16
    assert "0 of 9 other sets cost as much" in found["head_ablations"].text[5]
    group = pd.DataFrame(
        {
            "evaluator": "flip",
            "metric": "in_context_acc",
            "condition": ["ICL heads", "random heads"],
            "effect": [-0.01, -0.02],
            "effect_low": -0.03,
            "effect_high": [0.01, -0.01],
        }
    )
    assert "not shown to matter" in _against_others(group)
    assert "1 of 1 other sets cost as much" in _against_others(group.assign(effect_high=-0.001))


@pytest.mark.slow
def test_a_run_of_one_checkpoint_can_be_analysed(begun):
    for name in analyses.NAMES:
        findings = analyses.get(name)(begun, progress=False)
        assert len(findings.table)
        assert set(findings.table.step) == {0}
        for figure in findings.figures.values():
            assert figure.to_json()
        if name in ("induction_heads", "head_ablations", "circuits", "circuit_formation"):
            assert findings.text[0].startswith("ICL never formed in this run")


@pytest.mark.parametrize("name", analyses.NAMES)
def test_a_run_of_no_checkpoint_cannot(tmp_path, name):
    series = write_series(tmp_path / "empty", lookup_model()[0], {})
    with pytest.raises(SeriesError, match=r"no metrics yet|no checkpoints to measure"):
        analyses.get(name)(series, progress=False)


def test_saving(found, tmp_path):
    for name, findings in found.items():
        paths = findings.save(tmp_path / "analysis")
        assert paths[0] == tmp_path / "analysis" / f"{name}.parquet"
        assert all(p.is_file() for p in paths)
        back = pd.read_parquet(paths[0])
        pd.testing.assert_frame_equal(back, findings.table)
        lines = (tmp_path / "analysis" / f"{name}.md").read_text().splitlines()
        assert lines[0] == f"# {findings.question}"
        assert [x.removeprefix("- ") for x in lines[2:]] == findings.text
        pages = [p for p in paths if p.suffix == ".html"]
        assert {p.stem for p in pages} == {f"{name}_{key}" for key in findings.figures}
        for page in pages:
            text = page.read_text()
            assert re.findall(r'<script[^>]+src="([^"]*)"', text) == ["plotly.min.js"]
            assert page.stat().st_size < 500_000
    script = (tmp_path / "analysis" / "plotly.min.js").read_text()
    assert len(script) > 3_000_000
    assert not list((tmp_path / "analysis").glob(".*"))  # nothing half-written


def test_findings_without_figures_need_no_script(tmp_path):
    table = pd.DataFrame({"step": [0, 1], "value": [0.5, float("nan")]})
    paths = Findings("x", "Why?", ["Because."], table).save(tmp_path)
    assert [p.name for p in paths] == ["x.parquet", "x.md"]
    pd.testing.assert_frame_equal(pd.read_parquet(paths[0]), table)


@pytest.mark.slow
def test_a_trained_series(tiny_series):
    before = {p: p.stat().st_mtime_ns for p in tiny_series.root.rglob("*")}
    for name in analyses.NAMES:
        findings = analyses.get(name)(open_series(tiny_series.root), progress=False)
        assert set(findings.table.step) <= set(tiny_series.steps)
        assert findings.table.value.notna().sum() > 50
    assert {p: p.stat().st_mtime_ns for p in tiny_series.root.rglob("*")} == before  # `run` only reads
