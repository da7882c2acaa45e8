"""Figures hold the numbers they are given, in their places; the circuitsvis view is one safe offline page."""

import dataclasses
import html
import json
import math
import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
import pytest
import torch
from known_models import INDUCTION_HEAD, PREVIOUS_TOKEN_HEAD

from mechicl.errors import SeriesError
from mechicl.evaluators import EVALUATORS, applying
from mechicl.figures.attention import (
    Patterns,
    attention_grid,
    circuitsvis_bundle,
    circuitsvis_element,
    head_animation,
    patterns,
    show_attention,
)
from mechicl.figures.curves import evaluator_curves, seed_curves
from mechicl.figures.heatmaps import heads_by_time
from mechicl.figures.scales import colorscale
from mechicl.figures.style import COLOURS, NAMES, finish
from mechicl.interventions import AblateHeads
from mechicl.measures.phases import series_phases
from mechicl.tasks.exemplar_label.banks.bank import Bank


def named(fig: go.Figure, name: str):
    (trace,) = [t for t in fig.data if t.name == name]
    return trace


def same_scale(colours) -> list:
    """A colour scale as plotly writes it out."""
    return [list(x) for x in go.Figure(go.Heatmap(z=[[0]], colorscale=colours)).data[0].colorscale]


# Curves.


@pytest.mark.parametrize("log", [True, False])
def test_evaluator_curves_are_the_recorded_metrics(known_series, log):
    fig = evaluator_curves(known_series, series_phases(known_series), log)
    metrics = known_series.metrics
    first = 1 if log else 0  # step 0 has no place on a log axis
    for name in applying(known_series.config):
        evaluator = EVALUATORS[name]
        rows = metrics[(metrics.evaluator == name) & (metrics.metric == evaluator.primary_metric)][first:]
        line = named(fig, NAMES[name])
        assert list(line.x) == rows.sequences.tolist() == [0, 40, 80][first:]
        assert list(line.y) == rows.value.tolist()
        assert line.line.color == COLOURS[name]
        low, high = (t for t in fig.data if t.legendgroup == name and t.name is None)
        assert list(low.y) == rows.ci_low.tolist()
        assert list(high.y) == rows.ci_high.tolist()
        assert high.fill == "tonexty"
        assert low.mode == high.mode == "lines"  # plotly adds dots to short curves
    loss = named(fig, "Training loss")
    assert (list(loss.x), list(loss.y)) == ([40, 80], [0.5, 0.01])
    assert loss.yaxis == "y2"
    assert fig.layout.yaxis2.type == "log"
    assert fig.layout.xaxis.type == fig.layout.xaxis2.type == ("log" if log else "linear")
    assert "known" in fig.layout.title.text
    assert "500 sequences" in fig.layout.title.text


@pytest.mark.parametrize("log", [True, False])
def test_phase_lines_stand_where_icl_turns(known_series, log):
    icl = series_phases(known_series)["icl"]
    fig = evaluator_curves(known_series, {"icl": icl}, log)
    when = [icl.onset, icl.peak, icl.half_decay]
    assert [s.x0 for s in fig.layout.shapes] == [s.x1 for s in fig.layout.shapes] == pytest.approx(when)
    notes = [a for a in fig.layout.annotations if a.text.split()[0] in ("onset", "peak", "half-decay")]
    assert [a.x for a in notes] == pytest.approx([math.log10(t) if log else t for t in when])
    labels = zip(("onset", "peak", "half-decay"), when, strict=True)
    assert [a.text for a in notes] == [f"{label} {t:.0f}" for label, t in labels]


def test_without_phases_there_are_no_lines(tiny_series):
    assert not evaluator_curves(tiny_series).layout.shapes


def test_seed_curves_are_every_seed_and_the_median(known_series, tiny_series):
    known_series = dataclasses.replace(known_series, config=tiny_series.config.with_seed(3))
    other = dataclasses.replace(tiny_series, config=tiny_series.config.with_seed(7))
    fig = seed_curves([tiny_series, other, known_series], log=False)
    for name in ("icl", "flip", "ciwl", "iwl"):
        x, y = tiny_series.curve(name, EVALUATORS[name].primary_metric)
        thin = [t for t in fig.data if t.name is None and t.line.color == COLOURS[name]]
        assert len(thin) == 3
        assert list(thin[0].x) == x.tolist()
        assert list(thin[0].y) == y.tolist()
        assert "seed 7" in thin[1].hovertemplate
        thick = named(fig, NAMES[name])
        k = known_series.curve(name, EVALUATORS[name].primary_metric)
        every = sorted({t for t in (*x, *k[0]) if t <= min(x[-1], k[0][-1])})  # where all have come to
        assert set(x) & set(k[0]) == {0, 80}  # few are shared: between checkpoints, curves are straight
        assert list(thick.x) == every
        want = np.median([np.interp(every, x, y)] * 2 + [np.interp(every, *k)], axis=0)
        np.testing.assert_allclose(thick.y, want, atol=1e-12)
        assert thick.line.width > thin[0].line.width
    assert "3 seeds" in fig.layout.title.text
    assert "seeds 0, 7, 3" in fig.layout.title.text


