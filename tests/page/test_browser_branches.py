"""'Train on from here' in a browser: a click starts a branch beside the run, its curve comes, and nothing is lost when
the page is closed; a run that grows is followed. What waits for a process of its own is slow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from analyses.head_ablations import icl_heads
from mechicl.interventions import AblateHeads
from mechicl.measures.phases import series_phases
from mechicl.page.server import open_server
from mechicl.series import open_series
from mechicl.training.branching import branch

DEMO = Path(__file__).parents[2] / "checkpoints" / "demo"
TRACES = (
    "document.querySelector('#timeline .js-plotly-plot').data"
    ".filter((t) => String(t.meta ?? '').startsWith('branch ')).map((t) => [t.name, t.line.dash, t.x.length])"
)

LINES = (
    "mechicl.all('#timeline .scatterlayer .trace path.js-line')"
    ".map((e) => [getComputedStyle(e).visibility, e.style.strokeDasharray])"
)


@pytest.fixture
def laboratory(tiny_series, tmp_path):
    """A server of its own over the tiny run, where branches may be made."""
    shutil.copytree(tiny_series.root, tmp_path / "runs" / "tiny")
    running = open_server(tmp_path / "runs" / "tiny", port=0).start()
    yield running, tmp_path / "runs"
    running.stop()


def rows(session) -> list[dict]:
    return session.page.evaluate("mechicl.branches.rows()")


def wait(session, expression: str) -> None:
    session.page.wait_for_function(f"(() => {{ const rows = mechicl.branches.rows(); return {expression}; }})()")


def test_branches_are_listed_and_drawn_beside_their_parent(laboratory, begin):
    server, folder = laboratory
    branch(folder / "tiny", 20, out=folder / "control", progress=False)
    treated = branch(folder / "tiny", 20, without=((0, 1),), out=folder / "treated", progress=False)
    session = begin(server.url)
    page = session.open("?run=tiny&step=20")
    page.wait_for_function(f"document.querySelector('#timeline .js-plotly-plot')?.data && {TRACES}.length")
    drawn = page.evaluate(TRACES)
    seen = page.evaluate(LINES)
    dashed = [look for look, dash in seen if dash.count(",") == 3]  # dash, gap, dot, gap
    assert dashed == ["visible"] * len(drawn)
    assert {dash for _, dash, _ in drawn} == {"dashdot"}
    assert {length for _, _, length in drawn} == {len(treated.evaluated)}
    assert page.locator("#train-on > summary").inner_text() == "Train on from here · 2 branches"
    page.click("#train-on > summary")
    assert page.locator("[data-branch=control] .says").inner_text() == (
        "step 60 of 60 · finished · equal to its parent, bit for bit"
    )
    assert "ablate L0H1" in page.locator("[data-branch=treated]").inner_text()
    assert page.locator("[data-branch=treated] a").get_attribute("href") == "?run=treated"
    session.shot("branches")
    page.click("[data-set=unit][data-to=steps]")  # drawn anew, and so are they
    page.wait_for_function(f"{TRACES}.length === {len(drawn)}")
    page.locator("[data-branch=control] input").focus()
    page.keyboard.press("Space")  # it is for the box, and nothing is played
    assert not page.locator("[data-branch=control] input").is_checked()
    page.wait_for_function(f"{TRACES}.length === {len(drawn) // 2}")
    page.locator("#branch-fresh").focus()
    page.keyboard.press("Space")
    assert page.locator("#branch-fresh").is_checked()
    assert page.locator("[data-do=play]").inner_text() == "▶"
    assert page.locator("#branch-start").is_enabled()
    page.select_option("#branch-way", "without")
    assert page.locator("#branch-start").is_disabled()  # no head is taken out
    session.head(0, 1).click()
    page.wait_for_function("!document.querySelector('#branch-start').disabled")


def test_the_family_tree_of_a_folder_is_on_the_page(laboratory, begin):
    """As `mechicl show FOLDER` draws it: names that lead to the runs, below the run that each began from."""
    server, folder = laboratory
    branch(folder / "tiny", 20, out=folder / "control", progress=False)
    treated = branch(folder / "tiny", 25, without=((0, 1),), out=folder / "treated", progress=False)
    branch(treated, 40, out=folder / "child", progress=False)
    session = begin(server.url)
    page = session.open("?run=treated&step=40")
    page.wait_for_selector("#family:not([hidden])")
    page.click("#family > summary")
    assert page.locator("#family-tree li").all_inner_texts() == [
        "tiny\n60 steps",
        "control\nat step 20: as before; equal to its parent; 60 steps",
        "treated\nat step 25: ablate L0H1; 60 steps",
        "child\nat step 40: as before; equal to its parent; 60 steps",
    ]
    lefts = page.evaluate("[...document.querySelectorAll('#family-tree a')].map((a) => a.getBoundingClientRect().left)")
    assert lefts[0] < lefts[1] == lefts[2] < lefts[3]
    assert page.locator("#family-tree a[aria-current]").inner_text() == "treated"
    page.click("[data-member=child] a")
    page.wait_for_function("document.querySelector('#family-tree a[aria-current]')?.textContent === 'child'")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    branch(folder / "child", 50, out=folder / "grandchild", progress=False)
    page.evaluate("mechicl.branches.look()")  # as while something is trained
    page.wait_for_selector("[data-member=grandchild]", state="attached")
    page.evaluate("mechicl.branches.look()")
    page.wait_for_timeout(1000)
    asked = [url for url in session.asked if "branches/family" in url]
    assert len(asked) == 3  # each run once, and once more for the branch that came; not where nothing changed


def test_a_run_that_grows_is_followed(laboratory, begin):
    """As it is trained elsewhere: more checkpoints, and the page at its end is at the new end."""
    server, folder = laboratory
    index, whole = folder / "tiny" / "index.jsonl", (folder / "tiny" / "index.jsonl").read_text()
    index.write_text("".join(line for line in whole.splitlines(keepends=True) if json.loads(line)["step"] <= 30))
    session = begin(server.url)
    page = session.open("?run=tiny&step=30")
    assert "not finished" in page.locator(".facts").inner_text()
    index.write_text(whole)
    page.evaluate("mechicl.branches.look()")
    page.wait_for_function("mechicl.base.steps.at(-1) === 60 && mechicl.view.step === '60'")
    page.wait_for_selector("#effect[data-shown]")
    page.wait_for_function("!document.querySelector('.facts').textContent.includes('not finished')")
    session.check(open_series(folder / "tiny"), 60, None)


def until(index: Path, whole: str, last: int) -> None:
    """A run as it is when it has been trained to a step."""
    index.write_text("".join(line for line in whole.splitlines(keepends=True) if json.loads(line)["step"] <= last))


def steps_of(page) -> list[int]:
    return page.evaluate("mechicl.base.steps")


def grows_to(page, last: int) -> None:
    page.evaluate("mechicl.branches.look()")
    page.wait_for_function(f"mechicl.base.steps.at(-1) === {last}")
    page.wait_for_function("mechicl.settled() && mechicl.settled('timeline')")


def of_30_steps(laboratory, begin, query: str):
    """The run as it was at step 30, in a browser: its index, all that the index will hold, the session and its page."""
    server, folder = laboratory
    index = folder / "tiny" / "index.jsonl"
    whole = index.read_text()
    until(index, whole, 30)
    session = begin(server.url)
    return index, whole, session, session.open(query)


def test_a_run_that_grows_leaves_the_reader_where_they_are(laboratory, begin):
    """In the middle of a number, before a slider, with something to redo."""
    index, whole, session, page = of_30_steps(laboratory, begin, "?run=tiny&step=20")
    page.evaluate("document.getElementById('graft-step').value = '10'")
    page.evaluate("window.slider = document.getElementById('slider-input')")
    session.head(0, 1).click()
    page.keyboard.press("Control+z")
    page.wait_for_function("mechicl.view.heads === ''")
    session.settled()
    page.locator("#sequence-input").focus()
    page.keyboard.type("3")
    until(index, whole, 40)
    grows_to(page, 40)
    assert page.evaluate("mechicl.view.step") == "20"
    assert page.evaluate("[document.activeElement.id, document.activeElement.value]") == ["sequence-input", "3"]
    assert page.evaluate("[slider.isConnected, Number(slider.max)]") == [True, len(steps_of(page)) - 1]
    assert page.evaluate("document.getElementById('graft-step').value") == "10"
    assert page.evaluate("[...document.getElementById('graft-step').options].map((o) => Number(o.value))") == (
        steps_of(page)
    )
    assert page.locator("[data-do=redo]").get_attribute("aria-disabled") == "false"
    page.keyboard.press("Backspace")
    page.locator("[data-do=redo]").click()
    page.wait_for_function("mechicl.view.heads === 'L0H1'")


# The first two questions for what the page knows of its run break; the third is answered when the test says so.
BREAKS_THEN_WAITS = """() => {
  const fetched = window.fetch;
  let asked = 0;
  window.fetch = async (address, options) => {
    if (!String(address).startsWith("branches/base")) return fetched(address, options);
    asked += 1;
    if (asked < 3) throw new TypeError("Failed to fetch");
    const answer = await fetched(address, options);
    await new Promise((go) => (window.held = go));
    return answer;
  };
}"""
DASHED = """(() => {
  const data = mechicl.branches.without(document.querySelector("#timeline .js-plotly-plot").data);
  return data[3 * mechicl.base.evaluators.length].x?.length ?? 0;
})()"""


def test_what_is_clicked_while_a_run_grows_is_kept(laboratory, begin):
    """Who was at the end is at the new end, with the head that they took out meanwhile; and a connection that breaks
    does not end the following."""
    index, whole, session, page = of_30_steps(laboratory, begin, "?run=tiny&step=30&heads=L0H0")
    page.wait_for_function("document.getElementById('curve-progress').textContent.includes('all ')")
    page.evaluate(BREAKS_THEN_WAITS)
    index.write_text(whole)
    page.evaluate("mechicl.branches.look()")
    page.wait_for_function("Boolean(window.held)")
    session.head(0, 1).click()
    page.evaluate("window.held()")
    page.wait_for_function("mechicl.base.steps.at(-1) === 60 && mechicl.view.step === '60'")
    assert page.evaluate("mechicl.view.heads") == "L0H0,L0H1"
    session.check(open_series(index.parent), 60, AblateHeads(heads=((0, 0), (0, 1))))
    assert "step=60" in page.url
    assert "heads=L0H0,L0H1" in page.url
    steps = len(steps_of(page))
    page.wait_for_function(f"document.getElementById('curve-progress').textContent.includes('all {steps} ')")
    page.wait_for_function(f"{DASHED} === {steps}")
    page.keyboard.press("Control+z")
    page.wait_for_function("mechicl.view.heads === 'L0H0'")


@pytest.mark.slow
def test_a_press_trains_on_and_a_closed_page_loses_nothing(laboratory, begin):
    server, folder = laboratory
    session = begin(server.url)
    page = session.open("?run=tiny&step=20&heads=L0H1")
    page.click("#train-on > summary")
    page.wait_for_selector("#branch-fresh")
    page.click("#branch-start")
    wait(session, "rows.length === 1")
    page.select_option("#branch-way", "without")
    page.click("#branch-start")
    wait(session, "rows.length === 2")
    page.close()
    again = begin(server.url)
    page = again.open("?run=tiny&step=20")
    page.click("#train-on > summary")
    page.set_default_timeout(600_000)
    wait(again, "rows.length === 2 && rows.every((row) => row.state === 'finished')")
    assert {row["equal"] for row in rows(again)} == {"equal to its parent, bit for bit", ""}
    treated = open_series(folder / "tiny-at20-ablate-L0H1")
    assert treated.origin is not None
    assert treated.origin.interventions == [{"kind": "ablate", "heads": [[0, 1]], "start": 20}]
    page.click("[data-branch=tiny-at20-as-before] button:has-text('Keep')")
    wait(again, "rows.filter((row) => row.queued).length === 1")
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("[data-branch=tiny-at20-ablate-L0H1] button:has-text('Discard')")
    wait(again, "rows.length === 1")
    assert sorted(path.name for path in folder.iterdir() if path.name[0] != ".") == ["tiny", "tiny-at20-as-before"]


@pytest.mark.slow
def test_what_becomes_of_icl_without_the_heads_that_carry_it(begin, serving, tmp_path):
    """A reader stands at ICL's peak, takes the heads out that carry it, trains on without them, and watches ICL beside
    its parent's."""
    shutil.copytree(DEMO, tmp_path / "runs" / "demo")
    series = open_series(tmp_path / "runs" / "demo")
    peak = series.nearest(series_phases(series)["icl"].peak)
    running = serving(open_server(series.root, port=0))
    session = begin(running.url)
    page = session.open(f"?step={peak}")
    for layer, head in icl_heads(series):
        session.head(layer, head).click()
    session.settled()
    now = float(session.number("icl.ablated"))
    assert now < float(session.number("icl.intact")) - 0.1
    page.click("#train-on > summary")
    page.select_option("#branch-way", "without")
    page.check("#branch-fresh")  # of the parent's optimiser nothing was kept there
    page.fill("#branch-steps", str(peak + 1000))
    page.click("#branch-start")
    page.set_default_timeout(600_000)
    wait(session, "rows.length === 1 && rows[0].state === 'finished'")
    page.wait_for_function(f"document.querySelector('#timeline .js-plotly-plot')?.data && {TRACES}.length")
    (row,) = rows(session)
    child = open_series(tmp_path / "runs" / row["name"])
    table = child.metrics[(child.metrics.evaluator == "icl") & (child.metrics.metric == "in_context_acc")]
    assert row["curves"]["icl"]["values"] == table.value.tolist()
    parent = series.metrics[(series.metrics.evaluator == "icl") & (series.metrics.metric == "in_context_acc")]
    both = parent.merge(table, on="step", suffixes=("", "_of_branch"))
    assert both.step.tolist() == [peak, *(step for step in series.steps if peak < step <= peak + 1000)]
    assert both.value_of_branch[0] == both.value[0]  # recorded before the heads were taken out
    assert both.value_of_branch[1] < both.value[1]
    session.shot("branch-without-icl-heads")
