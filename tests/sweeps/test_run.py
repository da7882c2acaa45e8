"""A sweep trains what is left and nothing else; it survives SIGKILL, and failures stay alone."""

from dataclasses import replace

import pytest
from small_sweep import command, files, killed

from mechicl.errors import ConfigError, SeriesError
from mechicl.series import open_series
from mechicl.series.storage import LATEST, locked
from mechicl.series.verify import verify
from mechicl.sweeps.conditions import Plan
from mechicl.sweeps.executor import Local, train_job
from mechicl.sweeps.run import FAILURES, left, statuses, sweep
from mechicl.system.files import read_jsonl
from mechicl.training.loop import Diverged, train


class Recorded:
    """An executor in this process that notes its jobs; those in `failing` end with an error."""

    def __init__(self, failing: dict[str, Exception] | None = None):
        self.failing, self.seen = failing or {}, []

    def __call__(self, jobs, heard):
        for i, job in enumerate(jobs):
            self.seen.append(job.root.name)
            error = self.failing.get(job.root.name)
            if error is None:
                train_job(job, lambda told, i=i: heard(i, told))
            elif isinstance(error, Diverged):
                train(job.config, job.root, progress=False) if not job.root.exists() else None
                (job.root / "index.jsonl").write_text("")  # begun, not finished
            yield i, error


def test_each_run_is_the_series_that_train_makes(swept, small, tmp_path):
    assert sorted(p.name for p in swept.iterdir() if p.is_dir()) == sorted(r.name for r in small.runs)
    for run in small.runs:
        alone = train(run.config, tmp_path / run.name, progress=False)
        assert verify(swept / run.name) == []
        assert {k: v for k, v in files(swept).items() if k.startswith(run.name)} == {
            f"{run.name}/{p.relative_to(alone.root).as_posix()}": p.read_bytes()
            for p in alone.root.rglob("*")
            if p.is_file() and p.name != ".lock"
        }


@pytest.mark.slow
def test_two_processes_make_the_same(swept, small, tmp_path):
    outcome = sweep(small, tmp_path / "small", executor=Local(2), progress=False)
    assert sorted(outcome.finished) == sorted(r.name for r in small.runs)
    assert files(tmp_path / "small") == files(swept)


def test_finished_runs_are_not_touched_and_new_seeds_are_added(small, tmp_path):
    out, first = tmp_path / "small", Recorded()
    sweep(small, out, executor=first, progress=False)
    assert first.seen == [r.name for r in small.runs]
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    again = Recorded()
    assert len(sweep(small, out, executor=again, progress=False).finished) == 4
    assert again.seen == []
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == stamps
    more = Recorded()
    assert len(sweep(replace(small, seeds=(0, 3, 5)), out, executor=more, progress=False).finished) == 6
    assert more.seen == ["n_labels-none-s5", "n_labels-4-s5"]


def test_what_a_kill_left_of_a_finished_run_is_cleared_away(small, tmp_path):
    out = tmp_path / "small"
    sweep(small, out, executor=Recorded(), progress=False)
    before = files(out)
    (out / small.runs[1].name / LATEST).write_bytes(b"the state before the last step")
    again = Recorded()
    sweep(small, out, executor=again, progress=False)
    assert again.seen == [small.runs[1].name]
    assert files(out) == before


