"""Every command of the how-to 'many checkpoints' runs, beside a copy of the demo's series, with a queue of our own."""

import re
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest
from slurm_queue import Queue

from mechicl import cli
from mechicl.measures import cache, tables

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_commands_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cache, "_WORTH", 8)
    monkeypatch.setattr(tables, "_FAST", 2**22)  # several chunks, as of a larger model
    monkeypatch.setattr("mechicl.system.slurm.time.sleep", lambda seconds: None)
    queue, page = Queue(monkeypatch), (ROOT / "docs" / "howto" / "many-checkpoints.md").read_text()
    made_here = shutil.ignore_patterns("analysis", "cache", "report.html", "state")
    shutil.copytree(ROOT / "checkpoints" / "demo", tmp_path / "checkpoints" / "demo", ignore=made_here)
    monkeypatch.chdir(tmp_path)
    Path("slurm.toml").write_text(re.search(r"```toml\n(.*?)```", page, re.S)[1])
    blocks = re.findall(r"```sh\n(.*?)```", page, flags=re.S)
    lines = [line for block in blocks for line in block.splitlines() if line.strip()]
    assert len(lines) >= 5
    for line in lines:
        cli.main([*shlex.split(line)[1:], "--quiet"])
    shown = capsys.readouterr().out
    assert "compare with" in shown
    steps = pd.read_csv("over_time.csv").step.drop_duplicates().tolist()
    assert (steps[0], steps[-1]) == (0, 3000)
    assert 2 < len(queue.sent) <= 8
