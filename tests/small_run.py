"""A run of 12 steps, and what it means that another has its bytes."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

from mechicl.config import BankConfig, Config, ModelConfig, OptimConfig, ScheduleConfig
from mechicl.series import Series, open_series
from mechicl.series.storage import file_problem


def small(**changes) -> Config:
    """12 steps, checkpoints at 0, 4, 8, 12, states at 4 and 12: a run of 56 moments (tests/faults.py)."""
    config = Config(
        name="small",
        steps=12,
        batch_size=8,
        bank=BankConfig(n_classes=8, n_exemplars=4, n_holdout_classes=4, n_holdout_exemplars=0, dim=6),
        model=ModelConfig(n_layers=2, d_model=8, n_heads=2),
        optim=OptimConfig(lr=1e-2, warmup_steps=5),
        checkpoint_steps=ScheduleConfig(linear_every=4),
        n_eval=20,
        states=2,
        threads=1,
    )
    return dataclasses.replace(config, **changes)


WINDOW = (5, 11, 2)  # densify: 5, 7, 9, 11 from the state at 4, passing 8


def files(root: Path) -> dict[str, str]:
    """Every file of a run but metrics.jsonl, by its sha256."""
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file() and p.name != "metrics.jsonl"
    }


def metric_lines(root: Path) -> list[bytes]:
    """The lines of metrics.jsonl that count: the first of each step, whole."""
    lines: dict[int, bytes] = {}
    for line in (root / "metrics.jsonl").read_bytes().splitlines():
        lines.setdefault(json.loads(line)["step"], line)
    return [lines[step] for step in sorted(lines)]


def same_run(root: Path, unbroken: Series) -> None:
    """Byte for byte the unbroken run, with nothing left lying about, and readable."""
    assert files(root) == files(unbroken.root)
    assert metric_lines(root) == metric_lines(unbroken.root)
    series = open_series(root)
    assert all(file_problem(root, entry) is None for entry in series.entries)
    assert series.metrics.drop(columns="run").equals(unbroken.metrics.drop(columns="run"))
    assert series.training_loss.equals(unbroken.training_loss)


def interrupt(root: Path, *kinds: str) -> None:
    """As if killed before step 12 was saved; and with files of these kinds gone."""
    lines = (root / "index.jsonl").read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["step"] < 12]
    (root / "index.jsonl").write_bytes(b"".join(kept))
    lines = (root / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (root / "metrics.jsonl").write_bytes(b"".join(lines[:-1]))
    for kind in kinds:
        shutil.rmtree(root / kind)