# Heads by time.


def head_table() -> pd.DataFrame:
    """3 steps of 2 layers x 12 heads, in no order; value = layer + head/100 + step/10000."""
    rows = [(la, h, s) for la in range(2) for h in range(12) for s in (0, 10, 200)]
    rng = np.random.default_rng(0)
    rows = [rows[i] for i in rng.permutation(len(rows))]
    table = pd.DataFrame(rows, columns=["layer", "head", "sequences"]).astype({"layer": "Int64", "head": "Int64"})
    table["value"] = (table.layer + table["head"] / 100 + table.sequences / 10_000).astype(float)
    return table


def test_heads_by_time_puts_each_value_in_its_cell():
    fig = heads_by_time(head_table(), "T", "sub", limits=(0, 2), colorbar="bar")
    (map_,) = fig.data
    assert list(map_.y) == [f"L{la}H{h}" for la in range(2) for h in range(12)]  # 10 after 9, not after 1
    assert np.shape(map_.z) == (24, 3)
    for row, name in enumerate(map_.y):
        layer, head = map(int, name[1:].split("H"))
        for column, s in enumerate((0, 10, 200)):
            assert map_.z[row][column] == pytest.approx(layer + head / 100 + s / 10_000), (name, s)
            assert map_.customdata[row][column] == str(s)
    assert list(map_.x) == [0, 1, 2]
    assert list(fig.layout.xaxis.ticktext) == ["0", "10", "200"]
    assert list(fig.layout.xaxis.tickvals) == [0, 1, 2]
    assert fig.layout.yaxis.autorange == "reversed"
    assert fig.layout.yaxis.type == "category"
    assert "T" in fig.layout.title.text
    assert "sub" in fig.layout.title.text


def test_colours_diverge_only_about_zero():
    table = head_table()
    (plain,) = heads_by_time(table, "T", limits=(0, 1)).data
    (signed,) = heads_by_time(table, "T", limits=(-0.5, 0.5)).data
    assert (signed.zmin, signed.zmax, plain.zmin, plain.zmax) == (-0.5, 0.5, 0, 1)
    assert [list(x) for x in signed.colorscale] == same_scale(colorscale("change"))
    assert [list(x) for x in plain.colorscale] == same_scale(colorscale("attention"))


def test_a_map_of_effects_is_fitted_symmetric_about_zero_in_their_own_colours():
    table = head_table().assign(value=lambda t: -0.1 * t.value)  # from 0 to -.113
    (found,) = heads_by_time(table, "T", limits=None, meaning="effect").data
    assert (found.zmin, found.zmax) == (-0.15, 0.15)
    assert [list(x) for x in found.colorscale] == same_scale(colorscale("effect"))


def test_a_score_is_neutral_where_uniform_attention_scores():
    fig = heads_by_time(head_table(), "T", limits=(0, 1), baseline=("uniform attention", 0.25))
    (found,) = fig.data
    places = [p for p, colour in found.colorscale if colour.lower() == colorscale("change")[4][1].lower()]
    assert places == [0.25]
    assert 0.25 in found.colorbar.tickvals


def test_heads_by_time_of_another_column():
    table = head_table().assign(effect=lambda t: -t.value)
    (got,) = heads_by_time(table, "T", value="effect").data
    (want,) = heads_by_time(table, "T").data
    np.testing.assert_array_equal(got.z, -np.array(want.z))


def test_styles_are_per_figure_and_leave_plotly_alone():
    before = pio.templates.default
    fig = finish(go.Figure(), "A title", "and a line")
    assert fig.layout.title.text.startswith("<b>A title</b><br>")
    assert pio.templates.default == before
    assert fig.layout.paper_bgcolor == "white"


# Attention.


@pytest.fixture(scope="module")
def shown(known_series) -> Patterns:
    return patterns(known_series, [0, 5, 10], "flip")


