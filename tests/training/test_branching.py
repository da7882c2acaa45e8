"""Branches: a branch has the bytes of a run that was trained from step 0 with the same done to it, the control those of
its parent; killed at any moment it goes on to the same bytes; what is impossible is refused with what helps."""

from __future__ import annotations

import pickle
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from faults import Fault

import mechicl
from mechicl.config import ScheduleConfig, TrainingIntervention
from mechicl.errors import ConfigError, ReplayError, SeriesError
from mechicl.series import Series, open_series
from mechicl.series.family import family
from mechicl.series.origin import start_state
from mechicl.series.verify import verify
from mechicl.system.disk import locked
from mechicl.training.branch_plan import default_name
from mechicl.training.branching import branch
from mechicl.training.loop import train
from mechicl.training.replay import densify, resume

HEADS = ((0, 1), (1, 0))


def files(series: Series, after: int = -1) -> dict[tuple[str, int], str]:
    """(kind, step) -> sha256 of what a run saved after a step."""
    return {(e.kind, e.step): e.sha256 for e in series.entries if e.step > after}


def scores(series: Series, after: int = -1) -> list[tuple]:
    """What was recorded after a step, training losses too."""
    return [(x["step"], x["training_loss"], x["evaluators"]) for x in series.recorded() if x["step"] > after]


def whole(root: Path) -> dict[str, bytes]:
    """Every file of a run but its lock and its manifest."""
    return {
        str(p.relative_to(root)): p.read_bytes()
        for p in root.rglob("*")
        if p.is_file() and p.name not in (".lock", "manifest.json")
    }


@pytest.fixture(scope="module")
def parent(tiny_series, tmp_path_factory) -> Series:
    """The tiny series where nothing else lies: states at 20, 40 and 60."""
    root = tmp_path_factory.mktemp("branching") / "tiny"
    shutil.copytree(tiny_series.root, root)
    return open_series(root)


@pytest.mark.parametrize("at", [0, 17, 20, 40])
def test_as_before_is_the_parent_to_the_bit(parent, tmp_path, at):
    """From a state that was kept, from one that was replayed to, and from the start: weights, moments and scores."""
    before = whole(parent.root)
    control = branch(parent, at, out=tmp_path / "control", progress=False)
    assert control.steps == [at, *(step for step in parent.steps if step > at)]
    assert files(control, at) == files(parent, at)
    assert {kind for kind, _ in files(control, at)} == {"weights", "state"}
    assert [row[::2] for row in scores(control, at)] == [row[::2] for row in scores(parent, at)]
    assert scores(control, at)[1:] == scores(parent, at)[1:]  # the first loss is the mean since the branch began
    assert control.complete
    assert verify(control.root, again=None) == []
    assert whole(parent.root) == before


