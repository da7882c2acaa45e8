"""Cutting every path at every checkpoint: `path_effects` beside path patching by TransformerLens' hooks, in one run.

    python benchmarks/paths.py [--checkpoints 44] [--total 2000]

The series is `checkpoints/demo` (44 checkpoints); what 125 take is scaled from it. `--total` sequences are divided over
all evaluators that the run has. TransformerLens' way caches what each head writes (`hook_result`), once for each
evaluator, and then calls `run_with_hooks` for each path with `use_split_qkv_input`, on one thread. It is timed on one
checkpoint and some of the paths, and its numbers must equal ours.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch
import tyro
from timing import once

from mechicl.evaluators import EVALUATORS, score
from mechicl.interventions import every_path
from mechicl.interventions.components import Path as ComponentPath
from mechicl.interventions.components import parse
from mechicl.interventions.cut_paths import reading, source
from mechicl.measures import path_effects
from mechicl.models.params import pack
from mechicl.models.switches import running
from mechicl.registry import applying
from mechicl.series import Series, open_series
from mechicl.system.work_queue import threads

DEMO = Path(__file__).parents[1] / "checkpoints" / "demo"
WANTED = 125  # checkpoints of the recipe demo
STRIDE = 16  # of the paths, TransformerLens cuts each so many-th


def hooked(series: Series, step: int, paths: list[str], n: int) -> dict[tuple[str, str], float]:
    """(evaluator, path) -> the primary metric with the path cut, by hooks written by hand."""
    model, out = series.model(step), {}
    params, config = pack(series.weights(step)), series.config.model
    ends = {path: parse(path) for path in paths}
    wrote = {source(path.sender) for path in ends.values()}
    for name in applying(series.config):
        batch, metric = series.evaluation_set(name, n), EVALUATORS[name].primary_metric
        with torch.inference_mode():
            with running(model, wrote):
                _, cache = model.run_with_cache(batch, names_filter=lambda hook: hook in wrote)
            for path, each in ends.items():
                with running(model, [reading(each.receiver, config)]):
                    final: list[torch.Tensor] = []
                    hooks = [_without(each, cache, config), ("ln_final.hook_normalized", _kept(final))]
                    model.run_with_hooks(batch, return_type="logits", fwd_hooks=hooks)
                normed = final[0][:, -1] * params["ln_final.w"] + params["ln_final.b"]
                out[name, path] = float(score(params, normed, batch, (metric,))[metric].double().mean())
    return out


def _without(path: ComponentPath, cache, config):
    lost = cache[source(path.sender)]
    lost = lost[:, :, path.sender.head] if path.sender.kind == "head" else lost

    def hook(x: torch.Tensor, hook) -> torch.Tensor:
        if path.receiver.kind != "head":
            return x - lost
        x = x.clone()
        x[:, :, path.receiver.head] -= lost
        return x

    return reading(path.receiver, config), hook


def _kept(found: list[torch.Tensor]):
    return lambda x, hook: found.append(x)


def main(checkpoints: int = 44, total: int = 2000) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, threads(1):
        shutil.copytree(DEMO, Path(folder) / "demo", ignore=shutil.ignore_patterns("cache"))  # nothing is found again
        series = open_series(Path(folder) / "demo")
        names, paths = applying(series.config), every_path(series.config.model)
        n = total // len(names)
        steps = series.steps[-checkpoints:]
        path_effects(series, series.steps[:1], n=20, progress=False)  # compiles
        hooked(series, steps[-1], paths[:1], 20)
        ours, clock, table = once(lambda: path_effects(series, steps, n=n, progress=False))
        some = paths[::STRIDE]
        theirs, waited, values = once(lambda: hooked(series, steps[-1], some, n))
    found = table[table.step == steps[-1]].set_index(["evaluator", "intervention"]).value
    apart = max(abs(found[key] - value) for key, value in values.items())
    each, plain = ours / len(steps), theirs * len(paths) / len(some)
    out = {
        "paths": len(paths),
        "checkpoints": len(steps),
        "sequences": n * len(names),
        "seconds": ours,
        "seconds_on_the_clock": clock,
        "seconds_for_125": each * WANTED,
        "clock_for_125": clock * WANTED / len(steps),
        "hooked_seconds_per_checkpoint": plain,
        "ratio": plain / each,
        "clock_ratio": waited * len(paths) / len(some) / (clock / len(steps)),
        "apart": apart,
    }
    print(
        f"{len(paths)} paths x {len(steps)} checkpoints x {n * len(names):,} sequences: {clock:.1f} s on the clock, "
        f"{ours:.1f} s of CPU; {WANTED} checkpoints: {out['clock_for_125']:.0f} s on the clock, "
        f"{out['seconds_for_125']:.0f} s of CPU\n"
        f"a checkpoint {each:.2f} s of CPU, TransformerLens' hooks {plain:.1f} s: {out['ratio']:.0f}x (on the clock "
        f"{out['clock_ratio']:.0f}x); values differ by at most {apart:.4f}"
    )
    return out


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
