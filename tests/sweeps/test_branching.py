"""Conditions that branch: the bytes of `mechicl branch`, after their parent, through a kill, and with what is said of
wrong ones."""

import itertools
import shlex
import shutil
import tomllib

import pandas as pd
import pytest
from small_sweep import SMALL, command, files, killed

from mechicl import cli
from mechicl.errors import ConfigError, SeriesError
from mechicl.series import open_series
from mechicl.series.verify import verify
from mechicl.sweeps.conditions import Plan
from mechicl.sweeps.executor import Local, train_job
from mechicl.sweeps.gather import gather
from mechicl.sweeps.plan import plan
from mechicl.sweeps.run import FAILURES, describe, left, statuses, sweep
from mechicl.system.files import read_json, read_jsonl, write_json
from mechicl.system.slurm import Slurm

HEAD = SMALL[: SMALL.index("[[grid]]")].replace('keep = "metrics"\n', "")
GRIDS = """
[[grid]]
name = "as-before"
branch = {from = "base", at = [17, 40]}

[[grid]]
branch = {from = "base", at = 20, without = ["L0H1", "L1H0"]}

[[grid]]
name = "more"
branch = {from = "base", at = 20, steps = 80, reset_memory = true, fresh_moments = true}
sequences.burstiness = 0
optim.lr = 1e-3

[[grid]]
name = "later"
branch = {from = "as-before_at-17", at = 30, clamp = ["self:L0H0=0.5"], intervene = [
  {kind = "freeze", groups = ["unembedding"], stop = 40}]}
"""
FAMILY = f'{HEAD}\n[[grid]]\nname = "base"\n{GRIDS}'
ALONE = {  # the same by `mechicl branch`
    "base-at20-ablate-L0H1-L1H0": "--at 20 --without L0H1,L1H0",
    "more": "--at 20 --steps 80 --reset-memory --fresh-moments --set sequences.burstiness=0 --set optim.lr=1e-3",
    "later": "--at 30 --clamp self:L0H0=0.5 --intervene "
    """'{kind = "freeze", groups = ["unembedding"], stop = 40}'""",
}


def family(text: str = FAMILY) -> Plan:
    return plan(tomllib.loads(text), "family")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "family.toml"
    path.write_text(FAMILY)
    return path


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """The family, trained and gathered. To read, never to write."""
    out = tmp_path_factory.mktemp("grown") / "family"
    assert not sweep(family(), out, executor=Local(2), progress=False).failed
    gather(family(), out, progress=False)
    return out


def test_as_before_is_the_parent_bit_for_bit(grown):
    for seed in (0, 3):
        base = {(e.kind, e.step): e.sha256 for e in open_series(grown / f"base-s{seed}").entries}
        for at in (17, 40):
            control = open_series(grown / f"as-before_at-{at}-s{seed}")
            assert control.origin is not None
            assert (control.origin.parent, control.origin.step) == (f"base-s{seed}", at)
            assert control.steps[0] == at
            later = {(e.kind, e.step): e.sha256 for e in control.entries if e.step > at}
            assert later == {key: sha for key, sha in base.items() if key[1] > at}
            assert verify(control.root, again=None) == []


@pytest.mark.parametrize("name", ALONE)
def test_a_branch_of_a_sweep_is_that_of_mechicl_branch(grown, tmp_path, capsys, name):
    made = grown / f"{name}-s3"
    out = tmp_path / made.name
    origin = open_series(made).origin
    assert origin is not None
    cli.main(["branch", origin.path, *shlex.split(ALONE[name]), "--out", str(out), "--quiet"])
    capsys.readouterr()
    assert files(out.parent) == {k: v for k, v in files(grown).items() if k.startswith(f"{made.name}/")}
    assert verify(made, again=None) == []


def test_a_run_that_is_there_is_branched_at_its_own_seed(grown, tmp_path):
    text = f'seeds = [0, 3]\n[[grid]]\nbranch = {{from = "{grown}/base-s{{seed}}", at = 20, without = ["L1H1"]}}'
    found = family(text)
    assert [run.name for run in found.runs] == ["base-at20-ablate-L1H1-s0", "base-at20-ablate-L1H1-s3"]
    assert sweep(found, tmp_path / "out", executor=Local(1), progress=False).failed == {}
    assert [open_series(tmp_path / "out" / run.name).config.seeds.init for run in found.runs] == [0, 3]
    assert set(statuses(found, tmp_path / "out").values()) == {"finished"}


