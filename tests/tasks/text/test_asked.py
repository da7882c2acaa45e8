"""A series of language models is a series as any: analysed, drawn, reported, shown, without a branch for its task."""

import pytest
from any_series import ANALYSES, all_panels_answer, analysis_answers
from known_token_models import INDUCTION, PREVIOUS, T

import analyses
from mechicl import cli
from mechicl.figures.attention import patterns
from mechicl.interventions import AblateHeads, CutEdges
from mechicl.measures import attention_scores, head_effects, logit_attribution, standing_out
from mechicl.page import layout

SHOWN = ["repeat", "text", "loss", "weights", "conflict"]


@pytest.fixture
def run(token_series):
    return token_series


def test_transience_says_who_wins_with_its_controls(run):
    text = analyses.get("transience")(run, progress=False).text
    (line,) = (line for line in text if line.startswith("Conflict, context (1) against weights (0), n = 96"))
    assert "the weights win from 0 to 80" in line
    assert "the context wins at 160 (1.000 [0.962, 1.000] at 160 sequences)" in line
    assert "95% intervals for all 3 checkpoints together" in line
    assert "the control 'no conflict' has 0.000 [0.000, 0.038]" in line
    assert "the control 'not shown' has 0.000 [0.000, 0.038]" in line
    assert "neither answer is the likeliest in 0.000" in line


def test_the_circuit_is_found_on_repeats(run):
    scores = attention_scores(run, [20], ["repeat"], progress=False)
    for metric, (layer, head) in (("previous_token", PREVIOUS), ("prefix_matching", INDUCTION)):
        best = standing_out(scores, metric, 20).iloc[0]
        assert (best.layer, best["head"]) == (layer, head)
        assert best.value == pytest.approx(1, abs=1e-4)
        assert best.uniform < 0.2


@pytest.mark.parametrize("evaluator", ["conflict", "repeat"])
def test_without_either_head_of_the_circuit_the_context_loses(run, evaluator):
    table = head_effects(run, [20], [evaluator], progress=False).set_index(["layer", "head"])
    assert (table.effect_high[[PREVIOUS, INDUCTION]] < -0.5).all()
    assert (table.effect.drop([PREVIOUS, INDUCTION]) == 0).all()


def test_the_answer_comes_through_the_edge_to_what_was_shown(run):
    cut = run.evaluate([20], ["conflict"], CutEdges(edges=("query->shown",)), metrics=None)
    assert cut.value.tolist() == [1, 0]
    other = run.evaluate([20], ["conflict"], CutEdges(edges=("query->cue",)), metrics=None)
    assert other.value.tolist() == [1, 1]


def test_both_answers_are_attributed(run):
    table = logit_attribution(run, [20], ["conflict"], progress=False)
    rows = table[table["head"].notna()].pivot_table(index=["layer", "head"], columns="metric", values="value")
    contrast = rows.logit_in_context - rows.logit_in_weights
    assert contrast.idxmax() == INDUCTION
    assert contrast.max() == pytest.approx(30, abs=1e-3)


@pytest.mark.parametrize("name", ANALYSES)
def test_analyses_run(run, name):
    analysis_answers(run, name)


def test_every_command_that_looks_takes_it(run, capsys):
    for words in (["show"], ["verify"], ["ablate", "--heads", "L1H0"]):
        cli.main([words[0], str(run.root), *words[1:]])
    out = capsys.readouterr().out
    assert all(name in out for name in (*SHOWN, "agreement", "unshown"))


@pytest.mark.slow
def test_its_report_has_the_controls(run, tmp_path):
    cli.main(["report", str(run.root), "--out", str(tmp_path / "page.html"), "--quiet"])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Control: no conflict" in page
    assert "bigrams of that text" in page


def test_every_panel_of_the_page_answers(run):
    page = all_panels_answer(
        run,
        "&evaluator=conflict&heads=1.0&sequence=3",
        "&evaluator=conflict&measure=to_first",
        "&evaluator=loss&measure=effect_loss&heads=1.0",
        "&evaluator=agreement&measure=logit",
        "&evaluator=weights&measure=effect_conflict&with_step=10&tab=compare",
    )
    assert page.base(f"run={run.name}")["evaluators"] == SHOWN
    assert "In-context gain" in str(layout.page(page.library, *page.view(f"run={run.name}")))


def test_patterns_of_questions_at_the_end_are_whole(run):
    drawn = patterns(run, [20], "conflict", sequence=0)
    assert drawn.values.shape == (1, 2, 2, T, T)
    out = AblateHeads(heads=(INDUCTION,))
    assert run.answers(20, "conflict", out).mean() == 0
