"""A run that is given more steps has the bytes of one that had them from the start."""

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from faults import Fault
from small_run import metric_lines

from mechicl.config import Config, OptimConfig, ScheduleConfig, SequenceConfig, TrainingIntervention, Window, to_dict
from mechicl.errors import ConfigError, SeriesError
from mechicl.schedule import evaluated_steps
from mechicl.series import Series, open_series
from mechicl.series.storage import LATEST
from mechicl.series.verify import verify
from mechicl.system.files import write_json
from mechicl.training.loop import train
from mechicl.training.replay import resume


@pytest.fixture(scope="module")
def config(tiny_config) -> Config:
    """12 steps, evaluated every 4, states at 4, 8 and 12."""
    return replace(tiny_config, name="short", steps=12, checkpoint_steps=ScheduleConfig(linear_every=4), n_eval=20)


@pytest.fixture(scope="module")
def short(config, tmp_path_factory) -> Series:
    return train(config, tmp_path_factory.mktemp("short") / "run", progress=False)


@pytest.fixture(scope="module")
def long(config, tmp_path_factory) -> Series:
    """20 steps without a break."""
    return train(replace(config, steps=20), tmp_path_factory.mktemp("long") / "run", progress=False)


@pytest.fixture
def copy(short, tmp_path) -> Path:
    shutil.copytree(short.root, tmp_path / "run")
    return tmp_path / "run"


def weights(series: Series) -> dict[int, str]:
    return {e.step: e.sha256 for e in series.entries if e.kind == "weights"}


def states(series: Series) -> dict[int, str]:
    return {e.step: e.sha256 for e in series.entries if e.kind == "state"}


def same_as_unbroken(root: Path, tmp_path: Path) -> Series:
    """The run is, at every step, what its config gives from step 0."""
    series = open_series(root)
    anew = train(series.config, tmp_path / "anew", progress=False)
    assert weights(series) == weights(anew)
    assert metric_lines(series.root) == metric_lines(anew.root)
    assert series.manifest["schedule"] == anew.manifest["schedule"]
    common = states(series).keys() & states(anew).keys()
    assert series.config.steps in common or series.config.keep == "metrics"
    assert all(states(series)[step] == states(anew)[step] for step in common)
    assert verify(root) == []
    return series


def test_on_an_even_schedule_it_is_the_longer_run_to_the_byte(copy, long, short, config):
    before = (copy / "metrics.jsonl").read_bytes()
    series = resume(copy, steps=20, progress=False)
    assert series.config == replace(config, steps=20) == long.config
    assert weights(series) == weights(long)
    assert (copy / "metrics.jsonl").read_bytes() == (long.root / "metrics.jsonl").read_bytes()
    assert (copy / "metrics.jsonl").read_bytes().startswith(before)
    assert states(series) == states(short) | {s: x for s, x in states(long).items() if s > 12}
    assert verify(copy) == []
    (entry,) = series.manifest["extended"]
    assert (entry["from"], entry["to"], entry["at"]) == (12, 20, 12)
    assert entry["versions"] == short.manifest["versions"]
    assert series.manifest["config_sha256"] == long.manifest["config_sha256"]
    changed = ("extended", "schedule", "config_sha256")
    rest = {k: v for k, v in series.manifest.items() if k not in changed}
    assert rest == {k: v for k, v in short.manifest.items() if k not in changed}


def test_what_is_there_is_not_touched(copy):
    stamps = {p: p.stat().st_mtime_ns for p in copy.glob("*/*")}
    resume(copy, steps=20, progress=False)
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps


@pytest.mark.parametrize(
    "schedule",
    [
        ScheduleConfig(log_points=4),
        ScheduleConfig(linear_every=5, log_points=3),
        ScheduleConfig(linear_every=7, steps=(2, 11), windows=(Window(start=6, stop=10, every=3),)),
        ScheduleConfig(),
    ],
)
def test_whatever_the_schedule(config, tmp_path, schedule):
    given = replace(config, checkpoint_steps=schedule)
    train(given, tmp_path / "run", progress=False)
    resume(tmp_path / "run", steps=25, progress=False)
    series = same_as_unbroken(tmp_path / "run", tmp_path)
    kept, longer = evaluated_steps(given), evaluated_steps(replace(given, steps=25))
    assert series.steps == [*kept, *(s for s in longer if s > 12)]


def test_twice_is_as_if_the_second_had_been_asked_first(config, tmp_path):
    given = replace(config, checkpoint_steps=ScheduleConfig(log_points=5))
    train(given, tmp_path / "run", progress=False)
    resume(tmp_path / "run", steps=20, progress=False)
    resume(tmp_path / "run", steps=90, progress=False)
    series = same_as_unbroken(tmp_path / "run", tmp_path)
    later = [s for s in evaluated_steps(replace(given, steps=90)) if s > 20]
    assert len(later) > 1  # the log points go on
    assert [s for s in series.steps if s > 20] == later
    assert [e["to"] for e in series.manifest["extended"]] == [20, 90]


TREATED = {
    "relabelled": {"training_interventions": (TrainingIntervention(kind="relabel", every=5),)},
    "relabelled until": {"training_interventions": (TrainingIntervention(kind="relabel", start=3, stop=10, every=2),)},
    "reset": {
        "training_interventions": (TrainingIntervention(kind="reset", groups=("embeddings",), start=6, every=5),)
    },
    "switched": {
        "training_interventions": (
            TrainingIntervention(kind="data", start=10, fresh_moments=True, sequences=SequenceConfig(labels="random")),
        )
    },
    "ablated and frozen": {
        "training_interventions": (
            TrainingIntervention(kind="ablate", heads=((0, 1),), start=10),
            TrainingIntervention(kind="freeze", groups=("attention",), stop=11),
        )
    },
    "warming up": {"optim": OptimConfig(lr=1e-2, warmup_steps=16, lr_schedule="inverse_sqrt", l2=1e-3)},
    "half": {"weights_dtype": "float16"},
}


