"""What the page asks for is `mechicl branch`'s own command line, and what it lists is what lies on the disk."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from dataclasses import replace

import pytest

from mechicl import cli
from mechicl.errors import ConfigError
from mechicl.page.answers import Answers
from mechicl.page.branches import WAYS, Branches, asked, place_for, ways
from mechicl.page.guard import Door
from mechicl.page.jobs import Jobs
from mechicl.page.named import named_together
from mechicl.page.runs import Library
from mechicl.page.server import _app
from mechicl.page.state import View
from mechicl.page.view import Workbench
from mechicl.series import open_series
from mechicl.training.branching import branch


@pytest.fixture
def branches(tiny_series, tmp_path):
    shutil.copytree(tiny_series.root, tmp_path / "runs" / "tiny")
    return Branches(Library(tmp_path / "runs"), Jobs(tmp_path / "runs", most=0))  # nothing is started


@pytest.fixture
def run(branches):
    return branches.library.run("tiny")


ALL = [*WAYS, "icl_only", "ciwl_only"]  # of exemplars and labels
VIEW = View(run="tiny", step=20, heads=((0, 1), (1, 0)))


@pytest.mark.parametrize("way", ALL)
def test_every_way_is_a_branch_that_the_command_line_makes(branches, run, way, capsys):
    """The name that the page chooses is the one that `mechicl branch` would have chosen."""
    what = {"way": way, "pattern": "self", "strength": "0.5", "fresh": way == "memory"}
    root, line = branches.command(run, VIEW, what)
    cli.main([*line[:-2], "--quiet"])  # without --out
    made = open_series(root)
    assert made.origin is not None
    assert made.origin.is_control == (way == "as_before")
    again, _ = branches.command(run, VIEW, what)
    assert again.name == f"{root.name}-2"
    (row,) = branches.listed(run)["rows"]
    assert (row["name"], row["state"], row["at"], row["queued"]) == (root.name, "finished", 20, False)
    assert row["equal"] == ("equal to its parent, bit for bit" if way == "as_before" else "")
    assert row["curves"]["icl"]["steps"] == made.evaluated


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({"way": "nothing"}, "expected one of as_before, without"),
        ({"way": "clamp", "strength": "x"}, "is not a number from 0 to 1"),
        ({"way": "clamp", "pattern": "--out"}, "expected PATTERN:HEADS=STRENGTH"),
        ({"steps": "-3"}, "expected a whole number of steps"),
    ],
)
def test_what_cannot_be_asked_for_is_said(branches, run, what, says):
    with pytest.raises(ConfigError, match=says):
        branches.start(run, VIEW, what)
    with pytest.raises(ConfigError, match="click one in the head grid"):
        asked(run, replace(VIEW, heads=()), {"way": "without"})
    assert branches.jobs.all() == []


def test_what_waits_is_listed_with_its_command(branches, run):
    begun = branches.start(run, VIEW, {"way": "without"})
    assert shlex.split(begun["command"])[:5] == ["mechicl", "branch", str(run.series.root), "--at", "20"]
    (row,) = branches.listed(run)["rows"]
    assert (row["state"], row["queued"], row["command"]) == ("waiting", True, begun["command"])
    branches.act(begun["name"], "discard")
    assert branches.listed(run)["rows"] == []
    with pytest.raises(ConfigError, match="there is no action 'explode'"):
        branches.act(begun["name"], "explode")


def test_tasks_have_the_ways_that_they_can(run, token_series):
    assert set(ways(run)) == set(ALL)
    language = Library(token_series.root.parent).run(token_series.name)
    assert set(ways(language)) == set(WAYS)
    with pytest.raises(ConfigError, match=r"expected one of as_before, without, clamp, memory\.$"):
        asked(language, VIEW, {"way": "icl_only"})


def test_where_branches_go(tmp_path, monkeypatch):
    assert place_for(tmp_path) == tmp_path
    assert place_for(tmp_path, tmp_path / "out") == tmp_path / "out"
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = place_for(tmp_path)
    assert place.parent == tmp_path / "cache" / "mechicl" / "branches"
    shown = Branches(Library(tmp_path), Jobs(place, most=0))
    assert str(place) in shown.note


def test_branches_in_another_folder_are_listed_too(branches, run, tmp_path):
    elsewhere = Branches(branches.library, Jobs(tmp_path / "out", most=0))
    root, line = elsewhere.command(run, VIEW, {})
    assert root.parent == tmp_path / "out"
    branch(run.series.root, 20, out=root, progress=False)
    elsewhere.jobs.add(root, run.series.root, line)
    (row,) = elsewhere.listed(run)["rows"]
    assert (row["state"], row["opens"]) == ("finished", False)


@pytest.fixture
def client(branches):
    answers = Answers(branches.library, Workbench(), "tiny")
    return _app(answers, Door(), branches.jobs).server.test_client()


def test_only_the_page_itself_starts_and_deletes(client, branches):
    """A form of another site has no header of ours; a link is a GET."""
    for address in ("/branches/start?run=tiny&step=20", "/branches/act/discard"):
        assert client.post(address, json={}).status_code == 403
        assert client.post(address, data={"name": "x"}).status_code == 403
        assert client.get(address).status_code in (404, 405)
    assert branches.jobs.all() == []
    ours = {"X-Mechicl": "1"}
    answer = client.post("/branches/start?run=tiny&step=20", json={"way": "as_before"}, headers=ours)
    assert answer.json["data"]["name"] == "tiny-at20-as-before"
    assert [row["state"] for row in client.get("/branches?run=tiny").json["data"]["rows"]] == ["waiting"]
    assert "error" in client.post("/branches/act/pause", json={"name": "nobody"}, headers=ours).json
    assert "error" in client.post("/branches/start?run=tiny&step=20", json=[], headers=ours).json


def test_a_run_that_is_trained_is_followed(branches, client):
    """What the page asks again grows with the run, and says that it is not finished."""
    root = branches.library.folder / "tiny"
    index, whole = root / "index.jsonl", (root / "index.jsonl").read_text()
    index.write_text("".join(line for line in whole.splitlines(keepends=True) if json.loads(line)["step"] <= 20))
    before = client.get("/branches?run=tiny").json["data"]["run"]
    assert (before["last"], before["of"], before["complete"], before["training"]) == (20, 60, False, False)
    index.write_text(whole)
    after = client.get("/branches?run=tiny").json["data"]["run"]
    assert (after["last"], after["complete"]) == (60, True)
    assert client.get("/branches/base?run=tiny").json["data"]["steps"][-1] == 60


@pytest.mark.slow
def test_a_branch_of_the_page_has_the_bytes_of_one_of_the_command_line(branches, run, tmp_path):
    """Through a process of its own."""
    jobs = Jobs(branches.library.folder, most=1)
    name = Branches(branches.library, jobs).start(run, VIEW, {"way": "without"})["name"]
    deadline = time.monotonic() + 600
    while jobs.state(jobs.job(name)) != "finished":
        assert jobs.job(name).error == ""
        assert time.monotonic() < deadline
        time.sleep(0.1)
    words = ["branch", str(run.series.root), "--at", "20", "--without", "L0H1,L1H0", "--out", str(tmp_path / "made")]
    cli.main([*words, "--quiet"])
    by_page, by_hand = open_series(jobs.folder / name), open_series(tmp_path / "made")
    assert [(e.kind, e.step, e.sha256) for e in by_page.entries] == [
        (e.kind, e.step, e.sha256) for e in by_hand.entries
    ]
    assert by_page.origin == by_hand.origin


def test_a_folder_without_branches_has_no_tree_and_one_of_branches_alone_is_shown(branches, run, tmp_path):
    assert branches.family(run) == {"rows": []}
    branch(run.series, 20, out=tmp_path / "alone" / "a", progress=False)
    branch(run.series, 40, out=tmp_path / "alone" / "b", progress=False)
    assert [path.name for path in named_together([tmp_path / "alone"])] == ["a", "b"]
    alone = Branches(Library(tmp_path / "alone"), Jobs(tmp_path / "alone", most=0))
    rows = alone.family(alone.library.run("a"))["rows"]
    assert [(row["name"], row["depth"], row["opens"], row["here"]) for row in rows] == [
        ("tiny", 0, False, False),
        ("a", 1, True, True),
        ("b", 1, True, False),
    ]
