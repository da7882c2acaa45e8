"""Runs whose index or files are not what was written."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from mechicl.series import Series, open_series


def without_weights(series: Series, *steps: int) -> Series:
    """The run as if it had not kept these steps; nothing on disk changes."""
    return replace(series, entries=tuple(e for e in series.entries if e.step not in steps))


def with_entry(series: Series, step: int, **changes) -> Series:
    """The run with one line of its index changed."""
    path = series.root / "index.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["kind"] == "weights" and line["step"] == step:
            line |= changes
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return open_series(series.root)


def rewritten(series: Series, step: int, data: bytes) -> Series:
    """The run with another file of weights at one step, and the index in accord."""
    (series.root / series.entry(step).file).write_bytes(data)
    return with_entry(series, step, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