OTHERWISE = {
    "without": {"without": HEADS},
    "memory": {"reset_memory": True},
    "clamped": {"interventions": [TrainingIntervention(kind="clamp", pattern="self", heads=HEADS, strength=0.5)]},
    "frozen": {"interventions": [TrainingIntervention(kind="freeze", groups=("layer.0",), start=30, stop=40)]},
    "other data": {"changes": {"sequences.burstiness": 0}},
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_a_branch_is_the_run_trained_from_step_0_with_the_same_done_to_it(parent, tmp_path, name):
    made = branch(parent, 25, out=tmp_path / "made", progress=False, **OTHERWISE[name])
    (done,) = made.config.training_interventions
    assert done.start == (30 if name == "frozen" else 25)
    again = train(replace(made.config, name="again"), tmp_path / "again", progress=False)
    assert files(made, 25) == {key: sha for key, sha in files(again).items() if key[1] > 25}
    assert [row[::2] for row in scores(made, 25)] == [row[::2] for row in scores(again, 25)]
    assert files(made, 30) != files(parent, 30)
    assert made.origin is not None
    assert (made.origin.parent, made.origin.path, made.origin.step) == ("tiny", str(parent.root), 25)
    assert made.origin.interventions[0]["kind"] == done.kind
    assert not made.origin.is_control
    assert verify(made.root, again=None) == []


def test_other_settings_take_effect_and_are_named(parent, tmp_path):
    made = branch(parent, 20, out=tmp_path / "made", changes={"optim.lr": 0.0}, progress=False)
    assert made.origin is not None
    assert made.origin.changes == {"optim.lr": 0.0}
    assert len({sha for (kind, _), sha in files(made).items() if kind == "weights"}) == 1  # nothing was learned
    assert verify(made.root) == []


@pytest.mark.parametrize("steps", [45, 100])
def test_more_or_fewer_steps_keep_the_parents_checkpoints(parent, tmp_path, steps):
    made = branch(parent, 20, steps=steps, out=tmp_path / "made", progress=False)
    shared = {key: sha for key, sha in files(parent, 20).items() if key[0] == "weights" and key[1] <= steps}
    assert shared.items() <= files(made).items()
    assert made.steps[-1] == steps
    assert verify(made.root) == []


def test_a_branch_resumes_extends_densifies_and_branches_like_any_run(parent, tmp_path):
    made = branch(parent, 20, without=HEADS, steps=40, out=tmp_path / "made", progress=False)
    longer = branch(parent, 20, without=HEADS, steps=60, out=tmp_path / "longer", progress=False)
    resume(made.root, steps=60, progress=False)
    extended = open_series(made.root)
    assert files(extended, 40) == {k: v for k, v in files(longer, 40).items() if k in files(extended)}
    assert densify(made.root, 21, 29, 2, progress=False).steps[:6] == [20, 21, 23, 25, 27, 29]
    assert verify(made.root) == []
    child = branch(made.root, 23, out=tmp_path / "child", progress=False)
    assert child.config.training_interventions == made.config.training_interventions
    assert files(child, 23).items() <= files(open_series(made.root)).items()
    with pytest.raises(
        ConfigError, match=f"Densify its parent for earlier steps: `mechicl densify {parent.root} --from 3"
    ):
        densify(made.root, 3, 30, 1, progress=False)


def test_a_run_that_keeps_metrics_only_is_branched_by_a_replay(tiny_config, tmp_path):
    light = train(replace(tiny_config, keep="metrics", states=2), tmp_path / "light", progress=False)
    made = branch(light, 30, out=tmp_path / "made", progress=False)
    assert made.steps == [30, 60]
    assert made.entry(60).sha256 == light.entry(60).sha256
    dense = densify(made.root, 40, 50, 10, progress=False)  # from the state that it began with
    assert dense.steps == [30, 40, 50, 60]
    assert verify(made.root) == []


# Killed.


@pytest.fixture(scope="module")
def unbroken(parent, tmp_path_factory) -> Series:
    return branch(parent, 25, without=HEADS, out=tmp_path_factory.mktemp("unbroken") / "made", progress=False)


def go_on(workers, root: Path, parent: Series, at: int = -1) -> int:
    """Resume; or, where it was killed before it was a run, branch again."""
    if (root / "manifest.json").exists():
        return workers.run("resume", root, at)
    return workers.run("branch", root, at, parent=str(parent.root), step=25, without=HEADS)


def killed(workers, parent: Series, unbroken: Series, root: Path, at: int) -> None:
    again = {"parent": str(parent.root), "step": 25, "without": HEADS}
    assert workers.run("branch", root, at, **again) == -signal.SIGKILL
    assert go_on(workers, root, parent) == 0
    made = open_series(root)
    assert files(made) == files(unbroken)
    assert scores(made) == scores(unbroken)
    assert made.origin == unbroken.origin
    assert verify(root) == []


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 2, 5, 8, 11, 13, 20, 33])
def test_killed_and_resumed(workers, parent, unbroken, tmp_path, at):
    killed(workers, parent, unbroken, tmp_path / "made", at)


@pytest.mark.slow
def test_killed_at_every_moment_and_resumed(workers, parent, unbroken, tmp_path):
    with Fault() as fault:
        branch(parent, 25, without=HEADS, out=tmp_path / "made", progress=False)
    for at in range(fault.seen):
        killed(workers, parent, unbroken, tmp_path / f"made-{at}" / "made", at)


def test_it_goes_on_without_its_parent(parent, workers, unbroken, tmp_path):
    """All that it needs is its own from the moment when it is a run."""
    shutil.copytree(parent.root, tmp_path / "tiny")
    again = {"parent": str(tmp_path / "tiny"), "step": 25, "without": HEADS}
    assert workers.run("branch", tmp_path / "made", 14, **again) == -signal.SIGKILL
    shutil.rmtree(tmp_path / "tiny")
    resume(tmp_path / "made", progress=False)
    assert files(open_series(tmp_path / "made")) == files(unbroken)


