"""'Copy as Python' gives lines that, run in an interpreter of their own, give the numbers on the page."""

import itertools
import json
import subprocess
import sys

import pytest

from mechicl.evaluators import EVALUATORS
from mechicl.page.numbers import Number
from mechicl.page.texts import interval, plain

KINDS = ("zero", "mean", "resample", "pattern_preserving", "value_preserving")
RUN = """
import contextlib, io, json, sys
out = []
for text in json.load(sys.stdin):
    names = {}
    with contextlib.redirect_stdout(io.StringIO()):  # the lines print what they find
        exec(text, names)
    tables = [names[name].to_dict("records") for name in ("table", "beside") if name in names]
    html = getattr(names.get("attention"), "html", "")
    out.append([tables, "CircuitsVis.render" in html])
json.dump(out, sys.stdout)
"""


def fresh(texts: list[str]) -> list:
    """Every text's tables, and whether it drew attention; run by an interpreter that knows nothing else."""
    done = subprocess.run([sys.executable, "-c", RUN], input=json.dumps(texts), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def copied(page) -> str:
    page.get_by_role("button", name="Copy as Python").click()
    page.wait_for_selector("#code[open]")
    text = page.locator("#python").inner_text()
    page.get_by_role("button", name="Close").click()
    assert len(text.strip().splitlines()) >= 5
    return text


def rows(table: list[dict], step: int, ablated: bool) -> dict[str, tuple[str, str, str]]:
    """evaluator -> its primary metric at a step as the page writes it: value, interval, n."""
    return {
        r["evaluator"]: (
            plain(r["value"]),
            interval(Number(r["value"], r["ci_low"], r["ci_high"], r["n"])),
            f"{r['n']:,}",
        )
        for r in table
        if (r["step"], r["metric"]) == (step, EVALUATORS[r["evaluator"]].primary_metric)
        and ablated == (r["intervention"] != "intact")
    }


@pytest.mark.slow
def test_the_lines_of_one_checkpoint_give_the_pages_numbers(begin):
    """A head out, only one of its layer, each kind of ablation, and nothing ablated."""
    one = begin()
    page = one.open("?run=known&evaluator=flip&sequence=3")
    texts, said = [], []

    def take() -> None:
        said.append(one.numbers())
        texts.append(copied(page))

    take()
    page.get_by_test_id("head-1-2").click()
    take()
    page.get_by_test_id("head-1-2").click()
    page.get_by_test_id("head-0-1").click(modifiers=["Shift"])
    take()
    for kind in KINDS:
        page.locator('[data-set="kind"]').select_option(kind)
        take()
    assert len(set(texts)) == len(texts) - 1  # 'only' was of the first kind already
    for numbers, text, (tables, drawn) in zip(said, texts, fresh(texts), strict=True):
        intact, ablated = (rows(tables[0], 5, done) for done in (False, True))
        assert drawn
        for name, row in numbers.items():
            assert (row["intact"], row["intact_ci"], row["n"]) == intact[name], text
            if "ablate" in text:
                assert (row["ablated"], row["ablated_ci"], row["n"]) == ablated[name], text
            else:
                assert row["ablated"] == "–"
                assert not ablated


@pytest.mark.slow
def test_the_lines_of_a_comparison_give_the_pages_numbers(begin):
    """Two checkpoints of a run and two runs; head 1.2 is not in tiny, which stays intact."""
    one = begin()
    texts, said, at = [], [], []
    two = (("&with_step=10", (5, 10)), ("&with_run=tiny&with_step=20", (5, 20)))
    for (query, steps), heads in itertools.product(two, ("", "&heads=0.1", "&heads=1.2")):
        page = one.open("?run=known&step=5&tab=compare" + query + heads)
        page.wait_for_function("mechicl.settled('compare')")
        cells = (
            "Object.fromEntries(mechicl.all('[data-compare]').map((r) => [r.dataset.compare, "
            "mechicl.all('td', r).slice(0, 2).map((c) => [...c.children].map((x) => x.textContent))]))"
        )
        said.append(page.evaluate(cells))
        texts.append(copied(page))
        at.append((steps, heads))
    for numbers, text, (steps, heads), (tables, _) in zip(said, texts, at, fresh(texts), strict=True):
        assert len(numbers) == 5
        for side, (table, step) in enumerate(zip((tables[0], tables[-1]), steps, strict=True)):
            ablated = bool(heads) and not (heads == "&heads=1.2" and "tiny" in text and side == 1)
            want = rows(table, step, ablated)
            for name, row in numbers.items():
                value, ci, n = want[name]
                assert row[side] == [value, f"{ci}, n = {n}"], (text, name)


EDITS = {
    "cut-edge": {"from": "label->previous", "edge-place": "0"},
    "patch-edge": {"from": "query", "to": "label", "edge-place": "1"},
    "patch-position": {"place": "match_label", "place-layer": "1", "partner": "next"},
    "replace-position": {"place": "match_label", "place-layer": "1"},
    "cut-path": {"sender": "L0H1", "receiver": "L1H2.k"},
    "patch-component": {"component": "L1H2"},
    "remove-directions": {"directions": "ciwl"},
    "graft": {"parts": "ov.1"},
    "hold": {"hold": "k"},
}


@pytest.mark.slow
def test_the_lines_of_every_kind_give_the_pages_numbers(begin):
    """Chosen by hand, one kind after the other, alone; held is what comes after a head; at last an edge in heads."""
    one = begin()
    page = one.open("?run=known&evaluator=flip")
    offered = page.locator("[data-pick='what'] option").evaluate_all("(all) => all.map((o) => o.value)")
    assert set(offered) == set(EDITS)
    texts, said = [], []
    heads = {"from": "query->match_label", "edge-place": "L1H2"}
    for what, picks in [*EDITS.items(), ("cut-edge", heads)]:
        if what == "hold":
            page.get_by_test_id("head-0-1").click()
        page.locator("[data-pick='what']").select_option(what)
        for name, value in picks.items():
            page.locator(f"[data-pick='{name}']").select_option(value)
        page.locator("[data-do='add']").click()
        said.append(one.numbers())
        texts.append(copied(page))
        page.get_by_role("button", name="Clear").click()
    assert len(set(texts)) == len(texts)
    for numbers, text, (tables, drawn) in zip(said, texts, fresh(texts), strict=True):
        intact, ablated = (rows(tables[0], 5, done) for done in (False, True))
        assert drawn
        for name, row in numbers.items():
            if row["ablated_ci"] == "not in these sequences":  # nothing is changed there
                assert ablated[name] == intact[name], text
            else:
                assert (row["ablated"], row["ablated_ci"], row["n"]) == ablated[name], text
        assert any(row["ablated"] != "–" for row in numbers.values())