def test_a_failure_is_recorded_and_stays_alone(small, tmp_path):
    out = tmp_path / "small"
    lost, diverged = "n_labels-none-s0", "n_labels-4-s3"
    first = Recorded({lost: SeriesError("the disk is full"), diverged: Diverged("the training loss is nan")})
    outcome = sweep(small, out, executor=first, progress=False)
    assert outcome.failed == {lost: "the disk is full", diverged: "the training loss is nan"}
    assert sorted(outcome.finished) == ["n_labels-4-s0", "n_labels-none-s3"]
    assert read_jsonl(out / FAILURES) == [
        {"run": lost, "diverged": False, "error": "the disk is full"},
        {"run": diverged, "diverged": True, "error": "the training loss is nan"},
    ]
    # What diverged would diverge again; the disk may have room by now.
    assert [r.name for r in left(statuses(small, out))] == [lost]
    assert [r.name for r in left(statuses(small, out), retry=True)] == [diverged, lost]
    again = Recorded()
    sweep(small, out, executor=again, retry=True, progress=False)
    assert again.seen == [diverged, lost]
    assert set(statuses(small, out).values()) == {"finished"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid:RuntimeWarning")
def test_a_run_that_diverges_does_not_stop_the_others(small, tmp_path):
    bad, good = small.conditions
    config = replace(bad.config, optim=replace(bad.config.optim, lr=1e30))
    found = replace(small, conditions=(replace(bad, config=config), good), seeds=(0,))
    outcome = sweep(found, tmp_path / "small", executor=Local(1), progress=False)
    assert outcome.finished == ["n_labels-4-s0"]
    assert "the run diverged and stopped" in outcome.failed["n_labels-none-s0"]
    assert sorted(statuses(found, tmp_path / "small").values()) == ["diverged", "finished"]


def test_impossible_conditions_are_refused_before_anything_is_trained(small, tmp_path):
    bad = replace(
        small.conditions[1].config,
        bank=replace(small.conditions[1].config.bank, n_labels=2),
        sequences=replace(small.conditions[1].config.sequences, n_pairs=4),
    )
    found = replace(small, conditions=(small.conditions[0], replace(small.conditions[1], config=bad)))
    with pytest.raises(ConfigError, match=r"evaluator 'ciwl'.*distinct"):
        sweep(found, tmp_path / "small", executor=Recorded(), progress=False)
    assert not (tmp_path / "small").exists()


def test_other_settings_on_disk_are_refused(small, swept):
    changed = replace(small.conditions[0], config=replace(small.conditions[0].config, n_eval=60))
    with pytest.raises(ConfigError, match="was trained with other settings than the sweep's file has now"):
        sweep(replace(small, conditions=(changed,)), swept, progress=False)


def test_one_sweep_at_a_time(small, tmp_path):
    out = tmp_path / "small"
    out.mkdir()
    with locked(out), pytest.raises(SeriesError, match="being written by another process"):
        sweep(small, out, executor=Recorded(), progress=False)


# Killed, from outside, at a moment that what is on the disk tells.


@pytest.mark.parametrize("lines", [pytest.param(n, marks=pytest.mark.slow) for n in (1, 6, 12)])
def test_killed_and_called_again(small, small_file, swept, tmp_path, lines):
    out = tmp_path / "small"
    killed(small_file, out, lines)
    for path in out.glob("*/manifest.json"):
        open_series(path.parent)
    assert command(small_file, out).wait() == 0
    # A step that was replayed may have its line later; everything else is byte for byte the same.
    found, wanted = ({k: v for k, v in files(each).items() if "metrics" not in k} for each in (out, swept))
    assert found == wanted
    for run in small.runs:
        assert open_series(out / run.name).metrics.equals(open_series(swept / run.name).metrics)


def test_the_plan_is_described(small, swept):
    from mechicl.sweeps.estimate import Pace
    from mechicl.sweeps.run import describe

    assert "nothing left to train" in describe(small, statuses(small, swept), {}, 2)
    empty = statuses(small, swept / "nowhere")
    pace = {c.name: Pace(step=0.5, evaluation=10.0, start=2.0) for c in small.conditions}  # 72 s a run
    text = describe(small, empty, pace, 2)
    assert "2 conditions x 2 seeds = 4 runs" in text
    assert "n_labels-none  72 s a run; 2 new" in text
    assert "4 to train: about 2 min with 2 processes" in text
    three: Plan = replace(small, seeds=(0,), conditions=small.conditions[:1])
    assert "1 to train: about 72 s with 1 processes" in describe(three, statuses(three, swept / "nowhere"), pace, 8)


def test_a_run_without_its_last_state_is_gone_on_with(small, tmp_path):
    """As a kill leaves it between its last weights and its last state."""
    condition = small.conditions[0]
    kept = replace(small, conditions=(replace(condition, config=replace(condition.config, keep="all")),), seeds=(0,))
    out = tmp_path / "small"
    sweep(kept, out, executor=Recorded(), progress=False)
    before, (run,) = files(out), kept.runs
    index = out / run.name / "index.jsonl"
    *others, last = index.read_text().splitlines(True)
    assert '"state"' in last
    index.write_text("".join(others))
    assert statuses(kept, out) == {run: "interrupted"}
    again = Recorded()
    sweep(kept, out, executor=again, progress=False)
    assert again.seen == [run.name]
    after = files(out)
    metrics = f"{run.name}/metrics.jsonl"  # the step that was replayed has a second line
    assert after.pop(metrics).startswith(before.pop(metrics))
    assert after == before