def test_without_its_start_it_says_how_it_is_made_again(unbroken, tmp_path):
    shutil.copytree(unbroken.root, tmp_path / "made")
    shutil.rmtree(tmp_path / "made" / "state")
    (tmp_path / "made" / "start.safetensors").unlink()
    with pytest.raises(SeriesError, match=r"start.safetensors: missing.*`mechicl branch .*tiny --at 25 --out"):
        densify(tmp_path / "made", 26, 27, 1, progress=False)


# Refused.


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"at": 61}, r"has steps 0..60, no step 61. More: `mechicl train --resume .*tiny --steps 61`"),
        ({"at": 60}, "nothing is left to train from step 60: give --steps N with N above 60"),
        ({"at": 20, "steps": 20}, "it must be above --at 20"),
        ({"at": "20"}, "expected an optimiser step"),
        ({"at": 20, "without": ((0, 7),)}, "there is no head L0H7: this model has layers 0..1 with heads 0..1"),
        ({"at": 0, "reset_memory": True}, "there is no memory yet"),
        ({"at": 20, "changes": {"model.n_layers": 3}}, "model.n_layers cannot be changed in a branch: the same model"),
        ({"at": 20, "changes": {"batch_size": 8}}, "batch_size cannot be changed in a branch"),
        ({"at": 20, "changes": {"steps": 80}}, "say --steps N"),
        ({"at": 20, "changes": {"bank.dim": 7}}, "would have shape .*choose data of the same size"),
        ({"at": 20, "changes": {"sequences.n_pairs": 3}}, "n_pairs=3, but the model is built for"),
        ({"at": 20, "interventions": [TrainingIntervention(kind="relabel", every=5, start=7)]}, "start=20 or later"),
        (
            {"at": 20, "interventions": [TrainingIntervention(kind="graft", groups=("all",), source="x", step=1)]},
            "a branch begins with its parent's",
        ),
    ],
)
def test_what_is_impossible_is_refused_before_anything_is_written(parent, tmp_path, asked, says):
    with pytest.raises((ConfigError, SeriesError), match=says):
        branch(parent, out=tmp_path / "made", progress=False, **asked)
    assert not (tmp_path / "made").exists()


def test_a_step_that_the_parent_never_came_to(parent, tmp_path):
    root = tmp_path / "tiny"
    shutil.copytree(parent.root, root)
    index = (root / "index.jsonl").read_text().splitlines(keepends=True)
    (root / "index.jsonl").write_text("".join(line for line in index if "_00000060" not in line))
    with pytest.raises(SeriesError, match="has only reached step 50, not 55: run `mechicl train --resume"):
        branch(root, 55, progress=False)
    with locked(root), pytest.raises(SeriesError, match=r"is being trained and has only reached step 50.*--at 50`"):
        branch(root, 55, progress=False)
    with locked(root):  # where it has been, it can be branched meanwhile
        assert branch(root, 45, progress=False).complete


def test_a_folder_that_holds_a_run_is_left_alone(parent, unbroken):
    before = whole(unbroken.root)
    with pytest.raises(SeriesError, match=r"contains a run already. Continue it with `mechicl train --resume"):
        branch(parent, 25, out=unbroken.root, progress=False)
    assert whole(unbroken.root) == before


def test_checkpoints_of_others_cannot_be_branched(parent, tmp_path):
    foreign = replace(parent, manifest=parent.manifest | {"source": {"place": "/elsewhere"}})
    with pytest.raises(SeriesError, match="neither data nor optimiser state"):
        branch(foreign, 20, out=tmp_path / "made", progress=False)


def test_a_parent_whose_replay_differs_is_refused(parent, tmp_path):
    root = tmp_path / "tiny"
    shutil.copytree(parent.root, root)
    lines = (root / "index.jsonl").read_text().splitlines(keepends=True)
    sha = parent.entry(30).sha256
    (root / "index.jsonl").write_text("".join(line.replace(sha, "0" * 64) for line in lines))
    with pytest.raises(
        ReplayError, match=r"different weights at step 30.*begin at step 30, the nearest one with saved weights, with"
    ) as raised:
        branch(root, 34, out=tmp_path / "made", progress=False)
    assert pickle.loads(pickle.dumps(raised.value)).nearest == 30
    shutil.rmtree(root / "state")
    with pytest.raises(ReplayError, match="begin at step 50, the nearest one"):  # at 60 nothing is left to train
        branch(root, 58, out=tmp_path / "made", progress=False)
    with pytest.raises(ReplayError, match="a branch can begin at step 30, with a new optimiser"):
        branch(root, 30, out=tmp_path / "made", progress=False)
    assert not (tmp_path / "made").exists()


