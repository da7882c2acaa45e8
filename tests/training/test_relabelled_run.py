"""A run whose few labels are dealt out anew in every sequence has other evaluators than most: everything that shows
or analyses a run opens on it, and says what it leaves out."""

import dataclasses
import json

import pytest
from dash.development.base_component import Component

import analyses
from mechicl import card
from mechicl.config import SequenceConfig
from mechicl.errors import ConfigError
from mechicl.figures.curves import evaluator_curves, seed_curves
from mechicl.measures.attention import attention_scores
from mechicl.measures.phases import phase_table, series_phases
from mechicl.page.answers import Answers
from mechicl.page.layout import page
from mechicl.page.runs import Library
from mechicl.page.state import View, ViewError
from mechicl.page.view import Workbench
from mechicl.reporting import summary
from mechicl.reporting.report import report
from mechicl.training.loop import train

ASKED = ["train", "holdout_pairs", "holdout_classes", "holdout_exemplars"]


@pytest.fixture(scope="module")
def relabelled(tiny_config, tmp_path_factory):
    """tiny with 4 labels for its 8 classes of one exemplar, dealt out anew; 2 of the 6 pairs held out; rotary."""
    bank = dataclasses.replace(tiny_config.bank, n_exemplars=1, n_labels=4)
    config = dataclasses.replace(
        tiny_config,
        name="relabelled",
        steps=20,
        bank=bank,
        model=dataclasses.replace(tiny_config.model, positions="rotary", init="truncated"),
        sequences=SequenceConfig(labels="random", held_out_pairs=2),
    )
    return train(config, tmp_path_factory.mktemp("runs") / "relabelled", progress=False)


def test_what_is_recorded(relabelled):
    for line in (relabelled.root / "metrics.jsonl").read_text().splitlines():
        rows = json.loads(line)["evaluators"]
        assert [(r["evaluator"], r["metric"]) for r in rows] == [
            (name, metric) for name in ASKED for metric in ("in_context_acc", "acc", "loss")
        ]
    assert list(series_phases(relabelled)) == ASKED[1:]
    assert set(phase_table([relabelled]).evaluator) == set(ASKED[1:])


def test_the_terminal_and_the_card(relabelled):
    text = summary.one(relabelled)
    assert all(name in text for name in ASKED)
    assert "holdout_pairs 0.250" in text  # chance among all four labels
    seeds = dataclasses.replace(relabelled.config.seeds, init=7)  # the same bank: another would have to be trained on
    other = dataclasses.replace(relabelled, config=dataclasses.replace(relabelled.config, seeds=seeds))
    assert "Held-out label pairs's peak" in summary.several([relabelled, other])
    assert list(card.curves(relabelled)) == ASKED


def test_figures(relabelled):
    names = {
        "Train",
        "Held-out label pairs (all labels)",
        "Held-out classes (all labels)",
        "Held-out exemplars (all labels)",
    }
    assert {t.name for t in evaluator_curves(relabelled).data if t.name} == names | {"Training loss"}
    assert {t.name for t in seed_curves([relabelled]).data if t.name} == names - {"Train"}


def test_analyses_and_report_say_what_they_leave_out(relabelled, tmp_path):
    found = {name: analyses.get(name)(relabelled, progress=False) for name in analyses.NAMES}
    assert found["transience"].figures
    assert any(line.startswith("Held-out label pairs ") for line in found["transience"].text)
    assert "Skipped" not in "".join(found["circuit_formation"].text)  # it looks at the leading evaluator, whichever
    for name in [name for name in analyses.NAMES[1:] if name != "circuit_formation"]:
        assert "Skipped: it looks at the evaluator 'flip', which needs" in "".join(found[name].text), name
        found[name].save(tmp_path)
    text = report(relabelled, tmp_path / "r.html", progress=False).read_text()
    assert "Skipped: it looks at" in text
    assert "<b>Held-out label pairs</b>: labels never trained on together." in text
    assert "Flip</b>" not in text


def test_measures_take_the_evaluators_that_the_run_has(relabelled):
    table = attention_scores(relabelled, [20])
    assert set(table.evaluator) == set(ASKED[1:])
    assert "induction_strength" in set(table.metric)
    with pytest.raises(ConfigError, match="evaluator 'flip' does not apply to this run"):
        attention_scores(relabelled, [20], ["flip"])


def test_the_page(relabelled):
    library = Library(relabelled.root.parent)
    answers = Answers(library, Workbench(), "relabelled")
    view = library.settled(View.from_query("", "relabelled"))
    assert view.evaluator == "holdout_pairs"
    assert all(isinstance(part, Component) for part in page(library, library.run("relabelled"), view))
    for panel in ("effect", "heads", "timeline", "attention", "logits", "compare", "curve"):
        answer = answers.to(panel, "?run=relabelled&heads=1.0&measure=effect_holdout_pairs")
        assert "data" in answer, (panel, answer)
    assert answers.base("")["evaluators"] == [*ASKED[1:], "train"]
    for query, message in (("evaluator=flip", "has no evaluator 'flip'"), ("measure=effect_icl", "no evaluator 'icl'")):
        with pytest.raises(ViewError, match=message):
            library.settled(View.from_query(f"?run=relabelled&{query}"))
