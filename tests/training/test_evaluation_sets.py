"""One curve is of one evaluation set, and a step that was scored has one line."""

import dataclasses
import json

import pytest
from small_run import small

from mechicl.errors import SeriesError
from mechicl.registry import EVALUATORS
from mechicl.series import open_series
from mechicl.series.verify import verify
from mechicl.system.files import read_json, write_json
from mechicl.training.loop import train
from mechicl.training.replay import resume


def cut(root, step):
    """As if the process had been killed after it scored a step, before it saved the step's weights."""
    entries = [json.loads(line) for line in (root / "index.jsonl").read_text().splitlines()]
    (root / "index.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries if e["step"] < step))
    lines = (root / "metrics.jsonl").read_text().splitlines(keepends=True)
    (root / "metrics.jsonl").write_text("".join(x for x in lines if json.loads(x)["step"] <= step))


@pytest.fixture
def begun(tmp_path):
    """A run that was interrupted at its last step."""
    root = train(small(), tmp_path / "run", progress=False).root
    cut(root, 12)
    return root


def test_each_set_is_in_the_manifest(begun):
    assert set(read_json(begun / "manifest.json")["evaluation_sets"]) == set(open_series(begun).metrics.evaluator)


def test_an_evaluator_that_draws_otherwise_by_now_is_refused_by_name(begun, monkeypatch):
    before, flip = (begun / "metrics.jsonl").read_bytes(), EVALUATORS["flip"]

    def other(config, source, n, rng):
        rng.random()
        return flip.draw(config, source, n, rng)

    monkeypatch.setitem(EVALUATORS._entries, "flip", dataclasses.replace(flip, draw=other))
    with pytest.raises(SeriesError, match="the evaluator 'flip' draws other sequences now than when the run began"):
        resume(begun, progress=False)
    assert (begun / "metrics.jsonl").read_bytes() == before


def test_a_run_of_an_earlier_mechicl_goes_on(begun):
    manifest = read_json(begun / "manifest.json")
    del manifest["evaluation_sets"]
    write_json(begun / "manifest.json", manifest)
    assert resume(begun, progress=False).complete
    assert "evaluation_sets" not in read_json(begun / "manifest.json")


def test_a_step_that_is_scored_again_after_a_failure_replaces_its_line(begun):
    path = begun / "metrics.jsonl"
    *first, last = path.read_text().splitlines()
    wrong = json.loads(last)
    wrong["evaluators"][0]["value"] = 0.123
    path.write_text("\n".join([*first, json.dumps(wrong)]) + "\n")
    series = resume(begun, progress=False)
    assert path.read_text().splitlines() == [*first, last]
    assert verify(series.root) == []
