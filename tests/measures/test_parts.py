"""Tables over checkpoints: killed and gone on with, shared out, and the same to the last bit."""

import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from slurm_cluster import Cluster, why_not
from slurm_queue import Queue
from table_tasks import refusing, rows

from mechicl.errors import ConfigError, SeriesError
from mechicl.interventions import AblateHeads
from mechicl.measures import cache, parts, tables
from mechicl.measures.ablation import evaluate
from mechicl.measures.attention import attention_scores
from mechicl.measures.parts import over_checkpoints
from mechicl.measures.subspace_ablation import AblateCarried, ablate_subspaces
from mechicl.measures.subspaces import subspaces
from mechicl.series import open_series
from mechicl.system.executor import Processes
from mechicl.system.slurm import of_tables

HOME = str(Path(__file__).parents[2])


@pytest.fixture
def series(tiny_copy, monkeypatch):
    """The tiny series, whose tables are kept after every chunk, and every checkpoint is a chunk."""
    monkeypatch.setattr(cache, "_WORTH", 1)
    monkeypatch.setattr(parts, "SECONDS", 0.0)
    monkeypatch.setattr(tables, "_FAST", 1)
    shutil.rmtree(tiny_copy.root / "cache", ignore_errors=True)
    return tiny_copy


def made(series, function=rows, **options) -> pd.DataFrame:
    return over_checkpoints(series, "known", series.steps, function, {}, singly=True, progress=False, **options)


def said(path: Path) -> list[int]:
    return [int(line.split()[0]) for line in path.read_text().splitlines()]


KILLED = """
import sys
from functools import partial
from pathlib import Path
sys.path[:0] = [sys.argv[2], str(Path(sys.argv[2]).parent)]
import mechicl
from mechicl.measures import cache, parts
from test_parts import made
from table_tasks import rows
cache._WORTH, parts.SECONDS = 1, 0.0
made(mechicl.open_series(sys.argv[1]), partial(rows, seen=Path(sys.argv[3]), dies_at=40))
"""


