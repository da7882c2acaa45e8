"""Every benchmark in turn: `make bench`, or `python benchmarks [--quick]`.

Prints ours, plain TransformerLens' measured in the same run, and the ratio; writes all of it
with the machine's description to benchmarks/results.json, and cost against size to
docs/images/speed.png.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path

import ablation
import growth
import numba
import numpy as np
import paths
import storage
import torch
import training

from mechicl.system.cores import cores

HERE = Path(__file__).parent


def machine() -> dict[str, object]:
    """What decides speed here."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8", errors="replace") if info.exists() else ""
    names = [x for x in text.splitlines() if x.startswith("model name")]
    return {
        "cpu": names[0].split(":")[1].strip() if names else platform.processor(),
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": cores(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "numba": numba.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and checkpoints: minutes instead of tens")
    quick = parser.parse_args().quick
    results: dict[str, dict] = {"machine": machine()}
    for name, run in {
        "training": lambda: training.main(rounds=7 if quick else 20),
        "ablation": lambda: ablation.main(checkpoints=10 if quick else 100),
        "paths": lambda: paths.main(checkpoints=5 if quick else 44),
        "storage": lambda: storage.main(checkpoints=100 if quick else 1000),
        "growth": growth.main,
    }.items():
        print(f"\n== {name} ==", flush=True)
        results[name] = run()
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    sys.path.append(str(HERE.parent / "docs"))
    from pictures import picture  # pyright: ignore[reportMissingImports]

    picture(growth.figure(results["growth"]), HERE.parent / "docs" / "images" / "speed.png", width=1500, height=420)
    print(f"\n{HERE / 'results.json'} and docs/images/speed.png are written.")


if __name__ == "__main__":
    main()