def test_the_table_has_parent_step_and_change(grown):
    table, summary = (pd.read_parquet(grown / f"{name}.parquet") for name in ("table", "summary"))
    rows = table.groupby("run")[["parent", "parent_step", "change"]].first()
    assert tuple(rows.loc["later-s3"]) == (
        "as-before_at-17-s3",
        30,
        "clamp self 0.5 L0H0; freeze unembedding",
    )
    assert tuple(rows.loc["as-before_at-40-s0"]) == ("base-s0", 40, "as before")
    assert rows.loc["base-s0"].isna().to_numpy().all()
    assert table[table.condition == "more"]["sequences.burstiness"].unique().tolist() == [0]
    assert table[table.condition == "base"]["sequences.burstiness"].unique().tolist() == [1]
    assert table.groupby("run").step.min()["later-s3"] == 30
    of = summary.groupby("condition")[["parent", "parent_step"]].first()
    assert tuple(of.loc["later"]) == ("as-before_at-17", 30)


def test_a_branchs_losses_are_of_what_it_was_trained_on(grown):
    table = pd.read_parquet(grown / "table.parquet").query("evaluator == 'training'")
    for name in ("base-s0", "as-before_at-17-s0", "as-before_at-40-s0", "later-s3"):
        series, rows = open_series(grown / name), table[table.run == name]
        begins = 0 if series.origin is None else series.origin.step
        steps = [begins, *rows.step]
        assert list(rows.n) == [(b - a) * series.config.batch_size for a, b in itertools.pairwise(steps)]
        assert rows.n.sum() == (series.config.steps - begins) * series.config.batch_size


def test_the_plan_says_from_where(grown):
    found = family()
    said = describe(found, statuses(found, grown), {}, 2)
    assert "later                       2 finished; from as-before_at-17 at step 30" in said
    assert "base                        2 finished\n" in said


class InTheGivenOrder:
    """An executor in this process, whose jobs in `failing` end with an error before they begin."""

    def __init__(self, *failing: str):
        self.failing, self.seen = failing, []

    def __call__(self, jobs, heard):
        for i, job in enumerate(jobs):
            self.seen.append((job.name, job.after))
            try:
                if job.name in self.failing:
                    raise SeriesError("the disk is full")
                train_job(job)
            except SeriesError as error:
                yield i, error
            else:
                yield i, None


def test_a_parent_that_failed_fails_its_branches_alone(grown, tmp_path):
    out, executor = tmp_path / "family", InTheGivenOrder("base-s0")
    outcome = sweep(family(), out, executor=executor, progress=False)
    of_seed = {run.name for run in family().runs if run.seed == 0}
    assert set(outcome.failed) == of_seed
    assert outcome.failed["as-before_at-40-s0"] == (
        f"as-before_at-40-s0 branches from {out / 'base-s0'}, which is not there: it was not begun, or failed before "
        "its first step. The same sweep tries both again."
    )
    assert {line["run"] for line in read_jsonl(out / FAILURES)} == of_seed
    assert ("later-s3", "as-before_at-17-s3") in executor.seen
    again = sweep(family(), out, executor=InTheGivenOrder(), progress=False)
    assert again.failed == {}
    assert but_manifests(out) == but_manifests(grown)


def but_manifests(root):
    """Files of runs whose bytes do not depend on where they lie."""
    return {name: data for name, data in files(root).items() if "manifest" not in name and "slurm/" not in name}


def test_a_parent_that_did_not_come_so_far(grown, tmp_path):
    """Its own error, of that condition alone."""
    shutil.copytree(grown / "base-s3", tmp_path / "base-s3")
    index = tmp_path / "base-s3" / "index.jsonl"
    index.write_text("".join(line for line in index.read_text().splitlines(True) if '"step": 60' not in line))
    index.write_text("".join(line for line in index.read_text().splitlines(True) if '"step": 40' not in line))
    text = f'seeds = [3]\n[[grid]]\nname = "x"\nbranch = {{from = "{tmp_path}/base-s{{seed}}", at = [10, 50]}}'
    outcome = sweep(family(text), tmp_path / "out", executor=Local(1), progress=False)
    assert outcome.finished == ["x_at-10-s3"]
    assert "has only reached step 20, not 50" in outcome.failed["x_at-50-s3"]


def test_what_was_begun_does_not_wait(grown, tmp_path):
    """A branch that was interrupted has what it began with; its parent may be gone."""
    out = tmp_path / "family"
    shutil.copytree(grown, out, ignore=shutil.ignore_patterns("base-s0"))
    index = out / "as-before_at-40-s0" / "index.jsonl"
    index.write_text(index.read_text().splitlines(True)[0])
    executor = InTheGivenOrder()
    assert sweep(family(), out, executor=executor, progress=False).failed == {}
    assert executor.seen == [("as-before_at-40-s0", None), ("base-s0", None)]


@pytest.mark.parametrize("lines", [pytest.param(n, marks=pytest.mark.slow) for n in (1, 9, 20, 30)])
def test_killed_and_called_again(file, grown, tmp_path, lines):
    out = tmp_path / "family"
    killed(file, out, lines)
    assert command(file, out).wait() == 0
    for run in family().runs:
        mine, theirs = open_series(out / run.name), open_series(grown / run.name)
        assert {(e.kind, e.step): e.sha256 for e in mine.entries} == {
            (e.kind, e.step): e.sha256 for e in theirs.entries
        }
        assert mine.metrics.equals(theirs.metrics)
    assert not left(statuses(family(), out))


