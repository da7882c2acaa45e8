"""Opening and reading a long series, compared with reading the same bytes; and how small its bytes could be.

    python benchmarks/storage.py [--checkpoints 1000]
    python benchmarks/storage.py --run RUN        # the formats only, of a run trained in float32

Formats: the files as they are (float32), half precision, and each checkpoint as its difference
from the one before, compressed by zstd (bytes grouped by significance, which compresses best).
What a format does to the evaluators is measured on every checkpoint.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import tyro
from long_series import long_series
from zstandard import ZstdCompressor

from mechicl.evaluators import evaluate_params, evaluation_sets
from mechicl.models.params import pack
from mechicl.series import Series, open_series
from mechicl.system.work_queue import threads

DEMO = Path(__file__).parents[1] / "checkpoints" / "demo"
SAMPLE = 12  # checkpoints whose evaluators are compared


def opening(root: Path) -> dict[str, float]:
    """Seconds to open a series; to read and check all its weights; and to read the same bytes: from the
    disk ('cold': the system is asked to forget the files first) and from memory."""
    start = time.perf_counter()
    series = open_series(root)
    _ = series.steps
    opened = time.perf_counter() - start
    files = [series.root / series.entry(step).file for step in series.steps]
    ways = {
        "bytes": lambda: [path.read_bytes() for path in files],
        "weights": lambda: [series.params(series.steps[i : i + 50]) for i in range(0, len(files), 50)],
    }
    best: dict[str, float] = {}
    for _, (name, way), cold in itertools.product(range(3), ways.items(), (True, False)):
        if cold:
            for path in files:
                _forget(path)
        start = time.perf_counter()
        way()
        key = f"{'cold_' if cold else ''}{name}_s"
        best[key] = min(best.get(key, np.inf), time.perf_counter() - start)
    size = sum(path.stat().st_size for path in files)
    return {"checkpoints": len(files), "megabytes": size / 1e6, "open_s": opened, **best}


def _forget(path: Path) -> None:
    """Ask the system to drop a file from its memory."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def formats(series: Series) -> dict[str, dict[str, float]]:
    """Bytes of each format as a share of float32's, and the largest change of any evaluator's primary metric."""
    zstd, steps = ZstdCompressor(level=3), series.steps
    sizes: Counter[str] = Counter()
    before: dict[str, np.ndarray] = {}
    for step in steps:
        weights = series.weights(step)
        flat = torch.cat([w.reshape(-1) for w in weights.values()])
        exact, half = flat.numpy().view(np.uint32), flat.half().numpy().view(np.uint16)
        sizes["float32"] += exact.nbytes
        sizes["float16"] += half.nbytes
        sizes["bfloat16"] += half.nbytes
        sizes["float32 zstd"] += len(zstd.compress(_planes(exact)))
        for name, bits in (("float32 delta zstd", exact), ("float16 delta zstd", half)):
            changed = bits ^ before[name] if name in before else bits
            sizes[name] += len(zstd.compress(_planes(changed)))
            before[name] = bits
    whole = sizes["float32"]
    out: dict[str, dict[str, float]] = {name: {"bytes": size, "share": size / whole} for name, size in sizes.items()}
    sets = evaluation_sets(series.config, series.bank)
    for name, dtype in (("float16", torch.float16), ("bfloat16", torch.bfloat16)):
        worst = 0.0
        for step in steps[:: max(1, len(steps) // SAMPLE)]:
            weights = series.weights(step)
            tables = [
                evaluate_params(pack({k: w.to(kind).float() for k, w in weights.items()}), sets, series.config)
                for kind in (torch.float32, dtype)
            ]
            worst = max(
                worst, *(abs(a["value"] - b["value"]) for a, b in zip(*tables, strict=True) if a["metric"] != "loss")
            )
        out[name]["evaluators_change"] = worst
    return out


def _planes(bits: np.ndarray) -> bytes:
    """All first bytes, then all second bytes, ...: alike bytes side by side."""
    return bits.view(np.uint8).reshape(len(bits), -1).T.tobytes()


def main(checkpoints: int = 1000, run: Path | None = None) -> dict[str, dict]:
    out: dict[str, dict] = {}
    with threads(1):
        if run is None:
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder) / "long"
                long_series(open_series(DEMO), root, checkpoints)
                out["opening"] = m = opening(root)
            print(
                f"{m['checkpoints']} checkpoints, {m['megabytes']:.0f} MB: opened in {1e3 * m['open_s']:.0f} ms\n"
                f"all weights read and checked: {m['cold_weights_s']:.2f} s from disk, the bytes alone "
                f"{m['cold_bytes_s']:.2f} s; {m['weights_s']:.2f} s from memory, {m['bytes_s']:.2f} s"
            )
        out["formats"] = formats(open_series(run or DEMO))
        for name, m in out["formats"].items():
            change = f"   accuracies change by at most {m['evaluators_change']:.4f}" if "evaluators_change" in m else ""
            print(f"{name:<20}{m['share']:6.1%} of float32{change}")
    return out


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