def test_patterns_are_means_over_sequences_whose_matching_pair_comes_first(known_series, shown):
    batch = known_series.evaluation_set("flip")
    first = (batch.classes[:, 0] == batch.classes[:, 2]).nonzero()[:, 0]
    assert 200 < len(first) < 300
    assert shown.what == f"mean over {len(first)} flip sequences"
    assert shown.tokens == ["x1 match", "y1 match", "x2 other", "y2 other", "query"]
    assert shown.steps == [0, 5, 10]
    assert shown.values.shape == (3, 2, 4, 5, 5)
    model = known_series.model(10)
    _, cache = model.run_with_cache(batch[first])
    want = torch.stack([cache["pattern", la].mean(0) for la in (0, 1)])
    torch.testing.assert_close(shown.values[2], want, rtol=1e-4, atol=1e-5)
    circuit = shown.values[1]
    assert circuit[1, INDUCTION_HEAD[1], 4, 1] == pytest.approx(1, abs=1e-3)  # query -> y1
    for i in range(1, 5):
        assert circuit[0, PREVIOUS_TOKEN_HEAD[1], i, i - 1] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("evaluator", "tokens"),
    [
        ("icl", ["x1 match", "y1 match", "x2 other", "y2 other", "query"]),
        ("icl_holdout", ["x1 match", "y1 match", "x2 other", "y2 other", "query"]),
        ("ciwl", ["x1 other", "y1 own label", "x2 other", "y2 other", "query"]),
        ("iwl", ["x1 other", "y1 other", "x2 other", "y2 other", "query"]),
    ],
)
def test_what_the_positions_are_called(tiny_series, evaluator, tokens):
    got = patterns(tiny_series, [60], evaluator)
    assert got.tokens == tokens
    batch = tiny_series.evaluation_set(evaluator)
    first = batch.classes[:, 0] == batch.classes[:, 2]
    if evaluator == "ciwl":
        first = batch.labels[:, 0] == batch.trained_labels[:, 2]
    used = 50 if evaluator == "iwl" else int(first.sum())
    assert got.what == f"mean over {used} {evaluator} sequences"


def test_one_sequence_by_number(tiny_series):
    got = patterns(tiny_series, [60], "flip", sequence=7)
    batch = tiny_series.evaluation_set("flip")
    (a, b, q), (y1, y2) = batch.classes[7].tolist(), batch.labels[7].tolist()
    assert got.tokens == [f"x1 class {a}", f"y1 label {y1}", f"x2 class {b}", f"y2 label {y2}", f"query class {q}"]
    assert got.what == "flip sequence 7"
    _, cache = tiny_series.model(60).run_with_cache(batch[[7]])
    torch.testing.assert_close(got.values[0, 1], cache["pattern", 1][0], rtol=1e-4, atol=1e-6)
    with pytest.raises(SeriesError, match=r"sequence 50: flip has sequences 0\.\.49"):
        patterns(tiny_series, [60], "flip", sequence=50)


def test_classes_held_out_are_called_by_their_own_names(tiny_series, monkeypatch):
    """8 training classes come first: the held-out set's class 0 is the bank's ninth."""
    bank = tiny_series.bank
    with_names = dataclasses.replace(bank, names=tuple(f"c{i}" for i in range(12)))
    monkeypatch.setattr("mechicl.series.Series.source", property(lambda self: with_names))
    batch = tiny_series.evaluation_set("icl_holdout")
    names = [t.split()[1] for t in patterns(tiny_series, [60], "icl_holdout", sequence=0).tokens[::2]]
    assert names == [f"c{8 + int(c)}" for c in batch.classes[0]]
    assert isinstance(with_names, Bank)


def test_patterns_under_an_ablation(known_series, shown):
    ablate = AblateHeads(heads=(PREVIOUS_TOKEN_HEAD,))
    got = patterns(known_series, [5], "flip", ablate=ablate)
    assert got.what == f"{shown.what}, zero L0H1"
    torch.testing.assert_close(got.values[0, 0], shown.values[1, 0])  # layer 0 attends as before
    assert got.values[0, 1, INDUCTION_HEAD[1], 4, 1] < 0.6  # the query no longer finds y1
    held = patterns(known_series, [5], "flip", ablate=dataclasses.replace(ablate, kind="pattern_preserving"))
    torch.testing.assert_close(held.values[0], shown.values[1])


def test_the_grid_has_every_head_in_its_place(known_series, shown):
    fig = attention_grid(shown, known_series, 1)
    assert len(fig.data) == 8
    titles = {a.text: (a.x, a.y) for a in fig.layout.annotations}
    assert set(titles) == {f"L{la}H{h}" for la in range(2) for h in range(4)}
    for i, trace in enumerate(fig.data):
        layer, head = divmod(i, 4)
        z = np.array(trace.z, dtype=float)
        want = shown.values[1, layer, head].numpy()
        lower = np.tril_indices(5)
        np.testing.assert_allclose(z[lower], want[lower], atol=6e-5)
        assert np.isnan(z[np.triu_indices(5, 1)]).all()  # no future
        assert list(trace.x) == list(trace.y) == shown.tokens
        assert (trace.zmin, trace.zmax) == (0, 1)
        x_axis = fig.layout["x" + "axis" + trace.xaxis[1:]].domain
        y_axis = fig.layout["y" + "axis" + trace.yaxis[1:]].domain
        x, y = titles[f"L{layer}H{head}"]
        assert x_axis[0] <= x <= x_axis[1]
        assert y == pytest.approx(y_axis[1])
    assert "40 sequences (step 5)" in fig.layout.title.text


