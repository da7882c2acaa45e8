"""What the app's tests share: runs to look at and the answers of their pages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, FLAGS, NO_GPU, numbers

from mechicl.evaluators import EVALUATORS
from mechicl.interventions import Intervention
from mechicl.measures.ablation import evaluate
from mechicl.page.answers import Answers
from mechicl.page.runs import Library, Run
from mechicl.page.state import View
from mechicl.page.texts import plain, signed
from mechicl.page.view import Workbench
from mechicl.series import Series


@pytest.fixture
def library(tiny_series: Series) -> Library:
    return Library(tiny_series.root.parent)


@pytest.fixture
def run(library: Library) -> Run:
    return library.run("tiny")


@pytest.fixture
def bench() -> Workbench:
    return Workbench()


@pytest.fixture
def answers(library: Library, bench: Workbench) -> Answers:
    return Answers(library, bench, "tiny")


@pytest.fixture
def settle(library: Library):
    """A settled view of the tiny run from a query."""

    def call(query: str = "") -> View:
        return library.settled(View.from_query(query, "tiny"))

    return call


@pytest.fixture(scope="session")
def seeds_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two conditions by hand: 'ring', whose seed 1 has a bank of its own and whose seed 2 never forms ICL, and 'wide',
    of other settings, which keeps its ICL. To read, never to write."""
    from dataclasses import replace

    from known_models import INDUCTION_HEAD, induction_model, lookup_model, without_head
    from known_series import write_series

    from mechicl.config import Seeds

    root = tmp_path_factory.mktemp("seeds") / "sweep"
    config, circuit = induction_model()
    config = replace(config, n_eval=100)
    none, lookup = without_head(circuit, *INDUCTION_HEAD), lookup_model()[1]
    late = replace(config, optim=replace(config.optim, lr=2 * config.optim.lr))
    for name, its, seed, weights in [
        ("ring-s0", config, Seeds(init=0), (none, circuit, lookup)),
        ("ring-s1", config, Seeds(init=1, data=1), (none, circuit, circuit)),
        ("ring-s2", config, Seeds(init=2), (none, none, none)),
        ("wide-s0", late, Seeds(init=0), (none, circuit, circuit)),
        ("wide-s1", late, Seeds(init=1, data=1), (none, none, circuit)),
    ]:
        at = dict(zip((0, 5, 10), weights, strict=True))
        write_series(root / name, replace(its, name=name.partition("-")[0], seeds=seed), at)
    return root


@pytest.fixture(scope="session")
def five_seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seeds of one recipe by hand: ICL comes in four, and goes in one of these. To read, never to write."""
    from dataclasses import replace

    from known_models import INDUCTION_HEAD, induction_model, lookup_model, without_head
    from known_series import write_series

    from mechicl.config import Seeds

    root = tmp_path_factory.mktemp("five") / "sweep"
    config, circuit = induction_model()
    none, lookup = without_head(circuit, *INDUCTION_HEAD), lookup_model()[1]
    for seed, kinds in enumerate(("ncl", "ncc", "nnn", "nnc", "ncc")):
        at = {5 * i: {"n": none, "c": circuit, "l": lookup}[kind] for i, kind in enumerate(kinds)}
        its = replace(config, n_eval=100, name="five", seeds=Seeds(init=seed, data=seed))
        write_series(root / f"five-s{seed}", its, at)
    return root


HOSTILE = "<img src=x onerror=document.title='owned'><script>document.title='owned'<"
SHOTS = Path(__file__).parents[2] / "artefacts" / "app"  # git-ignored


@pytest.fixture(scope="session")
def folder(tiny_series: Series, known_series: Series, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs for the browser: 'tiny', 'known' (ICL by hand), a broken one, one whose name is markup."""
    root = tmp_path_factory.mktemp("app") / "runs"
    for name in ("tiny", "broken", HOSTILE):
        shutil.copytree(tiny_series.root, root / name)
    shutil.copytree(known_series.root, root / "known")
    index = root / "broken" / "index.jsonl"  # one file is not what it says
    lines = [json.loads(line) for line in index.read_text().splitlines()]
    changed = [x | {"sha256": "0" * 64} if x["step"] == 20 else x for x in lines]
    index.write_text("".join(json.dumps(x) + "\n" for x in changed))
    return root


@pytest.fixture(scope="session")
def hostile() -> str:
    """The name of the run whose name is markup."""
    return HOSTILE


@pytest.fixture(scope="session")
def server(folder: Path):
    """The app on those runs, in this process."""
    from mechicl.page.server import open_server

    running = open_server(folder / "tiny", port=0).start()
    yield running
    running.stop()