@pytest.mark.parametrize("name", TREATED)
def test_what_depends_on_the_step_goes_on(config, tmp_path, name):
    given = replace(config, **TREATED[name])
    train(given, tmp_path / "run", progress=False)
    resume(tmp_path / "run", steps=20, progress=False)
    series = same_as_unbroken(tmp_path / "run", tmp_path)
    assert series.config == replace(given, steps=20)


def test_a_run_that_keeps_no_state_is_replayed_from_the_start(config, tmp_path):
    given = replace(config, keep="metrics")
    first = train(given, tmp_path / "run", progress=False)
    assert states(first) == {}
    series = resume(tmp_path / "run", steps=20, progress=False)
    anew = train(replace(given, steps=20), tmp_path / "anew", progress=False)
    assert metric_lines(series.root) == metric_lines(anew.root)
    assert weights(series) == weights(first) | weights(anew)  # its former end stays
    assert series.manifest["extended"][0]["at"] == 0
    assert not (series.root / LATEST).exists()
    assert verify(series.root) == []


@pytest.mark.parametrize("keep", ["all", "metrics"])
def test_a_run_that_was_interrupted(config, tmp_path, monkeypatch, keep):
    from mechicl.training.step import Trainer

    given, update = replace(config, keep=keep), Trainer.update

    def stopped(trainer, batch):
        if trainer.step == 10:
            raise KeyboardInterrupt
        return update(trainer, batch)

    monkeypatch.setattr(Trainer, "update", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(given, tmp_path / "run", progress=False)
    monkeypatch.undo()
    resume(tmp_path / "run", steps=20, progress=False)
    series = same_as_unbroken(tmp_path / "run", tmp_path)
    assert series.manifest["extended"][0]["at"] == 8
    assert series.config == replace(given, steps=20)


def test_as_many_as_it_has_is_a_resume(copy, short):
    stamps = {p: p.stat().st_mtime_ns for p in copy.rglob("*")}
    assert resume(copy, steps=12, progress=False).entries == short.entries
    assert {p: p.stat().st_mtime_ns for p in copy.rglob("*")} == stamps


@pytest.mark.parametrize("steps", [11, 0, -3, 20.0, "20", True])
def test_fewer_steps_are_refused(copy, short, steps):
    with pytest.raises(ConfigError, match=r"is planned for 12 steps: give more"):
        resume(copy, steps=steps, progress=False)
    assert (copy / "config.json").read_bytes() == (short.root / "config.json").read_bytes()


def edited(root: Path, change) -> None:
    config = json.loads((root / "config.json").read_text())
    change(config)
    write_json(root / "config.json", config)


def test_a_config_that_was_edited_to_more_steps_is_explained_and_can_be_extended(copy, long):
    edited(copy, lambda c: c.update(steps=20))
    for ask in (lambda: resume(copy, progress=False), lambda: resume(copy, steps=12, progress=False)):
        with pytest.raises(SeriesError) as error:
            ask()
        assert "asks for 20 steps, but the run was begun with 12" in str(error.value)
        assert f"`mechicl train --resume {copy} --steps 20` extends it" in str(error.value)
    assert any(f"mechicl train --resume {copy} --steps 20" in problem for problem in verify(copy))
    assert weights(resume(copy, steps=20, progress=False)) == weights(long)
    assert verify(copy) == []


def test_other_edits_are_refused(copy):
    edited(copy, lambda c: c.update(steps=8))
    with pytest.raises(SeriesError, match="asks for 8 steps, but the run was begun with 12: put steps back"):
        resume(copy, progress=False)
    edited(copy, lambda c: c.update(steps=12, checkpoint_steps=c["checkpoint_steps"] | {"linear_every": 3}))
    with pytest.raises(SeriesError, match="has a different schedule from the one that the run was trained with"):
        resume(copy, steps=20, progress=False)


def moments(root: Path) -> int:
    with Fault() as fault:
        resume(root, steps=20, progress=False)
    return fault.seen


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed(workers, short, long, tmp_path):
    shutil.copytree(short.root, tmp_path / "counted")
    seen = moments(tmp_path / "counted")
    for at in [*range(8), *range(8, seen, 5)]:  # the first are the manifest's and the config's
        root = tmp_path / f"killed-{at}"
        shutil.copytree(short.root, root)
        assert workers.run("resume", root, at, steps=20) == -signal.SIGKILL
        begun = "extended" in open_series(root).manifest
        assert workers.run("resume", root, **({} if begun else {"steps": 20})) == 0
        series = open_series(root)
        assert series.config == long.config
        assert weights(series) == weights(long)
        assert metric_lines(series.root) == metric_lines(long.root)
        assert verify(root) == []


def test_between_manifest_and_config_the_run_opens_and_says_what_to_do(short, workers, tmp_path):
    shutil.copytree(short.root, tmp_path / "run")
    assert workers.run("resume", tmp_path / "run", 4, steps=20) == -signal.SIGKILL
    series = open_series(tmp_path / "run")
    assert (series.config.steps, max(series.manifest["schedule"])) == (12, 20)
    (problem,) = verify(tmp_path / "run")
    assert f"was being extended from 12 to 20 steps: `mechicl train --resume {tmp_path / 'run'}`" in problem
    assert to_dict(resume(tmp_path / "run", progress=False).config)["steps"] == 20