def test_with_a_new_optimiser_a_checkpoints_weights_suffice(parent, tmp_path):
    """Where no replay is possible; to the bytes of a run whose moments were cleared there."""
    root = tmp_path / "tiny"
    shutil.copytree(parent.root, root)
    shutil.rmtree(root / "state")
    made = branch(root, 30, fresh_moments=True, out=tmp_path / "made", progress=False)
    cleared = (TrainingIntervention(kind="fresh_moments", start=30),)
    again = train(replace(parent.config, training_interventions=cleared), tmp_path / "again", progress=False)
    assert files(made, 30).items() <= files(again).items()
    assert files(made, 40) != files(parent, 40)
    assert verify(made.root) == []
    between = branch(
        parent, 35, fresh_moments=True, out=tmp_path / "between", progress=False
    )  # no checkpoint: replayed
    assert verify(between.root) == []


@pytest.fixture(scope="module")
def half(tiny_config, tmp_path_factory) -> Series:
    """The tiny series with weights in float16: states at 20, 40 and 60."""
    root = tmp_path_factory.mktemp("half") / "half"
    return train(replace(tiny_config, weights_dtype="float16"), root, progress=False)


@pytest.mark.parametrize("at", [20, 30, 35])  # a state and a checkpoint; a checkpoint alone; neither
def test_with_a_new_optimiser_rounded_checkpoints_do_not_round_the_start(half, tmp_path, at):
    made = branch(half, at, fresh_moments=True, out=tmp_path / "made", progress=False)
    again = train(replace(made.config, name="again"), tmp_path / "again", progress=False)
    assert files(made, at) == {key: sha for key, sha in files(again).items() if key[1] > at}
    assert [row[::2] for row in scores(made, at)] == [row[::2] for row in scores(again, at)]
    assert made.origin is not None
    assert made.origin.rounded is None
    assert "rounded" not in made.manifest["branch"]
    assert verify(made.root) == []


def test_where_no_replay_is_possible_a_rounded_start_is_said(half, tmp_path, caplog):
    """As on another machine: step 10 comes to other bytes, and no state is there."""
    root = tmp_path / "half"
    shutil.copytree(half.root, root)
    lines = (root / "index.jsonl").read_text().splitlines(keepends=True)
    sha = half.entry(10).sha256
    (root / "index.jsonl").write_text("".join(line.replace(sha, "0" * 64) for line in lines))
    shutil.rmtree(root / "state")
    made = branch(root, 30, fresh_moments=True, out=tmp_path / "made", progress=False)
    assert made.origin is not None
    assert made.origin.rounded == "float16"
    assert made.complete
    assert "half has no state at step 30 and cannot be replayed here" in caplog.text
    assert "rounded to float16" in caplog.text
    assert any("first weights are a checkpoint's, rounded to float16" in line for line in family(made))
    begun = start_state(made.root, made.origin)
    assert all(torch.equal(x, x.half().float()) for name, x in begun.items() if name.startswith("weights/"))
    assert verify(made.root) == []
    with pytest.raises(ReplayError):
        branch(root, 35, fresh_moments=True, out=tmp_path / "between", progress=False)


def test_names_tell_branches_apart(parent):
    heads = TrainingIntervention(kind="ablate", heads=HEADS, start=20)
    names = [
        default_name("tiny", 20, [], {}),
        default_name("tiny", 21, [], {}),
        default_name("tiny", 20, [heads], {}),
        default_name("tiny", 20, [], {"sequences.burstiness": 0}),
        default_name("tiny", 20, [], {"sequences.burstiness": 1}),
        *(default_name("tiny", 20, [heads] * 20, {"optim.lr": lr}) for lr in (0.1, 0.2)),
    ]
    assert names[0] == "tiny-at20-as-before"
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 100


def test_it_is_mechicls_own_verb():
    assert mechicl.branch is branch


def test_schedules_of_log_points_stay_comparable(tiny_config, tmp_path):
    """Log points depend on a run's length: a longer branch keeps its parent's."""
    plan = ScheduleConfig(log_points=6)
    run = train(replace(tiny_config, checkpoint_steps=plan), tmp_path / "run", progress=False)
    made = branch(run, 7, steps=90, out=tmp_path / "made", progress=False)
    assert {key for key in files(run, 7) if key[0] == "weights"} <= files(made).keys()