class Session:
    """One user: a page that records what it asks for and what goes wrong.

    Names resolve to nothing (FLAGS) and what is not this app's is refused; `guard` takes every
    request in hand to do so, which also turns the browser's cache off.
    """

    def __init__(self, context, url: str, guard: bool = False):
        self.url, self.context = url, context
        self.foreign: list[str] = []
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self.page = self.context.new_page()
        self.page.on("request", lambda r: self._record(r.url))
        if guard:
            self.page.route(lambda url: not self._own(url), lambda route: route.abort())
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.wrong.append(str(e)))
        self.page.set_default_timeout(90_000)  # a busy machine is no failure

    def _own(self, url: str) -> bool:
        return url.startswith((self.url, "data:", "blob:", "file:"))

    def _record(self, url: str) -> None:
        self.asked.append(url)
        if not self._own(url):
            self.foreign.append(url)

    def open(self, query: str = "", hints: bool = False):
        """Open a view and wait for its numbers."""
        seen = "" if hints else "seeds,timeline,effect,heads,circuit,track,attention,logits,compare"
        self.page.add_init_script(f"localStorage['mechicl-hints'] ??= '{seen}'")
        self.page.goto(self.url + query)
        self.page.wait_for_selector("#effect[data-shown]")
        return self.page

    def settled(self) -> None:
        """Wait until the numbers on the page are the view's."""
        self.page.wait_for_function("mechicl.settled()")

    def number(self, cell: str) -> str:
        return self.page.locator(f'[data-cell="{cell}"]').inner_text()

    def numbers(self) -> dict[str, dict[str, str]]:
        """evaluator -> what its row says, without the controls, which the page asks for later."""
        self.settled()
        rows = numbers(self.page).items()
        return {name: {part: text for part, text in row.items() if part != "controls_ci"} for name, row in rows}

    def check(self, series: Series, step: int, ablation: Intervention | None) -> None:
        """The page says what `mechicl.evaluate` says."""
        rows = evaluate(series, [step], ablate=ablation, progress=False)
        said = self.numbers()
        for name, row in said.items():
            table = rows[(rows.evaluator == name) & (rows.metric == EVALUATORS[name].primary_metric)]
            sides = {"intact" if r.intervention == "intact" else "ablated": r for r in table.itertuples()}
            absent = ablation is not None and not ablation.found_in(series.evaluation_set(name))
            if absent:  # nothing was changed, and the page says so instead of 0
                assert sides.pop("ablated").value == sides["intact"].value
            for side, want in sides.items():
                assert row[side] == plain(want.value), (name, side)
                assert row[f"{side}_ci"] == f"[{plain(want.ci_low)}, {plain(want.ci_high)}]"
                assert row["n"] == f"{want.n:,}"
            if ablation is None or absent:
                assert (row["ablated"], row["change"]) == ("–", "–")
            else:
                assert row["change"] == signed(sides["ablated"].value - sides["intact"].value)

    def head(self, layer: int, index: int):
        """A head's button."""
        return self.page.get_by_test_id(f"head-{layer}-{index}")

    def shot(self, name: str, **options) -> None:
        """Keep a picture to look at."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", **options)


OPTIONS: Any = {"viewport": {"width": 1280, "height": 800}, "accept_downloads": True}


@pytest.fixture(scope="session")
def household(driver, tmp_path_factory: pytest.TempPathFactory):
    """A context that most tests share, with a profile on disk: there Chromium keeps compiled
    scripts, and a page opens in a third of the time."""
    context = driver.chromium.launch_persistent_context(
        tmp_path_factory.mktemp("profile"), executable_path=str(CHROMIUM), args=FLAGS, **OPTIONS
    )
    yield context
    context.close()


@pytest.fixture
def serving():
    """Call it with a server of `open_server` for this test: it is started, and stopped when `begin` has closed its
    pages. A server that stops resets the connections of what an open page still asks, and the page's log says so."""
    started: list = []

    def call(wanted):
        started.append(wanted.start())
        return started[-1]

    yield call
    for one in started:
        one.stop()


@pytest.fixture
def begin(request, household, server, serving):
    """Call it for a user whose page must neither fail nor ask for anything that is not this app's.

    Options make a context of their own for them (`color_scheme="dark"`, ...; guard=True).
    """
    opened: list[Session] = []
    own: list = []

    def call(url: str = server.url, guard: bool = False, **options) -> Session:
        context = household
        if guard or options:
            context = request.getfixturevalue("chromium").new_context(**(OPTIONS | options))
            own.append(context)
        opened.append(Session(context, url, guard))
        return opened[-1]

    yield call
    for one in opened:
        if not one.page.is_closed():
            one.page.close()
    for context in own:
        context.close()
    assert not [url for one in opened for url in one.foreign]
    assert not [text for one in opened for text in one.wrong]


@pytest.fixture(scope="session")
def elsewhere(driver):
    """A browser that finds this machine under a proxy's public name, hub.example, and no other machine."""
    rules = "--host-resolver-rules=MAP hub.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=[NO_GPU, rules])
    yield browser
    browser.close()


@pytest.fixture
def stranger(elsewhere):
    """Call it with an address for a user there: every request must lie below it, none may fail."""
    opened: list[Session] = []

    def call(url: str) -> Session:
        opened.append(Session(elsewhere.new_context(**OPTIONS), url))
        return opened[-1]

    yield call
    for one in opened:
        one.context.close()
    assert not [url for one in opened for url in one.foreign]
    assert not [text for one in opened for text in one.wrong]