def test_a_killed_table_goes_on_where_it_was(series, tmp_path):
    want = made(replace(series, root=shutil.copytree(series.root, tmp_path / "other" / "tiny")))
    seen = tmp_path / "seen"
    line = [sys.executable, "-c", KILLED, str(series.root), str(Path(__file__).parent), str(seen)]
    done = subprocess.run(line, env=os.environ | {"PYTHONPATH": HOME}, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert said(seen) == [0, 1, 5, 10, 20, 30]
    got = made(series, partial(rows, seen=seen))
    assert said(seen) == series.steps  # none twice
    pd.testing.assert_frame_equal(got, want, check_exact=True)
    assert not list((series.root / "cache").glob("*.parts"))  # the table is whole
    made(series, partial(rows, seen=seen))
    assert said(seen) == series.steps


@pytest.mark.parametrize("when", [1, 4, 8])
def test_every_measure_goes_on_to_the_same_bits(series, monkeypatch, tmp_path, when):
    """Cut short after some chunks, as by a kill: what is on the disk then is all that the next call finds."""
    calls = {
        "heads": lambda s: evaluate(s, None, ["icl", "iwl"], AblateHeads(heads=((0, 1),)), 20, progress=False),
        "of step": lambda s: evaluate(s, None, ["icl"], AblateCarried(variation="flip", n=20), 20, progress=False),
        "attention": lambda s: attention_scores(s, n=20, progress=False),
        "subspaces": lambda s: subspaces(s, n=20, progress=False),
        "removal": lambda s: ablate_subspaces(s, None, ["icl"], ["flip"], 20, progress=False),
    }
    name, call = list(calls.items())[when % len(calls)]
    whole = call(open_series(shutil.copytree(series.root, tmp_path / "other" / "tiny")))
    write, left = cache.Parts.write, [when]

    def killed(self, *args):
        write(self, *args)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(cache.Parts, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        call(series)
    monkeypatch.setattr(cache.Parts, "write", write)
    computed, compute = [], parts.compute
    monkeypatch.setattr(
        parts, "compute", lambda work, numbers, *rest: computed.extend(numbers) or compute(work, numbers, *rest)
    )
    pd.testing.assert_frame_equal(call(series), whole, check_exact=True, obj=name)
    assert computed == list(range(when, len(series.steps)))


def test_a_torn_part_or_one_of_a_changed_checkpoint_is_made_again(series, tmp_path):
    want, seen = (
        made(replace(series, root=shutil.copytree(series.root, tmp_path / "other" / "tiny"))),
        tmp_path / "seen",
    )
    with pytest.raises(SeriesError, match="step 40"):
        made(series, refusing)
    torn, *_ = sorted((series.root / "cache").glob("*.parts/*.parquet"))
    torn.write_bytes(torn.read_bytes()[:-40])
    os.utime(series.root / series.entry(1).file)  # read again, and still what it was
    pd.testing.assert_frame_equal(made(series, partial(rows, seen=seen)), want, check_exact=True)
    assert said(seen) == [0, 40, 50, 60]
    shutil.rmtree(series.root / "cache")
    with pytest.raises(SeriesError, match="step 40"):
        made(series, refusing)
    path = series.root / series.entry(5).file
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    seen.unlink()
    made(series, partial(rows, seen=seen))
    assert said(seen) == [5, 40, 50, 60]


def test_what_another_process_made_too_counts_once(series):
    with pytest.raises(SeriesError, match="step 40"):
        made(series, refusing)
    for path in list((series.root / "cache").glob("*.parts/*.parquet")):
        shutil.copy(path, path.with_name(path.name.replace("-", "-", 1)[:-8] + "0.parquet"))
    assert made(series).step.tolist() == series.steps


def test_quick_work_writes_one_file(series, monkeypatch):
    monkeypatch.setattr(parts, "SECONDS", 60.0)
    writes = []
    monkeypatch.setattr(cache.Parts, "write", lambda *args: writes.append(args))
    made(series)
    assert not writes


def test_rows_are_gathered_by_the_thousand(series, monkeypatch, tmp_path):
    want = made(replace(series, root=shutil.copytree(series.root, tmp_path / "other" / "tiny")))
    monkeypatch.setattr(parts, "_ROWS", 2)
    pd.testing.assert_frame_equal(made(series), want, check_exact=True)


class Here:
    """An executor in this very process."""

    pieces = 4

    def __call__(self, jobs, heard):
        for i, job in enumerate(jobs):
            try:
                pickle.loads(pickle.dumps(job)).run(lambda done, i=i: heard(i, done))
                yield i, None
            except Exception as error:
                yield i, error


@pytest.mark.slow
def test_two_workers_make_the_same_table(series, tmp_path):
    """Real processes, a real measure, whose conditions differ from step to step: the same to the last bit."""
    other = open_series(shutil.copytree(series.root, tmp_path / "other" / "tiny"))
    both = [AblateHeads(heads=((0, 1),)), AblateCarried(variation="flip", n=20)]
    shared, made_by = open_series(series.root, workers=2), []
    keep = parts.Parts.read

    def read(self, chunks, wanted):
        found = keep(self, chunks, wanted)
        made_by.append(list(found))  # the caller adds to its own
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts.Parts, "read", read)
        got = evaluate(shared, None, ["icl", "iwl"], both, 20, progress=False)
    nothing, all_of_it = made_by  # before, and what the workers left
    assert not nothing
    assert sorted(number for numbers, *_ in all_of_it for number in numbers) == list(range(len(series.steps)))
    want = evaluate(other, None, ["icl", "iwl"], both, 20, progress=False)
    pd.testing.assert_frame_equal(got, want, check_exact=True)


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_its_part_alone(series, tmp_path):
    shared, seen = open_series(series.root, workers=2), tmp_path / "seen"
    with pytest.raises(SeriesError, match=r"killed by SIGKILL.*run the same call again to con"):
        made(shared, partial(rows, seen=seen, dies_at=40))
    makers = {int(line.split()[1]) for line in seen.read_text().splitlines()}
    assert os.getpid() not in makers
    assert {0, 1, 5, 10, 20, 30, 60} <= set(said(seen))
    assert made(series, partial(rows, seen=seen)).step.tolist() == series.steps
    assert sorted(said(seen)) == series.steps


def test_jobs_do_what_is_missing(series, tmp_path):
    seen, shared = tmp_path / "seen", replace(series, executor=Here())
    with pytest.raises(SeriesError, match=r"^step 40 is broken$"):
        made(shared, refusing)
    assert made(shared, partial(rows, seen=seen)).step.tolist() == series.steps
    assert said(seen) == [40, 50, 60]  # of the last part, all from there on


def test_jobs_say_how_far_they_are(series):
    work = parts.Work(series, tuple([step] for step in series.steps), rows, "known-1")
    part, told = parts.Part(work, 2, 4), []
    assert (part.name, part.finished(), part.progress()) == ("known-1-2-4", False, 0)
    part.run(told.append)
    assert (told, part.finished(), part.progress()) == ([1, 1, 1], True, 3)
    assert isinstance(part.failure("ConfigError", "x"), ConfigError)
    assert isinstance(part.failure("ValueError", "x"), SeriesError)


def test_workers_are_a_number(series):
    for workers in (0, -1, 1.5, "2", True):
        with pytest.raises(ConfigError, match="workers"):
            open_series(series.root, workers=workers)
    assert open_series(series.root, workers=1).executor is None
    assert open_series(series.root, workers=3).executor == Processes(3)


def test_nowhere_to_write(series, monkeypatch, tmp_path):
    """One worker measures all the same; several say what is missing."""
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (series.root / "cache").write_bytes(b"")
    assert made(series).step.tolist() == series.steps
    with pytest.raises(SeriesError, match="Use one worker"):
        made(replace(series, executor=Here()))


def test_how_long_it_still_takes(series, capsys, monkeypatch):
    """After a kill the bar begins where the table was."""
    with pytest.raises(SeriesError, match="step 40"):
        made(series, refusing)
    monkeypatch.setattr(parts, "_SHORT", 0.0)
    over_checkpoints(series, "known", series.steps, rows, {}, singly=True)
    assert re.search(r"known: 100% 9/9 \[.*checkpoints/s", capsys.readouterr().err)
    shutil.rmtree(series.root / "cache")
    monkeypatch.setattr(parts, "_SHORT", 60.0)
    over_checkpoints(series, "known", series.steps, rows, {}, singly=True)
    assert capsys.readouterr().err == ""  # quick work says nothing


def slurm_of(series, tmp_path, jobs: int, **settings):
    file = tmp_path / "slurm.toml"
    file.write_text('[slurm]\ntimeout_min = 5\nslurm_partition = "test"\n')
    return replace(of_tables(series.root, file, jobs), poll=0, **settings)


def test_an_array_of_jobs_makes_a_table(series, tmp_path, monkeypatch):
    """Through a queue of our own; the submitter ends on the way, and the next call submits none twice."""
    queue, seen = Queue(monkeypatch), tmp_path / "seen"
    executor = slurm_of(series, tmp_path, 3)
    assert executor.settings == {"timeout_min": 5, "slurm_partition": "test"}
    shared = replace(series, executor=executor)
    with monkeypatch.context() as patch:
        patch.setattr("mechicl.system.slurm.time.sleep", lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            made(shared, partial(rows, seen=seen))
    assert len(queue.sent) == 3
    got = made(shared, partial(rows, seen=seen))
    assert len(queue.sent) == 3
    assert got.step.tolist() == series.steps
    assert sorted(said(seen)) == series.steps
    assert len({name.rsplit("-", 2)[0] for name in queue.sent}) == 1  # one table's


def test_a_job_that_fails_is_said(series, tmp_path, monkeypatch):
    Queue(monkeypatch)
    with pytest.raises(SeriesError, match=r"^step 40 is broken$"):
        made(replace(series, executor=slurm_of(series, tmp_path, 3)), refusing)


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "cannot be read"), ("[slurm", "is not TOML"), ("slurm = 3", r"expected a table \[slurm\]")],
)
def test_a_file_that_is_none_of_settings(series, tmp_path, text, said):
    if text is not None:
        (tmp_path / "x.toml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        of_tables(series.root, tmp_path / "x.toml", 2)


@pytest.mark.slow
@pytest.mark.skipif(why_not() is not None, reason=f"{why_not()}")
def test_a_real_cluster(series, tmp_path, monkeypatch):
    with Cluster(tmp_path / "cluster") as cluster:
        for name, value in (cluster.env | {"PYTHONPATH": f"{HOME}:{HOME}/tests"}).items():
            monkeypatch.setenv(name, value)
        got = made(replace(series, executor=replace(slurm_of(series, tmp_path, 2), poll=0.5)))
    assert got.step.tolist() == series.steps
    assert got.value.tolist() == [1 / (step + 3) for step in series.steps]
