"""A view as Python: a few lines that one can read, that run from anywhere and give the page's numbers."""

import subprocess
import sys

import pytest

from mechicl.page.python import WIDTH, as_python
from mechicl.page.runs import Library
from mechicl.page.server import build
from mechicl.page.state import View


def test_the_lines_reproduce_the_view(tiny_series, settle, bench, run):
    view = settle("?step=20&heads=0.1,1.0&kind=mean&evaluator=flip&sequence=3")
    names: dict = {}
    exec(as_python(view, str(tiny_series.root.parent)), names)
    table = names["table"]
    ablated = table[(table.intervention == "mean L0H1 L1H0") & (table.metric == "in_context_acc")]
    value = {e.evaluator: e.ablated.value for e in bench.effects(run, 20, view.intervention)}
    for row in ablated.itertuples():
        if row.evaluator in ("icl", "flip", "ciwl", "train"):
            assert row.value == value[row.evaluator]
    assert "CircuitsVis.render" in names["attention"].html


@pytest.mark.slow
def test_they_run_as_they_are_from_any_folder(library, tmp_path):
    text = build(library, "tiny").server.test_client().get("/python?step=20&heads=0.1").text
    (tmp_path / "view.py").write_text(text)
    done = subprocess.run([sys.executable, "view.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "zero L0H1" in done.stdout  # and show what they find


def test_lines_are_short_and_paths_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    heads = tuple((layer, head) for layer in range(4) for head in range(32))
    for view in (
        View(run="a", step=3000, heads=heads, kind="pattern_preserving"),
        View(run="a", step=3, heads=heads[:2]),
        View(run="a", step=0, heads=heads, tab="compare", with_run="b", with_step=10),
    ):
        text = as_python(view, ".")
        assert repr(str(tmp_path / "a")) in text
        others = [line for line in text.splitlines() if str(tmp_path) not in line]
        assert max(map(len, others)) <= WIDTH
        assert len(others) >= 4
        made: dict = {}
        lines = text.split("ablation = ")[1].split("\n\n")[0]
        exec("import mechicl\nablation = " + lines, made)
        assert made["ablation"] == view.intervention


def test_python_names_what_is_compared_and_quotes_what_it_must(settle, tmp_path):
    view = settle("?step=20&tab=compare&with_step=60")
    assert "series.evaluate([20, 60])" in as_python(view, str(tmp_path))
    strange = View(run="a\"'b", step=0)
    assert f"series = mechicl.open_series({str(tmp_path / strange.run)!r})" in as_python(strange, str(tmp_path))


def test_the_lines_of_two_runs_open_both_and_evaluate_them(folder):
    client = build(Library(folder), "tiny").server.test_client()
    text = client.get("/python?step=60&tab=compare&with_run=known&heads=0.1").text
    made: dict = {}
    exec(text, made)
    assert made["other"].name == "known"
    assert set(made["beside"].step) == {5}  # its own first look
    assert set(made["table"].step) == {60}
    assert "zero L0H1" in set(made["beside"].intervention)
    alone = client.get("/python?step=20&tab=compare").text
    assert "series.evaluate([20, 60])" in alone  # with its last checkpoint
