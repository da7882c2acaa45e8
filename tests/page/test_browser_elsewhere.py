"""Models that the `transformers` Trainer trained, on the page in a browser: curves, head grid, ablation, attention."""

import numpy as np
import pytest
from trained_models import STEPS

from mechicl.figures.attention import patterns
from mechicl.interventions import AblateHeads
from mechicl.measures import attention_scores
from mechicl.measures.ablation import evaluate
from mechicl.measures.paired_effects import effects
from mechicl.page.server import open_server
from mechicl.page.texts import plain

FAMILIES = ["neox", "llama"]  # GPT-NeoX; Llama-like, with grouped queries
pytestmark = pytest.mark.slow  # the Trainer trains them first


@pytest.fixture
def trained(opened, begin, serving):
    """family -> (its series, a user who looks at the page of it)."""

    def call(family: str):
        series = opened(family)
        return series, begin(serving(open_server(series.root, port=0)).url)

    return call


@pytest.mark.parametrize("family", FAMILIES)
def test_it_opens_with_its_curves_and_numbers(trained, family):
    series, one = trained(family)
    page = one.open(f"?run={family}&step={STEPS}")
    one.check(series, STEPS, None)
    page.wait_for_selector("#timeline .scatterlayer")
    lines = page.evaluate(
        "document.querySelector('#timeline .js-plotly-plot')._fullData.map("
        "t => [t.x, t.y].map(values => Array.from(values ?? [])))"
    )
    sequences, accuracy = series.curve("repeat", "token_acc")
    assert accuracy[-1] > accuracy[0] + 0.5
    drawn = [x for x, y in lines if len(y) == len(accuracy) and np.allclose(y, accuracy)]
    assert drawn
    assert np.allclose(drawn[0][1:], sequences[1:])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_grid_has_every_head_with_its_score(trained, family):
    series, one = trained(family)
    page = one.open(f"?run={family}&step={STEPS}&measure=prefix_matching&evaluator=repeat")
    page.wait_for_function("mechicl.settled('heads')")
    table = attention_scores(series, [STEPS], ["repeat"], progress=False)
    table = table[table.metric == "prefix_matching"].sort_values(["layer", "head"])
    assert len(table) == 8
    assert page.locator("#grid .head:not(.mlp) .score").all_inner_texts() == [plain(value, 2) for value in table.value]
    assert table.value.max() > 0.5  # the induction head that the Trainer made


@pytest.mark.parametrize("family", FAMILIES)
def test_a_click_ablates_a_head_and_the_change_has_its_interval(trained, family):
    series, one = trained(family)
    one.open(f"?run={family}&step={STEPS}")
    table = attention_scores(series, [STEPS], ["repeat"], progress=False)
    best = table[table.metric == "prefix_matching"].sort_values("value").iloc[-1]
    head = (int(best.layer), int(best["head"]))
    one.head(*head).click()
    one.check(series, STEPS, AblateHeads(heads=(head,)))  # values and their intervals, to the last digit shown
    rows = evaluate(series, [STEPS], ["repeat"], ablate=AblateHeads(heads=(head,)), progress=False)
    changed = effects(rows)
    changed = changed[(changed.metric == "token_acc") & (changed.intervention != "intact")].iloc[0]
    assert changed.effect_high < 0  # and it is no accident
    shown = one.numbers()["repeat"]
    assert float(shown["change"].replace("−", "-")) == pytest.approx(changed.effect, abs=6e-4)
    one.head(*head).click()
    one.check(series, STEPS, None)


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_is_the_models(trained, family):
    series, one = trained(family)
    page = one.open(f"?run={family}&step={STEPS}&evaluator=repeat&sequence=3")
    page.wait_for_function("mechicl.settled('attention')")
    page.locator("#patterns .card").first.wait_for()
    assert page.locator("#patterns .card").count() == 8
    values = patterns(series, [STEPS], "repeat", 3).values[0].numpy()  # [layer, head, to, from]
    said = page.locator("#patterns .card").nth(6).locator("figure").first.locator("rect title")
    numbers = [float(x.split(": ")[1]) for x in said.evaluate_all("x => x.map(e => e.textContent.replace('−', '-'))")]
    want = [values[1, 2, i, j] for i in range(24) for j in range(i + 1)]
    assert numbers == pytest.approx(want, abs=0.0011)
    one.shot(f"elsewhere-{family}", full_page=True)
