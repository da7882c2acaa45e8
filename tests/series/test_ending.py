"""When a run is complete: all its weights, and the states that it keeps; not those that were left out on purpose."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from altered_runs import without_weights

from mechicl.series import Series, open_series
from mechicl.series.ending import has_ended, lost_states
from mechicl.series.storage import LATEST
from mechicl.series.verify import verify
from mechicl.training.ensemble import train_seeds
from mechicl.training.loop import train
from mechicl.training.replay import densify, resume


def killed_before_the_state(root: Path, step: int) -> str:
    """The run as a kill leaves it between the weights of a step and its state. Returns the state's sha256."""
    lines = [json.loads(line) for line in (root / "index.jsonl").read_text().splitlines()]
    lost = next(line for line in lines if (line["kind"], line["step"]) == ("state", step))
    (root / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines if line is not lost))
    (root / lost["file"]).unlink()
    return lost["sha256"]


def without_states(root: Path) -> Series:
    """The run as `mechicl publish` passes it on."""
    lines = (root / "index.jsonl").read_text().splitlines(True)
    (root / "index.jsonl").write_text("".join(line for line in lines if json.loads(line)["kind"] == "weights"))
    shutil.rmtree(root / "state")
    return open_series(root)


def shas(series: Series) -> dict[tuple[str, int], str]:
    return {(e.kind, e.step): e.sha256 for e in series.entries}


def test_a_run_without_its_last_state_is_resumed_to_the_same_bytes(tiny_copy, tiny_series):
    sha = killed_before_the_state(tiny_copy.root, 60)
    cut = open_series(tiny_copy.root)
    assert cut.steps == tiny_series.steps
    assert (cut.complete, lost_states(cut)) == (False, [60])
    assert verify(cut.root) == [
        f"the state of step 60 is missing (1 in all): `mechicl train --resume {cut.root}` writes it."
    ]
    again = resume(cut.root, progress=False)
    assert again.complete
    assert shas(again) == shas(tiny_series)
    assert shas(again)["state", 60] == sha
    assert (again.root / "state/step_00000060.safetensors").read_bytes() == (
        tiny_series.root / "state/step_00000060.safetensors"
    ).read_bytes()
    assert again.metrics.equals(tiny_series.metrics)
    assert verify(again.root) == []


def test_also_where_it_was_the_only_one(tiny_config, tmp_path):
    config = replace(tiny_config, states=1)
    whole = train(config, tmp_path / "tiny", progress=False)
    sha = killed_before_the_state(whole.root, 60)
    assert not open_series(whole.root).complete
    assert shas(resume(whole.root, progress=False))["state", 60] == sha


def test_training_the_seeds_again_writes_it(tiny_config, tmp_path):
    (whole,) = train_seeds(tiny_config, [0], tmp_path / "tiny", jobs=1, progress=False)
    sha = killed_before_the_state(whole.root, 60)
    (again,) = train_seeds(tiny_config, [0], tmp_path / "tiny", jobs=1, progress=False)
    assert shas(again)["state", 60] == sha


@pytest.mark.parametrize("how", ["published", "copied without the folder", "keep = 'metrics'"])
def test_a_run_without_states_on_purpose_is_complete(how, tiny_config, tiny_copy, tmp_path):
    if how == "published":
        series = without_states(tiny_copy.root)
    elif how == "keep = 'metrics'":
        series = train(replace(tiny_config, keep="metrics"), tmp_path / "kept", progress=False)
    else:
        shutil.rmtree(tiny_copy.root / "state")
        series = open_series(tiny_copy.root)
    assert series.complete
    assert has_ended(series)
    stamps = {p: p.stat().st_mtime_ns for p in series.root.rglob("*")}
    resume(series.root, progress=False)
    assert {p: p.stat().st_mtime_ns for p in series.root.rglob("*")} == stamps


def test_it_stays_complete_when_it_is_densified(tiny_copy):
    """A replay passes steps whose state was left out: it is not made again."""
    without_states(tiny_copy.root)
    dense = densify(tiny_copy.root, 33, 34, 1, progress=False)
    assert 33 in dense.steps
    assert not (dense.root / "state").exists()
    assert dense.complete


def test_given_more_steps_it_keeps_states_again(tiny_config, tiny_copy, tmp_path):
    longer = train(replace(tiny_config, steps=80), tmp_path / "longer", progress=False)
    without_states(tiny_copy.root)
    again = resume(tiny_copy.root, steps=80, progress=False)
    assert again.complete
    assert shas(again)["state", 80] == shas(longer)["state", 80]


def test_a_run_on_its_way_is_not_complete(tiny_series):
    assert not without_weights(tiny_series, 60).complete


def test_what_a_kill_left_of_the_latest_state_is_still_to_be_cleared(tiny_copy):
    assert has_ended(tiny_copy)
    (tiny_copy.root / LATEST).write_bytes(b"")
    assert tiny_copy.complete
    assert not has_ended(tiny_copy)
