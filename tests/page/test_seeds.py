"""Several runs together: who belongs to whom, who formed ICL, and what is laid over whom."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil

import numpy as np
import pytest
from scipy import stats

from analyses.head_ablations import icl_heads
from mechicl import cli
from mechicl.errors import ConfigError, SeriesError
from mechicl.interventions import AblateHeads
from mechicl.measures.ablation import evaluate
from mechicl.page import layout
from mechicl.page.answers import Answers
from mechicl.page.named import named_together
from mechicl.page.numbers import paired, unpaired
from mechicl.page.runs import Library
from mechicl.page.seed_figure import seed_figure
from mechicl.page.seed_numbers import laid_over
from mechicl.page.seed_own import own_heads
from mechicl.page.seed_panel import seeds_answer
from mechicl.page.seed_picture import _lines, seed_picture
from mechicl.page.seeds import counted, formed, together
from mechicl.page.state import View, ViewError
from mechicl.page.view import Workbench
from mechicl.series import open_series
from mechicl.training.branching import branch


@pytest.fixture
def shown(seeds_folder):
    """Answers of a page that was opened on the folder."""
    named = tuple(path.name for path in named_together([seeds_folder]))
    return Answers(Library(seeds_folder, named[0], together=named), Workbench(), named[0])


def parts(answers, query):
    run, view = answers.view(query)
    found = together(answers.library, run, view)
    assert found is not None
    return found, run, view


def over(answers, query, seconds=60.0):
    found, run, view = parts(answers, query)
    return laid_over(answers.bench, found, run, view, "icl", seconds)


def test_a_folder_names_its_runs_but_no_branches(seeds_folder, tiny_copy, tmp_path):
    names = ["ring-s0", "ring-s1", "ring-s2", "wide-s0", "wide-s1"]
    assert [path.name for path in named_together([seeds_folder])] == names
    assert named_together([tiny_copy.root]) == [tiny_copy.root]
    branch(tiny_copy.root, 40, out=tiny_copy.root.parent / "later", progress=False)
    assert named_together([tmp_path]) == [tiny_copy.root]
    with pytest.raises(ConfigError, match="must be in one folder"):
        named_together([tiny_copy.root, seeds_folder])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="is not a run and contains no run"):
        named_together([tmp_path / "empty"])
    with pytest.raises(ConfigError, match="no run was given"):
        named_together([])


def test_runs_that_never_formed_are_counted_and_named(shown):
    found, _, _ = parts(shown, "?run=ring-s1")
    assert [(c.label, [r.series.name for r in c.runs]) for c in found.conditions] == [
        ("ring", ["ring-s0", "ring-s1", "ring-s2"]),
        ("wide", ["wide-s0", "wide-s1"]),
    ]
    assert [counted(c) for c in found.conditions] == ["2 of 3 formed; seed 2 never", "2 of 2 formed"]
    answer = seeds_answer(shown, "?run=ring-s1")
    assert answer["counted"] == "ring: 2 of 3 formed; seed 2 never. wide: 2 of 2 formed."
    rows = {row["run"]: row for row in answer["runs"]}
    assert rows["ring-s2"]["says"] == "never formed"
    assert rows["ring-s0"]["says"] == "ICL peaks at 1.00"
    assert [name for name, row in rows.items() if row["chosen"]] == ["ring-s1"]


def test_a_run_that_is_not_finished_has_not_formed_yet(seeds_folder, tmp_path):
    shutil.copytree(seeds_folder / "ring-s2", tmp_path / "ring-s2")
    for name in ("index.jsonl", "metrics.jsonl"):
        path = tmp_path / "ring-s2" / name
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    run = Library(tmp_path).run("ring-s2")
    assert not run.series.complete
    assert formed(run) is None


def test_a_run_alone_shows_nothing_of_it(shown, seeds_folder, answers):
    run, view = answers.view("?run=tiny")
    assert together(answers.library, run, view) is None
    assert "seeds-panel" not in json.dumps(
        layout.page(answers.library, run, view), default=lambda c: c.to_plotly_json()
    )
    assert seeds_answer(answers, "?run=tiny") == {"runs": [], "left": False}
    run, view = shown.view("?run=ring-s0")
    page = json.dumps(layout.page(shown.library, run, view), default=lambda c: c.to_plotly_json())
    assert "seeds-panel" in page
    alone = Library(seeds_folder, "ring-s0", together=("ring-s0",))
    assert alone.settled(View(run="ring-s0")).seeds == ()


def test_the_address_holds_what_is_chosen(shown):
    _, view = shown.view("?run=ring-s1&over=flip&against=run/ring-s0")
    assert view.seeds == ("ring-s0", "ring-s1", "ring-s2", "wide-s0", "wide-s1")
    assert View.from_query(view.query()) == view
    odd = View(run="a", seeds=("a,b", "c d", "e%2Cf"), against="condition/a,b")
    assert View.from_query(odd.query()) == odd
    for bad, says in {"over=icl2": "over='icl2'", "against=all": "expected own", "seeds=../x": "name of a run"}.items():
        with pytest.raises(ViewError, match=says):
            shown.view("?run=ring-s1&" + bad)


def test_curves_of_all_seeds_with_median_and_range(shown):
    found, run, _ = parts(shown, "?run=ring-s1")
    fig = seed_figure(found.conditions[0], run, "icl", None)
    lines = {t.meta: t for t in fig.data if t.meta}
    assert set(lines) == {"ring-s0", "ring-s1", "ring-s2"}
    assert {name for name, t in lines.items() if t.line.width == 3} == {"ring-s1"}
    median = next(t for t in fig.data if str(t.name).startswith("median"))
    values = np.array([run.curve("icl").value for run in found.conditions[0].runs])
    assert list(median.y) == pytest.approx(np.median(values, axis=0).tolist())
    edges = [list(t.y) for t in fig.data if t.line.width == 0]
    assert edges == [values.min(0).tolist(), values.max(0).tolist()]
    assert median.x[0] is None  # step 0 is nowhere on a log axis
    assert seed_figure(found.conditions[0], run, "icl", None, "linear", "steps").data[-1].x == (0, 5, 10)


def test_two_runs_differ_by_what_their_sequences_say(shown):
    found = over(shown, "?run=ring-s0&against=run/ring-s2")
    a, b = (shown.library.run(name) for name in ("ring-s0", "ring-s2"))
    assert (found.done, found.total) == (3, 3)
    for row in found.difference.itertuples():
        step = int(row.x) // a.series.config.batch_size
        want = paired(*(shown.bench.right(r, step, "icl", None) for r in (a, b)))
        assert (row.value, row.low, row.high) == (want.value, want.low, want.high)
    assert "paired on the same sequences" in found.meaning
    other = over(shown, "?run=ring-s0&against=run/ring-s1")  # another bank: other sequences
    want = unpaired(*(shown.bench.right(shown.library.run(n), 5, "icl", None) for n in ("ring-s0", "ring-s1")))
    row = other.difference.iloc[1]
    assert (row.value, row.low, row.high) == (want.value, want.low, want.high)
    assert "not paired" in other.meaning


def test_two_conditions_differ_seed_by_seed(shown):
    found = over(shown, "?run=ring-s1&against=condition/wide-s0")
    runs = {name: shown.library.run(name).curve("icl").value.to_numpy() for name in shown.library.together}
    gap = np.array([runs[f"wide-s{k}"] - runs[f"ring-s{k}"] for k in (0, 1)])
    assert found.difference.value.tolist() == pytest.approx(gap.mean(0).tolist())
    half = stats.t.ppf(0.975, 1) * gap.std(0, ddof=1) / np.sqrt(2)
    assert (found.difference.high - found.difference.value).tolist() == pytest.approx(half.tolist())
    assert [curve.run for curve in found.curves] == ["wide-s0", "wide-s1"]
    with pytest.raises(ViewError, match="itself"):
        over(shown, "?run=ring-s1&against=condition/ring-s0")
    with pytest.raises(ViewError, match="a run other than the current one"):
        over(shown, "?run=ring-s1&against=run/ring-s1")
    with pytest.raises(ViewError, match="not one of the runs"):
        over(shown, "?run=ring-s1&against=run/else")


def test_each_seed_loses_the_heads_that_the_rule_chooses_for_it(shown, seeds_folder):
    found = over(shown, "?run=ring-s0&against=own")
    chosen = {
        name: own_heads(shown.bench, shown.library.run(name), wait=True) for name in ("ring-s0", "ring-s1", "ring-s2")
    }
    for name in ("ring-s0", "ring-s1"):
        series = open_series(seeds_folder / name)
        assert chosen[name] == icl_heads(series)
        table = evaluate(series, None, ["icl"], AblateHeads(heads=chosen[name]), progress=False)
        want = table[(table.metric == "in_context_acc") & (table.intervention != "intact")].sort_values("step")
        curve = next(c for c in found.curves if c.run == name)
        assert curve.y == pytest.approx(want.value.tolist())
    assert chosen["ring-s2"] == ()  # Flip never rose
    assert [curve.run for curve in found.curves] == ["ring-s0", "ring-s1"]
    assert "seed 2: none, Flip never rose." in found.notes
    at_peak = found.difference[found.difference.x == 40].iloc[0]
    assert at_peak.value < -0.3
    assert "over 2 seeds" in found.meaning


def test_the_control_takes_random_heads_of_the_same_layers(shown, seeds_folder):
    found = over(shown, "?run=ring-s0&against=own")
    assert found.control is not None
    own, random = {}, {}
    for name in ("ring-s0", "ring-s1"):
        series = open_series(seeds_folder / name)
        chosen = AblateHeads(heads=icl_heads(series))
        sets = chosen.controls(series.config.model, 8)
        assert len(sets) > 1
        for each in sets:
            assert not set(each.heads) & set(chosen.heads)
            assert sorted(layer for layer, _ in each.heads) == sorted(layer for layer, _ in chosen.heads)
        table = evaluate(series, None, ["icl"], [chosen, *sets], progress=False)
        by = table[table.metric == "in_context_acc"].pivot(index="step", columns="intervention", values="value")
        own[name] = (by[str(chosen)] - by["intact"]).to_numpy()
        random[name] = (by[[str(each) for each in sets]].mean(axis=1) - by["intact"]).to_numpy()
        curve = next(c for c in found.control.curves if c.run == name)
        assert curve.y == pytest.approx(by[[str(each) for each in sets]].mean(axis=1).tolist())
    assert found.control.difference.value.tolist() == pytest.approx(np.mean([*random.values()], axis=0).tolist())
    gap = np.array([own[name] - random[name] for name in own])
    assert found.control.beyond.value.tolist() == pytest.approx(gap.mean(0).tolist())
    half = stats.t.ppf(0.975, 1) * gap.std(0, ddof=1) / np.sqrt(2)
    assert (found.control.beyond.high - found.control.beyond.value).tolist() == pytest.approx(half.tolist())
    assert found.control.beyond.value.iloc[1] < -0.3  # ICL's own heads, not any heads
    said = seeds_answer(shown, "?run=ring-s0&against=own", seconds=60.0)["note"]
    assert "own − random heads out: mean and Student's 95% interval over 2 seeds" in said
    drawn = seed_figure(*(lambda f, run, _: (f.of(run.series.name), run))(*parts(shown, "?run=ring-s0")), "icl", found)
    dashes = {(t.meta, t.line.dash) for t in drawn.data if t.meta in ("ring-s0", "ring-s1")}
    assert {dash for _, dash in dashes} == {None, "dash", "dot"}


def test_what_takes_long_comes_in_pieces(shown):
    query = "?run=ring-s0&against=own"
    shares = []
    while True:
        answer = seeds_answer(shown, query, seconds=0.0)
        shares.append(answer["note"])
        if not answer["left"]:
            break
        assert len(shares) < 20
    assert len(shares) > 3  # two choices of heads and twice six checkpoints, at least one thing each time
    assert all("so far" in share for share in shares[:-1])
    assert "so far" not in shares[-1]


def test_a_run_that_cannot_be_opened_is_named(shown):
    answer = seeds_answer(shown, "?run=ring-s0&seeds=ring-s0,ring-s1,gone")
    assert "gone cannot be opened" in answer["note"]
    assert answer["counted"] == "2 of 2 formed."
    with pytest.raises(SeriesError):
        seeds_answer(shown, "?run=gone&seeds=ring-s0,ring-s1,gone")


def test_a_long_command_is_broken_between_words():
    long = "mechicl app 'a folder of runs/with spaces, one-s0' 'a folder of runs/it'\"'\"'s-s1' --view over=icl"
    lines = _lines(long, 30)
    assert shlex.split(" ".join(lines)) == shlex.split(long)
    assert all(len(line) <= 30 or len(shlex.split(line)) == 1 for line in lines)
    assert len(lines) > 2


def test_the_figure_to_take_along_says_n_intervals_and_its_command(shown, seeds_folder, tmp_path):
    """And its command makes the same figure, in whole."""
    run, view = shown.view("?run=ring-s0&against=own&over=flip&axis=linear")
    part = seed_picture(shown, run, view, seconds=0.0)
    assert "evaluations so far" in part.layout.title.text
    whole = seed_picture(shown, run, view, seconds=60.0)
    said = " ".join(html.unescape(whole.layout.title.text).replace("<br>", " ").split())
    for words in (
        "ring: Flip over training",
        "2 of 3 formed; seed 2 never",
        "n = 100 sequences",
        "95% interval over 2",
    ):
        assert words in said
    assert "evaluations so far" not in said
    assert whole.layout.width == 672
    line = html.unescape(re.sub("<[^>]+>", "", whole.layout.annotations[-1].text.replace(" \\<br>", " ")))
    program, *words = shlex.split(line)
    assert (program, words[0]) == ("mechicl", "app")
    words[words.index("--save") + 1] = str(tmp_path / "seeds.html")
    cli.main(words)
    written = (tmp_path / "seeds.html").read_text()
    assert "Flip over training" in written
    for name in ("own heads out", "random heads out"):
        curve = next(t for t in whole.data if t.name == name)
        assert json.dumps(list(curve.y))[1:-1].replace(" ", "") in written.replace(" ", "")


def test_a_run_alone_has_no_such_figure(answers):
    run, view = answers.view("?run=tiny")
    with pytest.raises(ConfigError, match="only one run was given"):
        seed_picture(answers, run, view)