def test_through_slurm_in_two_arrays(grown, tmp_path, monkeypatch):
    """A branch is submitted when its parent has ended, and there is room."""
    from slurm_queue import Queue

    queue, out = Queue(monkeypatch), tmp_path / "family"
    sent = []
    submit = queue.map_array

    def map_array(task, jobs, files):
        sent.append([job.name for job in jobs])
        return submit(task, jobs, files)

    queue.map_array = map_array
    outcome = sweep(family(), out, executor=Slurm(out / "slurm", poll=0, at_once=3), progress=False)
    assert outcome.failed == {}
    assert sent[0] == ["base-s0", "base-s3"]
    assert max(map(len, sent)) <= 3
    assert sorted(name for each in sent for name in each) == sorted(run.name for run in family().runs)
    assert but_manifests(out) == but_manifests(grown)


WRONG = {
    '[[grid]]\nbranch = {from = "bass", at = 20}': "grid 2.branch.from='bass': there is no condition of this "
    "name above (there: base). Did you mean 'base'? A run's folder is written with a '/', as './bass'.",
    '[[grid]]\nbranch = {from = "base"}': "grid 2.branch.at is missing: expected a step, such as 1500.",
    '[[grid]]\nbranch = {from = "base", at = 60}': "grid 2: branch.at=60: nothing is left to train of 60 steps. "
    "Write an earlier step, or a larger branch.steps",
    '[[grid]]\nbranch = {from = "base", at = 61}': "grid 2: branch.at=61: base has steps 0 to 60.",
    '[[grid]]\nbranch = {from = "base", at = "20"}': "grid 2.branch.at='20': expected a step, such as 1500.",
    '[[grid]]\nbranch = {from = "base", att = 20}': "grid 2.branch.att: unknown key. Did you mean 'at'?",
    '[[grid]]\nbranch = "base"': "grid 2.branch='base': expected a table",
    '[[grid]]\nbranch = {from = "base", at = 20, without = ["L0"]}': "grid 2.branch.without L0: expected",
    '[[grid]]\nbranch = {from = "base", at = 20, without = ["L7H0"]}': "there is no head L7H0",
    '[[grid]]\nbranch = {from = "base", at = 20, clamp = ["self"]}': "grid 2.branch.clamp self: expected PATTERN",
    '[[grid]]\nbranch = {from = "base", at = 20}\nmodel.n_heads = 4': "model.n_heads cannot be changed in a branch",
    '[[grid]]\nbranch = {from = "base", at = 20}\nsteps = 70': "steps cannot be changed in a branch: write",
    '[[grid]]\nname = "a"\nbranch = {from = "base", at = 20}\n[[grid]]\nbranch = {from = "a", at = 10}': "grid 3: "
    "branch.at=10: a has steps 20 to 60.",
    '[[grid]]\nbranch = {from = "./nowhere-s{seed}", at = 20}': "grid 2: branch.from='./nowhere-s{seed}': ",
}


@pytest.mark.parametrize("grid", WRONG)
def test_what_is_wrong_is_said_before_anything_is_trained(grid):
    with pytest.raises(ConfigError) as refused:
        family(f'{HEAD}\n[[grid]]\nname = "base"\n{grid}')
    assert WRONG[grid] in str(refused.value)


def test_a_run_of_another_seed_and_a_recipe_that_nobody_starts_from_are_refused(grown):
    grid = f'[[grid]]\nbranch = {{from = "{grown}/base-s0", at = 20}}'
    with pytest.raises(ConfigError, match=r"has seed 0, but a run of this sweep has seed 3. Write '\{seed\}'"):
        family(f"seeds = [0, 3]\n{grid}")
    with pytest.raises(ConfigError, match=r"recipe: every \[\[grid\]\] branches from a run"):
        family(f'recipe = "demo"\n{grid}')
    with pytest.raises(ConfigError, match="recipe: name one"):
        family('[[grid]]\nname = "base"')


def test_a_run_whose_branch_was_described_otherwise_is_refused(grown, tmp_path):
    shutil.copytree(grown, tmp_path / "family")
    other = family(FAMILY.replace("at = 20, steps = 80", "at = 40, steps = 80"))
    with pytest.raises(ConfigError, match="more-s0 was trained with other settings than the sweep's file has now"):
        statuses(other, tmp_path / "family")
    manifest = tmp_path / "family" / "as-before_at-40-s0" / "manifest.json"
    write_json(manifest, read_json(manifest) | {"branch": read_json(manifest)["branch"] | {"step": 20}})
    with pytest.raises(ConfigError, match="as-before_at-40-s0 begins at step 20 of base-s0, but the sweep's file says"):
        statuses(family(), tmp_path / "family")