def test_the_animation_has_a_frame_per_step(known_series, shown):
    fig = head_animation(shown, known_series, *INDUCTION_HEAD)
    assert [f.name for f in fig.frames] == ["0 sequences", "40 sequences", "80 sequences"]
    for i, frame in enumerate(fig.frames):
        z = np.array(frame.data[0].z, dtype=float)
        np.testing.assert_allclose(z[4], shown.values[i, 1, 2, 4].numpy(), atol=6e-5)
    first = np.array(fig.data[0].z, dtype=float)
    np.testing.assert_array_equal(first, np.array(fig.frames[0].data[0].z, dtype=float))
    assert [s.args[0] for s in fig.layout.sliders[0].steps] == [(f.name,) for f in fig.frames]
    assert "L1H2" in fig.layout.title.text


def props(page: str) -> list[dict]:
    """The data that the page hands to circuitsvis."""
    found = re.findall(r"CircuitsVis\.render\(\"[^\"]+\", CircuitsVis\.AttentionHeads, (.*?)\);</script>", page)
    return [json.loads(x) for x in found]


def test_the_circuitsvis_page(known_series, shown, tmp_path):
    view = show_attention(known_series, 5, "flip")
    page = view.html
    bundle = circuitsvis_bundle()
    assert len(bundle) > 1_000_000
    assert page.count(bundle) == 1
    assert page.count("</script>") == page.replace(bundle, "").count("<script>") == 2
    (given,) = props(page)
    assert given["tokens"] == [token.replace(" ", "·") for token in shown.tokens]  # it takes blanks out
    assert given["attentionHeadNames"] == [f"L{la}H{h}" for la in (0, 1) for h in range(4)]
    np.testing.assert_allclose(given["attention"], shown.values[1].flatten(0, 1).numpy(), atol=6e-5)
    assert re.search(r'<div id="([^"]+)">', view.body)[1] == re.search(r'render\("([^"]+)"', view.body)[1]
    saved = view.save(tmp_path / "page.html")
    assert saved.read_text(encoding="utf-8") == page
    outside = page.replace(bundle, "")
    assert "http" not in outside


def test_one_layer_and_an_ablation(known_series):
    ablate = AblateHeads(heads=(PREVIOUS_TOKEN_HEAD,))
    (given,) = props(show_attention(known_series, 5, "flip", sequence=3, layer=1, ablate=ablate).html)
    assert given["attentionHeadNames"] == ["L1H0", "L1H1", "L1H2", "L1H3"]
    want = patterns(known_series, [5], "flip", 3, ablate).values[0, 1]
    np.testing.assert_allclose(given["attention"], want.numpy(), atol=6e-5)
    with pytest.raises(SeriesError, match=r"layer 2: known has layers 0\.\.1"):
        show_attention(known_series, 5, layer=2)
    with pytest.raises(SeriesError, match="no checkpoint at step 4"):
        show_attention(known_series, 4)


def test_in_a_notebook_it_is_an_iframe(known_series):
    view = show_attention(known_series, 5, layer=0)
    shown = view._repr_html_()
    inside = re.fullmatch(r'<iframe srcdoc="([^"]*)" style="[^"]*"></iframe>', shown)
    assert inside is not None
    assert html.unescape(inside[1]) == view.html


@pytest.mark.parametrize(
    "name", ["</script><script>alert(1)</script>", '"]}); alert(1); //', "<!--<script>", "\u2028 line", "a & <b>"]
)
def test_a_class_name_cannot_break_out_of_its_script(tiny_series, monkeypatch, name):
    bank = dataclasses.replace(tiny_series.bank, names=(name,) * 12)
    monkeypatch.setattr("mechicl.series.Series.source", property(lambda self: bank))
    view = show_attention(tiny_series, 60, "flip", sequence=0)
    script = view.body.partition("<script>")[2].removesuffix("</script>")
    assert "<" not in script
    assert "\u2028" not in script
    (given,) = props(view.html)
    assert given["tokens"][0] == "·".join(f"x1 {name}".split())
    assert given["tokens"][-1] == "·".join(f"query {name}".split())


def test_the_bundle_cannot_end_its_own_script():
    bundle = circuitsvis_bundle()
    assert "</script" not in bundle.lower()
    assert "<!--" not in bundle  # with a later '<script' it would keep the element open


def test_elements_of_one_page_have_names_of_their_own(shown):
    bodies = [circuitsvis_element(shown, i, [1], f"at-{i}") for i in (1, 2)]
    assert 'id="at-1"' in bodies[0]
    assert 'id="at-2"' in bodies[1]
    (before,), (after,) = map(props, bodies)
    assert before["attention"] != after["attention"]
