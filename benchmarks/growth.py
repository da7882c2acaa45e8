"""How cost grows with size: a training step, and a sweep over heads, in ours and in TransformerLens.

    python benchmarks/growth.py

One size is varied at a time, from the demo recipe: width, heads, classes (and with them labels),
pairs in the context; for the sweep, checkpoints.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from ablation import DEMO, hooked
from long_series import long_series
from plotly.subplots import make_subplots
from timing import in_turns, once, one_core
from training import Engine, Hooked

from mechicl import recipes
from mechicl.config import Config
from mechicl.figures.style import COLOURS, finish
from mechicl.interventions import every_head
from mechicl.measures.ablation import evaluate
from mechicl.series import open_series
from mechicl.system.work_queue import threads
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.training.loop import training_batches

SIZES: dict[str, tuple[tuple[int, ...], Callable[[Config, int], Config]]] = {
    "width": ((32, 64, 128, 256), lambda c, n: replace(c, model=replace(c.model, d_model=n))),
    "heads": ((1, 2, 4, 8, 16, 32), lambda c, n: replace(c, model=replace(c.model, n_heads=n))),
    "classes": ((256, 1024, 4096, 16384), lambda c, n: replace(c, bank=replace(c.bank, n_classes=n))),
    "pairs in the context": (
        (2, 4, 8, 16),
        lambda c, n: replace(c, sequences=replace(c.sequences, n_pairs=n, burstiness=1)),
    ),
}
CHECKPOINTS = (5, 10, 20, 40)


def training(rounds: int = 7) -> dict[str, dict[str, list[float]]]:
    """Of each size: milliseconds of a step, ours and HookedTransformer's."""
    out = {}
    for name, (sizes, vary) in SIZES.items():
        out[name] = {"size": list(sizes), "engine_ms": [], "hooked_ms": []}
        for size in sizes:
            config = vary(recipes.get("demo"), size)
            batches = list(training_batches(config, build_bank(config), 0, 3))
            engine, plain = Engine(config), Hooked(config)
            t = in_turns(
                rounds,
                {
                    "engine_ms": lambda e=engine, b=batches: [e.step(x) for x in b],
                    "hooked_ms": lambda p=plain, b=batches: p.step(b[0]),
                },
            )
            t["engine_ms"] /= len(batches)
            for key, seconds in t.items():
                out[name][key].append(1e3 * float(np.median(seconds)))
            print(
                f"{name:<22}{size:>6}   engine {out[name]['engine_ms'][-1]:8.2f} ms   HookedTransformer "
                f"{out[name]['hooked_ms'][-1]:8.2f} ms   "
                f"{out[name]['hooked_ms'][-1] / out[name]['engine_ms'][-1]:5.1f}x"
            )
    return out


def sweep(n: int = 200) -> dict[str, list[float]]:
    """Of each number of checkpoints: seconds of all single-head ablations on icl and flip."""
    out: dict[str, list[float]] = {"size": list(CHECKPOINTS), "engine_s": [], "hooked_s": []}
    with tempfile.TemporaryDirectory() as folder:
        for count in CHECKPOINTS:
            root = Path(folder) / str(count)
            long_series(open_series(DEMO), root, count)
            series = open_series(root)
            heads, names = every_head(series.config.model), ("icl", "flip")
            args = (series, series.steps, names, heads, n, ("in_context_acc",))  # asked once: not from the cache
            evaluate(series, series.steps[:2], names, heads, n, ("in_context_acc",), progress=False)  # compiles
            out["engine_s"].append(once(lambda a=args: evaluate(*a, progress=False))[0])
            out["hooked_s"].append(once(lambda s=series, h=heads, e=names: hooked(s, s.steps, h, n, False, e))[0])
            print(
                f"{'checkpoints, sweep':<22}{count:>6}   engine {out['engine_s'][-1]:8.2f} s    HookedTransformer "
                f"{out['hooked_s'][-1]:8.2f} s    {out['hooked_s'][-1] / out['engine_s'][-1]:5.1f}x"
            )
    return out


def figure(measured: dict) -> go.Figure:
    """Cost against size, both axes logarithmic: a straight line is a power."""
    panels = [*measured["training"].items(), ("checkpoints", measured["sweep"])]
    titles = [f"{'a sweep over heads' if name == 'checkpoints' else 'a step'}: {name}" for name, _ in panels]
    plot = make_subplots(rows=1, cols=len(panels), subplot_titles=titles, horizontal_spacing=0.05)
    for i, (_, m) in enumerate(panels, start=1):
        unit = "ms" if "engine_ms" in m else "s"
        for key, label, colour in (
            (f"engine_{unit}", "mechicl", COLOURS["icl"]),
            (f"hooked_{unit}", "HookedTransformer", COLOURS["ciwl"]),
        ):
            plot.add_scatter(
                x=m["size"],
                y=m[key],
                name=label,
                line_color=colour,
                mode="lines+markers",
                showlegend=i == 1,
                row=1,
                col=i,
            )
        plot.update_xaxes(type="log", tickvals=m["size"], ticktext=[f"{s:,}" for s in m["size"]], row=1, col=i)
        plot.update_yaxes(type="log", dtick="D2", title=unit if i in (1, len(panels)) else None, row=1, col=i)
    plot.update_layout(legend={"orientation": "h", "y": -0.2})
    return finish(plot, "Cost against size", "CPU time on one thread; demo recipe, one size varied at a time")


def main() -> dict:
    with threads(1), one_core():
        return {"training": training(), "sweep": sweep()}


if __name__ == "__main__":
    main()
