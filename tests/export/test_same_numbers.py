"""What the exported page computes is what mechicl computes, under every ablation that it offers."""

import numpy as np
import pytest
from model_kinds import KINDS

from mechicl.evaluators import EVALUATORS
from mechicl.figures.attention import patterns
from mechicl.interventions import AblateHeads, AblateMLPs, Together
from mechicl.page.inside import logit_view
from mechicl.page.runs import Run
from mechicl.page.state import View
from mechicl.page.texts import plain, signed
from mechicl.page.view import Workbench

MODELS = {
    **{kind: (kind, {}) for kind in KINDS if kind != "conv"},
    "odd widths": ("mlp", {"d_model": 18, "n_heads": 3, "n_layers": 3}),  # columns that do not come in fours
    "one layer": ("rotary", {"n_layers": 1}),
}
KINDS_OF_HEADS = ("zero", "mean", "resample", "pattern_preserving", "value_preserving")


def done(kind, heads, mlps):
    parts = [AblateHeads(heads=heads, kind=kind)] if heads else []
    parts += [AblateMLPs(layers=mlps, kind=kind)] if mlps else []
    return parts[0] if len(parts) == 1 else Together(parts=tuple(parts))


def conditions(model):
    """kind, heads, MLPs: each kind on heads of the first and of several layers, and on MLPs with and without heads."""
    mlps = tuple(la for la in range(model.n_layers) if model.has_mlp(la))
    last = model.n_layers - 1
    for kind in KINDS_OF_HEADS:
        yield kind, ((0, 1),), ()
        yield kind, tuple(sorted({(0, 0), (last, 1)})), ()
        if mlps and not kind.endswith("preserving"):
            yield kind, (), mlps[:1]
            yield kind, ((last, 0),), mlps


def said(heads, mlps, kind):
    parts = {"heads": ",".join(f"L{la}H{h}" for la, h in heads), "mlp": ",".join(map(str, mlps))}
    return "&".join(f"{k}={v}" for k, v in parts.items() if v) + (f"&kind={kind}" if kind != "zero" else "")


def primary(table):
    return {
        name: {r.intervention: r for r in rows[rows.metric == EVALUATORS[name].primary_metric].itertuples()}
        for name, rows in table.groupby("evaluator")
    }


def check(shown, rows, condition):
    """The rows of the page's table are those of `series.evaluate`."""
    assert set(shown) == {name for name in rows if EVALUATORS[name].role != "more"}
    for name, row in shown.items():
        intact, ablated = rows[name]["intact"], rows[name][str(condition)]
        assert row["n"] == f"{intact.n:,}"
        assert row["intact"] == plain(intact.value)
        assert row["intact_ci"] == f"[{plain(intact.ci_low)}, {plain(intact.ci_high)}]"
        assert row["ablated"] == plain(ablated.value), (name, str(condition))
        assert row["ablated_ci"] == f"[{plain(ablated.ci_low)}, {plain(ablated.ci_high)}]"
        assert row["change"] == signed(ablated.value - intact.value)
        assert row["change_ci"] == f"[{signed(ablated.effect_low)}, {signed(ablated.effect_high)}]"


def heard(text):
    """A number as the page writes it."""
    return float(text.replace("−", "-").replace("+", ""))


def close(shown, wanted):
    """To the digits that the page shows."""
    assert np.allclose([heard(x) for x in shown], np.asarray(wanted).ravel(), atol=1.1e-3)


def under_every_ablation(series, one, agree) -> None:
    """The last checkpoint's numbers of a page and of `series.evaluate`. agree: how the two are compared."""
    one.open()
    step, asked = series.steps[-1], {c: done(*c) for c in conditions(series.config.model)}
    rows = primary(series.evaluate([step], ablate=list(asked.values()), metrics=None))
    for (how, heads, mlps), condition in asked.items():
        one.go(f"step={step}&{said(heads, mlps, how)}")
        agree(one.numbers(), rows, condition)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_scores_under_every_ablation(name, series_of, file_of, reader):
    kind, changed = MODELS[name]
    series = series_of(kind, **changed)
    under_every_ablation(series, reader(file_of(series)), check)


