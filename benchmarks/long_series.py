"""A series of any length, made from a short one."""

from __future__ import annotations

from pathlib import Path

import torch

from mechicl.config import to_dict
from mechicl.models.params import pack
from mechicl.series import Series
from mechicl.series.storage import Writer
from mechicl.system.files import append_line, write_json
from mechicl.training.loop import saved_weights


def long_series(source: Series, root: Path, count: int) -> None:
    """A series of `count` checkpoints: demo's weights with a little noise, so that no two are
    alike, written by the normal writer. The recorded curves are demo's, interpolated."""
    rng = torch.Generator().manual_seed(0)
    steps = [round(i * source.steps[-1] / (count - 1)) for i in range(count)]
    root.mkdir(parents=True)
    write_json(root / "config.json", to_dict(source.config))
    write_json(root / "manifest.json", source.manifest | {"schedule": steps})
    writer, lines = Writer(root), {line["step"]: line for line in source.recorded()}
    for step in steps:
        near = min(source.steps, key=lambda s: abs(s - step))
        weights = source.weights(near)
        noisy = {k: w * (1 + 0.001 * torch.randn(w.shape, generator=rng)) for k, w in weights.items()}
        writer.save("weights", step, source.sequences_seen(step), saved_weights(pack(noisy), source.config))
        append_line(root / "metrics.jsonl", lines[near] | {"step": step, "sequences": source.sequences_seen(step)})
