"""A run shows itself: one line in a terminal, a card in a notebook, whatever state it is in."""

import dataclasses
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from mechicl import card
from mechicl.config import ModelConfig
from mechicl.evaluators import EVALUATORS
from mechicl.figures.caption import facts
from mechicl.reporting.summary import one
from mechicl.series import open_series
from mechicl.sources.layouts import model_of

FIELDS = {
    "n_layers": 2,
    "d_model": 32,
    "n_heads": 4,
    "d_head": 8,
    "d_vocab": 30,
    "n_ctx": 20,
    "normalization_type": "LN",
}


class Balanced(HTMLParser):
    """Every tag that is opened is closed, in order."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.seen, self.texts = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def rows(text: str) -> dict[str, list[str]]:
    """evaluator -> its cells without the curve."""
    found = re.findall(r"<tr><td>(.*?)</td><td>.*?</td><td[^>]*>(.*?)</td><td[^>]*>(.*?)</td></tr>", text)
    return {name: [value, n] for name, value, n in found}


def curve(text: str, name: str) -> list[tuple[float, float]]:
    svg = re.search(rf"<td>{name}</td><td>(<svg.*?</svg>)", text).group(1)
    points = ElementTree.fromstring(svg).find("polyline").get("points")
    return [tuple(map(float, point.split(","))) for point in points.split()]


def test_an_evaluator_that_this_installation_does_not_know_has_the_headline_of_most(tiny_copy):
    path, before = tiny_copy.root / "metrics.jsonl", card.curves(tiny_copy)["flip"]
    path.write_text(path.read_text().replace('"evaluator": "flip"', '"evaluator": "theirs"'))
    found = card.curves(open_series(tiny_copy.root))
    assert "flip" not in found
    assert found["theirs"] == before


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (ModelConfig(), "attention only"),
        (ModelConfig(mlp_ratio=4), "MLP ratio 4"),
        (model_of(FIELDS), "MLP ratio 4"),
        (model_of(FIELDS | {"d_mlp": 48}), "MLP ratio 1.5"),
        (model_of(FIELDS | {"d_model": 4096, "n_heads": 32, "d_mlp": 11008}), "MLP ratio 2.69"),
        (model_of(FIELDS | {"attn_only": True}), "attention only"),
    ],
)
def test_how_wide_mlps_are_is_not_rounded(model, said):
    assert card.body(model) == said


def test_a_checkpoint_s_own_width_is_shown(tiny_series):
    config = dataclasses.replace(tiny_series.config, model=model_of(FIELDS | {"d_mlp": 48}))
    other = dataclasses.replace(tiny_series, config=config)
    assert "width 32, MLP ratio 1.5" in facts(other)
    assert "width 32, MLP ratio 1.5; " in one(other)


def test_one_line_says_what_the_run_is(tiny_series, known_series):
    text = repr(tiny_series)
    assert "\n" not in text
    assert len(text) < 400
    for word in ("'tiny'", "9 checkpoints", "steps 0 to 60", "complete", "2 layers x 2 heads", "8 gaussian classes"):
        assert word in text
    assert str(tiny_series.root) in text
    assert len(repr(known_series)) < 400


def test_the_card_has_every_curve_with_its_last_value_and_n(tiny_series):
    text = tiny_series._repr_html_()
    Balanced(text)
    last = tiny_series.metrics[lambda t: t.step == 60].set_index(["evaluator", "metric"])
    shown = rows(text)
    assert set(shown) == set(tiny_series.metrics.evaluator)
    for name, (value, n) in shown.items():
        recorded = last.loc[name, EVALUATORS[name].primary_metric]
        assert value == f"{recorded.value:.3f}"
        assert n == str(recorded.n)


def test_a_curve_rises_where_the_evaluator_does(known_series):
    """ICL by hand: chance, 1, chance; so the middle point stands highest, and x grows."""
    points = curve(known_series._repr_html_(), "icl")
    assert len(points) == 3
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x0 == 0 < x1 < x2
    assert y1 < min(y0, y2)  # from the top
    assert y1 == pytest.approx(2, abs=0.1)


def test_names_are_escaped(tiny_copy, tmp_path):
    odd = tmp_path / "<script>alert(1) & 'x'"
    tiny_copy.root.rename(odd)
    lines = (odd / "metrics.jsonl").read_text().replace('"icl"', '"<img src=x onerror=alert(2)>"')
    (odd / "metrics.jsonl").write_text(lines)
    text = open_series(odd)._repr_html_()
    drawn = {"svg", "line", "polyline", "circle"}
    assert set(Balanced(text).seen) == {"div", "b", "code", "table", "tr", "th", "td"} | drawn
    assert "\n" not in repr(open_series(odd))


def test_a_run_in_progress_and_one_that_has_nothing(tiny_copy):
    index, metrics = (tiny_copy.root / name for name in ("index.jsonl", "metrics.jsonl"))
    kept = [line for line in index.read_text().splitlines() if json.loads(line)["step"] <= 10]
    index.write_text("\n".join(kept) + "\n")
    metrics.write_text("\n".join(metrics.read_text().splitlines()[:4]) + "\n{torn")
    running = open_series(tiny_copy.root)
    assert "not finished" in repr(running)
    assert len(curve(running._repr_html_(), "icl")) == 4
    metrics.write_text("\n".join(metrics.read_text().splitlines()[:1]) + "\n")  # step 0 alone
    assert len(curve(running._repr_html_(), "icl")) == 1
    for name in ("index.jsonl", "metrics.jsonl"):
        (tiny_copy.root / name).unlink()
    empty = open_series(tiny_copy.root)
    assert "no checkpoints yet" in repr(empty)
    Balanced(empty._repr_html_())
    assert rows(empty._repr_html_()) == {}


@pytest.mark.parametrize(
    "line",
    [
        "[1]",
        '{"step": 0}',
        '{"step": 0, "evaluators": [1, {"evaluator": 2}]}',
        '{"step": 0, "evaluators": [{"evaluator": "icl", "metric": "in_context_acc"}]}',
        '{"step": 0, "sequences": 0, "evaluators": [{"evaluator": "icl", "metric": "in_context_acc", "value": NaN}]}',
    ],
)
def test_metrics_that_are_none_do_no_harm(tiny_copy, line):
    (tiny_copy.root / "metrics.jsonl").write_text(line + "\n")
    text = open_series(tiny_copy.root)._repr_html_()
    Balanced(text)
    assert rows(text) == {}


def test_a_run_that_is_gone_still_has_a_line(tiny_copy, tmp_path):
    gone = dataclasses.replace(tiny_copy, root=tmp_path / "gone")
    assert "gone" in repr(gone)
    Balanced(gone._repr_html_())


def test_showing_a_run_imports_nothing_heavy(tiny_series):
    code = (
        "import sys, mechicl\n"
        f"series = mechicl.open_series({str(tiny_series.root)!r})\n"
        "repr(series), series._repr_html_()\n"
        "print(*{'torch', 'pandas'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_other_objects_are_a_line_each(tiny_series):
    from mechicl.tasks.exemplar_label.batch import stack_batches

    batch, bank, model = tiny_series.evaluation_set("icl"), tiny_series.bank, tiny_series.model(60, fold_ln=True)
    for each in (batch, batch[:1], stack_batches([batch, batch]), bank, bank.holdout_classes(), model):
        text = repr(each)
        assert "\n" not in text
        assert len(text) < 250
        assert text.startswith(type(each).__name__ + "(")
    assert "50 sequences of 2 pairs" in repr(batch)
    assert "8 classes and 4 held out" in repr(bank)
    assert "folded" in repr(model)