@pytest.mark.slow
def test_one_model_with_everything(series_of, file_of, reader):
    """MLPs in some layers, several kinds, heads and MLPs together: the quick part of the test above; then where heads
    look and what adds to which logit, of the average and of one sequence."""
    series = series_of("mlp-last", n_layers=3)
    one, step = reader(file_of(series)), series.steps[-1]
    one.open()
    for how, heads, mlps in [
        ("mean", ((0, 1), (2, 0)), (1,)),
        ("value_preserving", ((0, 1),), ()),
        ("zero", ((1, 0),), ()),
    ]:
        condition = done(how, heads, mlps)
        one.go(f"step={step}&{said(heads, mlps, how)}")
        check(one.numbers(), primary(series.evaluate([step], ablate=condition, metrics=None)), condition)
    run, bench = Run(series), Workbench()
    condition, view = done("mean", ((0, 1),), ()), f"step={step}&{said(((0, 1),), (), 'mean')}&evaluator=flip"
    for sequence in (None, 7):
        chosen = "" if sequence is None else f"&sequence={sequence}"
        one.go(view + chosen, "look")
        for side, ablation in (("intact", None), ("ablated", condition)):
            wanted = patterns(series, [step], "flip", sequence, ablation).values[0, 2, 1]
            close(said_by_pattern(one.page, f"L2H1, {side}", len(wanted)), wanted[np.tril_indices(len(wanted))])
        one.go(f"{view}{chosen}&tab=logits", "look")
        found = logit_view(
            bench, run, View(run="x", step=step, heads=((0, 1),), kind="mean", evaluator="flip", sequence=sequence)
        )
        for side, chances in (("intact", found.probability), ("ablated", found.probability_ablated)):
            bars = one.page.locator(f"#logits-labels .{side} span").all_text_contents()
            close([text.split("p = ")[1].split(",")[0] for text in bars], chances)
        cells = one.page.locator("#logits tbody td").all_text_contents()
        assert one.page.locator("#logits tbody th").all_text_contents() == found.parts
        wide = np.array([heard(x) for x in cells]).reshape(len(found.parts), -1)
        assert np.allclose(wide, np.concatenate([found.intact, found.ablated], 1), atol=6e-3)


POINTED = """(canvas, t) => {
  const box = canvas.getBoundingClientRect(), at = (i) => ((i + 0.5) / t) * box.width, said = [];
  for (let i = 0; i < t; i++)
    for (let j = 0; j <= i; j++) {
      canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: box.x + at(j), clientY: box.y + at(i) }));
      said.push(canvas.title);
    }
  return said;
}"""


def said_by_pattern(page, name, t):
    """What a pattern says of each pair: in its boxes' titles; of a long one, where the pointer is."""
    drawn = page.locator(f'#patterns [role="img"][aria-label="{name}"]')
    long = drawn.evaluate("drawn => drawn.tagName") == "CANVAS"
    assert long == (t > 24)
    said = drawn.evaluate(POINTED, t) if long else drawn.locator("title").all_text_contents()
    return [text.rsplit(": ", 1)[1] for text in said]


def near(shown, rows, condition):
    """As `check`, to 1e-3: scores that are means over positions, which turn where two outputs are nearly as likely."""
    assert set(shown) == {name for name in rows if EVALUATORS[name].role != "more"}
    for name, row in shown.items():
        intact, ablated = rows[name]["intact"], rows[name][str(condition)]
        assert row["n"] == f"{intact.n:,}"
        values = {"intact": intact.value, "ablated": ablated.value, "change": ablated.value - intact.value}
        for part, value in values.items():
            assert abs(heard(row[part]) - value) <= 1.001e-3, (name, part, str(condition))
        for part, low, high in (
            ("intact_ci", intact.ci_low, intact.ci_high),
            ("ablated_ci", ablated.ci_low, ablated.ci_high),
            ("change_ci", ablated.effect_low, ablated.effect_high),
        ):
            close(row[part].strip("[]").split(", "), [low, high])


@pytest.mark.parametrize("name", ["text", "text with MLPs", "markov"])
def test_language_models_and_chains_under_every_ablation(name, tokens_of, file_of, reader):
    """Read at every position or at the last one alone; rotary positions, learned ones, MLPs in some layers."""
    series = tokens_of(name)
    under_every_ablation(series, reader(file_of(series)), near)


@pytest.mark.parametrize("name", ["text", "markov"])
def test_where_their_heads_look_and_what_adds_to_which_logit(name, tokens_of, file_of, reader):
    series = tokens_of(name)
    one, step, run, bench = reader(file_of(series)), series.steps[-1], Run(series), Workbench()
    one.open()
    condition, view = done("mean", ((0, 1),), ()), f"step={step}&{said(((0, 1),), (), 'mean')}&evaluator=conflict"
    for sequence in (None, 7):
        chosen = "" if sequence is None else f"&sequence={sequence}"
        one.go(f"{view}{chosen}&head=L1H1", "look")
        for side, ablation in (("intact", None), ("ablated", condition)):
            wanted = patterns(series, [step], "conflict", sequence, ablation).values[0, 1, 1]
            close(said_by_pattern(one.page, f"L1H1, {side}", len(wanted)), wanted[np.tril_indices(len(wanted))])
        one.go(f"{view}{chosen}&tab=logits", "look")
        asked = View(run="x", step=step, heads=((0, 1),), kind="mean", evaluator="conflict", sequence=sequence)
        found = logit_view(bench, run, asked)
        bars = one.page.locator("#logits-labels .intact span").all_text_contents()
        chances = [heard(text.split("p = ")[1].split(",")[0]) for text in bars]
        for p in found.probability:  # of one sequence, the likeliest outputs stand beside the task's own answers
            assert min(abs(p - each) for each in chances) < 1.1e-3
        assert one.page.locator("#logits tbody th").all_text_contents() == found.parts
        if sequence is None:
            cells = [heard(x) for x in one.page.locator("#logits tbody td").all_text_contents()]
            wide = np.array(cells).reshape(len(found.parts), -1)
            assert np.allclose(wide, np.concatenate([found.intact, found.ablated], 1), atol=6e-3)
