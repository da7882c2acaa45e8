"""Only runs of one folder are shown, nothing outside it; a broken one is one clear sentence."""

import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mechicl.errors import SeriesError
from mechicl.page import runs
from mechicl.page.answers import Answers
from mechicl.page.cache import Cache
from mechicl.page.runs import Library
from mechicl.page.state import View, ViewError
from mechicl.page.view import Workbench


@pytest.fixture
def folder(tiny_series, tmp_path):
    """A folder with a run in it, and another run outside."""
    shutil.copytree(tiny_series.root, tmp_path / "runs" / "mine")
    shutil.copytree(tiny_series.root, tmp_path / "secret")
    return tmp_path / "runs"


def test_the_runs_of_the_folder(folder):
    library = Library(folder)
    (folder / "notes").mkdir()
    assert library.names() == ["mine"]
    assert library.run("mine").series.steps == [0, 1, 5, 10, 20, 30, 40, 50, 60]
    assert library.run("mine") is library.run("mine")  # opened once


@pytest.mark.parametrize("name", ["", ".", "..", "../secret", "mine/../../secret", "/etc", "mine/weights", "no\0thing"])
def test_a_name_cannot_leave_the_folder(folder, name):
    with pytest.raises(SeriesError, match="not a run of this folder"):
        Library(folder).run(name)
    absolute = str(folder.parent / "secret")
    with pytest.raises(SeriesError, match="not a run of this folder"):
        Library(folder).run(absolute)


def test_a_link_is_a_run_under_its_own_name(folder):
    os.symlink(folder.parent / "secret", folder / "link")
    library = Library(folder)
    assert library.names() == ["link", "mine"]
    assert library.run("link").series.name == "link"
    assert library.run("link").series.steps == library.run("mine").series.steps


def test_a_strangers_link_cannot_leave_the_folder(folder, monkeypatch):
    """Whoever may write to a shared folder could otherwise show what they may not read."""
    os.symlink(folder.parent / "secret", folder / "link")
    owners = {False: 1000, True: 1001}  # of what the link leads to, of the link
    monkeypatch.setattr(runs, "_owner", lambda path, link=False: owners[link])
    monkeypatch.setattr(runs, "_user", lambda: 1000)
    library = Library(folder)
    assert library.names() == ["mine"]
    with pytest.raises(SeriesError, match="not a run of this folder"):
        library.run("link")
    owners[False] = 1001  # their own run, shown to others by themselves
    assert library.names() == ["link", "mine"]
    owners[False] = 1000
    assert Library(folder, named="link").names() == ["link", "mine"]  # the user named it
    os.symlink("..", folder / "up")
    os.symlink(folder / "mine" / "weights", folder / "inner")
    assert library.names() == ["mine"]


def test_a_run_that_is_not_there_names_those_that_are(folder):
    with pytest.raises(SeriesError, match=r"no run 'mein' here\. Runs here: mine|not a run of this folder"):
        Library(folder).run("mein")
    (folder / "empty").mkdir()
    with pytest.raises(SeriesError, match=r"there is no run 'empty' here. Runs here: mine\."):
        Library(folder).run("empty")


def test_a_run_that_grew_is_read_again(folder):
    library = Library(folder)
    before = library.run("mine")
    index = folder / "mine" / "index.jsonl"
    lines = index.read_text().splitlines()
    index.write_text("\n".join(x for x in lines if '"step": 60' not in x) + "\n")
    os.utime(index, ns=(1, 1))
    after = library.run("mine")
    assert after is not before
    assert 60 not in after.series.steps


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("manifest.json", "{", "cannot be read"),
        ("manifest.json", '{"format": 99}', "has format 99"),
        ("manifest.json", '{"name": "of a web page"}', "manifest.json has no format: it was not written by mechicl"),
        ("index.jsonl", "\x00\x13garbage\n", "is not a JSON object"),
        ("config.json", '{"name": "</script><script>alert(1)</script>"}', "config.json"),
        ("index.jsonl", "", "no checkpoints yet"),
        ("index.jsonl", "[]\n", "is not a JSON object"),
        ("metrics.jsonl", '{"step": 1, "sequences": 2, "training_loss": 1, "evaluators": [{"a": 1}]}\n', "metrics.js"),
        ("metrics.jsonl", '{"step": 1}\n', "metrics.jsonl"),
    ],
)
def test_a_broken_run_is_one_clear_sentence(folder, file, text, says):
    (folder / "mine" / file).write_text(text)
    with pytest.raises(SeriesError, match=says):
        Library(folder).run("mine")


