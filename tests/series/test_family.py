"""What a run says of its family: shown, verified, and found again after a move."""

from __future__ import annotations

import json
import shutil

import pytest

from mechicl.errors import SeriesError
from mechicl.reporting.summary import one
from mechicl.series import open_series
from mechicl.series.family import children_of, compared, done, family, parent_of
from mechicl.series.verify import verify
from mechicl.training.branching import branch


@pytest.fixture(scope="module")
def relatives(tiny_series, tmp_path_factory):
    """A parent with two branches and a grandchild, beside one another."""
    root = tmp_path_factory.mktemp("family") / "runs"
    shutil.copytree(tiny_series.root, root / "tiny")
    branch(root / "tiny", 20, out=root / "control", progress=False)
    branch(root / "tiny", 25, without=((0, 1),), out=root / "treated", progress=False)
    branch(root / "treated", 40, changes={"sequences.burstiness": 0}, out=root / "grandchild", progress=False)
    return root


@pytest.fixture
def moved(relatives, tmp_path):
    shutil.copytree(relatives, tmp_path / "runs")
    for name in ("control", "treated", "grandchild"):
        path = tmp_path / "runs" / name / "manifest.json"
        path.write_text(path.read_text().replace(str(relatives), str(tmp_path / "gone")))
    return tmp_path / "runs"


def test_parents_and_children_are_found(relatives):
    tiny, treated = open_series(relatives / "tiny"), open_series(relatives / "treated")
    assert [child.name for child in children_of(tiny)] == ["control", "treated"]
    assert [child.name for child in children_of(treated)] == ["grandchild"]
    found = parent_of(treated)
    assert found is not None
    assert found.root == tiny.root
    assert parent_of(tiny) is None
    assert done(treated) == "ablate L0H1"
    assert done(open_series(relatives / "control")) == "as before"
    assert done(open_series(relatives / "grandchild")) == "data burstiness=0"


def test_the_control_is_shown_as_equal_to_its_parent(relatives):
    said = one(open_series(relatives / "control"))
    assert "branch of tiny at step 20: as before" in said
    assert "equal to its parent: 4 checkpoints and 2 states with their moments after that step, bit for bit" in said
    said = one(open_series(relatives / "treated"))
    assert "differs from its parent from step 30 on" in said
    assert "has the branch grandchild at step 40" in said
    assert "equal" not in said
    said = one(open_series(relatives / "tiny"))
    assert "has the branch treated at step 25: ablate L0H1" in said


def test_equality_is_of_bytes(moved):
    """One altered moment, and the control is not equal any more: in what is said, and a problem for verify."""
    index = moved / "tiny" / "index.jsonl"
    lines = [json.loads(line) for line in index.read_text().splitlines()]
    for line in lines:
        if (line["kind"], line["step"]) == ("state", 40):
            line["sha256"] = "0" * 64
    index.write_text("".join(json.dumps(line) + "\n" for line in lines))
    control = open_series(moved / "control")
    found = compared(control, open_series(moved / "tiny"))
    assert (found.equal, found.differs) == (False, 40)
    assert "DIFFERS from its parent" in "\n".join(family(control))
    assert verify(moved / "control") == [
        f"step 40: other bytes than its parent {moved / 'tiny'} has, though nothing was changed."
    ]


def test_a_family_that_moved_together_is_one(moved):
    found = parent_of(open_series(moved / "control"))
    assert found is not None
    assert found.root == moved / "tiny"
    assert "control" in [child.name for child in children_of(open_series(moved / "tiny"))]


def test_another_run_in_the_parents_place_is_not_the_parent(moved):
    for name in ("control", "treated"):
        record = json.loads((moved / name / "manifest.json").read_text())
        record["branch"]["kept"]["sha256"] = "1" * 64
        (moved / name / "manifest.json").write_text(json.dumps(record))
    control, notes = open_series(moved / "control"), []
    assert parent_of(control) is None
    assert children_of(open_series(moved / "tiny")) == []
    assert "not compared" in "\n".join(family(control))
    assert verify(moved / "control", notes=notes) == []
    assert any("not compared" in note for note in notes)


def test_a_branch_opens_and_verifies_without_its_parent(moved):
    shutil.rmtree(moved / "tiny")
    assert open_series(moved / "treated").complete
    assert verify(moved / "treated") == []


def test_an_altered_start_is_found(moved):
    path = moved / "treated" / "start.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert verify(moved / "treated") == ["start.safetensors: its sha256 is not the recorded one (altered)."]
    path.unlink()
    assert verify(moved / "treated") == ["start.safetensors: missing."]


def test_a_record_that_is_none_is_refused(moved):
    record = json.loads((moved / "treated" / "manifest.json").read_text())
    del record["branch"]["start"]
    (moved / "treated" / "manifest.json").write_text(json.dumps(record))
    with pytest.raises(SeriesError, match="its record of the branch is not valid"):
        open_series(moved / "treated")