def test_a_torn_checkpoint_is_one_clear_sentence_and_the_others_are_shown(folder):
    file = folder / "mine" / "weights" / "step_00000020.safetensors"
    file.write_bytes(file.read_bytes()[:500])
    answers = Answers(Library(folder), Workbench(), "mine")
    for panel in ("effect", "heads", "attention", "logits", "compare"):
        said = answers.to(panel, "?step=20")["error"]
        assert "step_00000020.safetensors: 500 bytes" in said, panel
        assert "torn or truncated" in said
        assert "data" in answers.to(panel, "?step=30")
    curve = answers.curve("?heads=0.1")
    while curve["next"] < curve["total"] and not curve["unreadable"]:
        curve = answers.curve("?heads=0.1", curve["next"])
    assert curve["unreadable"] == 1


def test_a_run_that_has_recorded_nothing_yet_still_opens(folder):
    (folder / "mine" / "metrics.jsonl").unlink()
    library = Library(folder)
    run = library.run("mine")
    assert run.first_look() == 60
    assert (run.phases, len(run.curve("icl"))) == ({}, 0)
    answers = Answers(library, Workbench(), "mine")
    for panel in ("timeline", "effect", "compare"):
        assert "data" in answers.to(panel, "?with_step=0"), panel


def test_a_foreign_bank_is_refused(folder):
    path = folder / "mine" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"bank": "0" * 64}))
    with pytest.raises(SeriesError, match="the bank rebuilt here differs"):
        Library(folder).run("mine")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?step=7", r"no checkpoint at step 7; the nearest are \[1, 5, 10\]"),
        ("?heads=2.0", "there is no head L2H0"),
        ("?head=0.2", "there is no head L0H2"),
        ("?sequence=50", "icl has sequences 0 to 49"),
        ("?with_step=7", "no checkpoint at step 7"),
        ("?with_run=nobody", "not a run of this folder"),
    ],
)
def test_a_view_is_checked_against_its_run(settle, query, says):
    with pytest.raises(SeriesError, match=says):
        settle(query)


def test_a_run_without_held_out_classes_has_no_such_evaluator(run):
    assert "icl_holdout" in run.sets
    object.__setattr__(run, "sets", {"icl": run.sets["icl"]})
    with pytest.raises(ViewError, match="has no evaluator 'flip': it has icl"):
        run.check(View(run="tiny", evaluator="flip"))


def test_it_begins_where_there_is_most_to_see(known_series, run):
    assert Library(known_series.root.parent).run(known_series.name).first_look() == 5  # ICL's peak
    assert run.first_look() in run.steps


@pytest.mark.parametrize("n", [1, 2, 3, 7, 44, 1000])
def test_coarse_to_fine_visits_every_checkpoint_once(run, n):
    object.__setattr__(run, "steps", list(range(n)))
    order = run.coarse_to_fine()
    assert sorted(order) == list(range(n))
    assert set(order[:2]) == {0, n - 1}


def test_the_cache_is_bounded_and_forgets_the_oldest():
    cache = Cache(100)
    for i in range(5):
        cache.put(i, i, 30)
        cache.get(2)
    assert len(cache) == 3
    assert [cache.get(i) for i in range(5)] == [None, None, 2, 3, 4]
    cache.put("large", 0, 101)
    assert cache.get("large") is None
    cache.put(2, "again", 90)
    assert cache.get(2) == "again"
    assert len(cache) == 1
    assert cache.remember("new", lambda: 7, lambda _: 1) == cache.remember("new", lambda: 8, lambda _: 1) == 7


def test_who_asks_while_another_computes_it_waits_for_that_one():
    cache, begun, go = Cache(100), threading.Event(), threading.Event()
    calls: list[int] = []

    def slow() -> int:
        calls.append(1)
        begun.set()
        assert go.wait(20)
        if len(calls) == 1:
            raise ValueError("the first one fails")
        return 7

    def ask() -> int:
        return cache.remember("slow", slow, lambda _: 1)

    with ThreadPoolExecutor(4) as hands:
        first = hands.submit(ask)
        assert begun.wait(20)
        others = [hands.submit(ask) for _ in range(3)]
        assert cache.remember("quick", lambda: 1, lambda _: 1) == 1  # nobody waits for another's
        go.set()
        assert [other.result(20) for other in others] == [7, 7, 7]
        with pytest.raises(ValueError, match="the first one fails"):
            first.result(20)
    assert len(calls) == 2
