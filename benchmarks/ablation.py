"""Ablating every head at every checkpoint: mechicl's sweep beside run_with_hooks, in one run.

    python benchmarks/ablation.py [--checkpoints 100] [--n 1000]

The series is as long as that, made of `checkpoints/demo` with a little noise, so that no two
checkpoints are alike; each evaluator has `--n` sequences. TransformerLens' way loads each checkpoint into one
HookedTransformer and calls `run_with_hooks` per head and evaluator, on one thread, as more lose at this size; it is
timed on `--sample` checkpoints, and its numbers must equal ours. On the clock a second core helps mechicl.
"""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import tyro
from long_series import long_series
from timing import once

from mechicl import recipes
from mechicl.interventions import AblateHeads, every_head
from mechicl.measures.ablation import evaluate
from mechicl.series import Series, open_series
from mechicl.system.work_queue import threads
from mechicl.tasks.exemplar_label.scores import METRICS, in_context_correct
from mechicl.training.loop import train

EVALUATORS = ("train", "icl", "flip", "ciwl", "iwl")
LABELS = (4096, 12800)  # demo has 1,024
DEMO = Path(__file__).parents[1] / "checkpoints" / "demo"


def every_pair(series: Series) -> list[AblateHeads]:
    heads = [c.heads[0] for c in every_head(series.config.model)]
    return [AblateHeads(heads=pair) for pair in itertools.combinations(heads, 2)]


def only_one(series: Series) -> list[AblateHeads]:
    heads = [c.heads[0] for c in every_head(series.config.model)]
    return [AblateHeads(heads=tuple(h for h in heads if h != kept)) for kept in heads]


def hooked(
    series: Series, steps: list[int], conditions: list[AblateHeads], n: int, full: bool, evaluators=EVALUATORS
) -> dict:
    """(step, condition, evaluator) -> in-context accuracy, or accuracy over all labels (`full`)."""
    model, out = series.model(steps[0]), {}
    batches = {name: series.evaluation_set(name, n) for name in evaluators}
    for step in steps:
        model.load_weights(series.weights(step))
        for condition, (name, batch) in itertools.product((None, *conditions), batches.items()):
            with torch.inference_mode():
                z = model.run_with_hooks(batch, return_type="logits", fwd_hooks=_hooks(condition))[:, -1]
            right = z.argmax(-1) == batch.target if full else in_context_correct(z.gather(-1, batch.labels), batch)
            out[step, str(condition) if condition else "intact", name] = float(right.double().mean())
    return out


def _hooks(condition: AblateHeads | None) -> list:
    ablated = condition.heads if condition else ()

    def zero(heads):
        def hook(z, hook):
            z[:, :, heads] = 0
            return z

        return hook

    layers = sorted({layer for layer, _ in ablated})
    return [(f"blocks.{layer}.attn.hook_z", zero([h for at, h in ablated if at == layer])) for layer in layers]


def apart(table, theirs: dict, metric: str) -> float:
    """The largest difference in accuracy between our table and theirs."""
    ours = table[table.metric == metric].set_index(["step", "intervention", "evaluator"]).value
    return float(np.abs(np.array([ours[key] - value for key, value in theirs.items()])).max())


def unembedding(series: Series, conditions: int, n: int) -> float:
    """Seconds of the unembedding's matmuls alone, for one checkpoint and all conditions."""
    w = torch.randn(series.config.model.d_model, series.config.bank.labels)
    x, rows = torch.randn(256, w.shape[0]), conditions * len(EVALUATORS) * n
    z = x.new_empty(len(x), w.shape[1])
    return once(lambda: [torch.mm(x, w, out=z) for _ in range(rows // len(x))])[0]


def more_labels(n: int) -> dict[int, dict[str, float]]:
    """All metrics of every head in models of more labels, where the unembedding weighs more. Their checkpoints are
    near their first weights: what a pass costs does not depend on them, and scoring hardly."""
    out = {}
    for labels in LABELS:
        config = recipes.get("demo")
        every = replace(config.checkpoint_steps, log_points=1, linear_every=1, windows=())
        config = replace(config, bank=replace(config.bank, n_classes=labels), steps=2, checkpoint_steps=every)
        with tempfile.TemporaryDirectory() as folder:
            series = train(config, Path(folder) / "run", progress=False)
            heads, steps = every_head(config.model), series.steps[-2:]
            every, context = (
                once(
                    lambda m=metrics, s=series, h=heads, at=steps: evaluate(s, at, EVALUATORS, h, n, m, progress=False)
                )[0]
                / len(steps)
                for metrics in (METRICS, ("in_context_acc",))
            )
            bound = min(unembedding(series, len(heads) + 1, n) for _ in range(3))
        out[labels] = {
            "ms_per_checkpoint": 1e3 * every,
            "unembedding_share": bound / every,
            "unembedding_share_of_added": bound / (every - context),
        }
        print(
            f"each head, all metrics, {labels:>6,} labels: a checkpoint {1e3 * every:6.0f} ms of CPU; the "
            f"unembedding's matmuls alone: {bound / every:.0%} of it, {bound / (every - context):.0%} of what all "
            "metrics add"
        )
    return out


def main(checkpoints: int = 100, n: int = 1000, sample: int = 2) -> dict[str, dict]:
    out: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder, threads(1):
        root = Path(folder) / "long"
        long_series(open_series(DEMO), root, checkpoints)
        series = open_series(root)
        some = series.steps[:: max(1, checkpoints // sample)][:sample]
        heads = every_head(series.config.model)
        cases = {
            "each head, in-context metrics": (heads, ("in_context_acc",), series.steps),
            "each head, all metrics": (heads, METRICS, series.steps),
            "only one head, in-context metrics": (only_one(series), ("in_context_acc",), series.steps),
            "each pair, in-context metrics": (every_pair(series), ("in_context_acc",), some),
        }
        evaluate(series, some, EVALUATORS, heads, n, METRICS, progress=False)  # compiles
        hooked(series, some, heads, n, True)  # TransformerLens' first pass takes twice as long as the next
        for name, (conditions, metrics, steps) in cases.items():
            ours, clock, table = once(
                lambda c=conditions, m=metrics, s=steps: evaluate(series, s, EVALUATORS, c, n, m, progress=False)
            )
            full = "acc" in metrics
            few = conditions[:16]
            theirs, waited, values = once(lambda c=few, f=full: hooked(series, some, c, n, f))
            scale = (len(conditions) + 1) / (len(few) + 1) / len(some)
            each, plain, clock_ratio = ours / len(steps), theirs * scale, waited * scale / (clock / len(steps))
            out[name] = {
                "conditions": len(conditions),
                "checkpoints": len(steps),
                "seconds": ours,
                "seconds_on_the_clock": clock,
                "ms_per_checkpoint": 1e3 * each,
                "hooked_ms_per_checkpoint": 1e3 * plain,
                "ratio": plain / each,
                "clock_ratio": clock_ratio,
                "apart": apart(table, values, "acc" if full else "in_context_acc"),
            }
            print(
                f"{name:<34} {len(conditions):>3} x {len(steps):>4} checkpoints {clock:7.1f} s on the clock   "
                f"a checkpoint {1e3 * each:7.0f} ms of CPU, run_with_hooks {1e3 * plain:8.0f} ms: "
                f"{plain / each:5.1f}x; on the clock {clock_ratio:5.1f}x   "
                f"values differ by at most {out[name]['apart']:.4f}"
            )
            if full:
                bound = unembedding(series, len(conditions) + 1, n)
                added = each - out["each head, in-context metrics"]["ms_per_checkpoint"] / 1e3
                out[name] |= {"unembedding_share": bound / each, "unembedding_share_of_added": bound / added}
                print(
                    f"{'':<34} the unembedding's matmuls alone: {1e3 * bound:.0f} ms = {bound / each:.0%} of it, "
                    f"{bound / added:.0%} of what all metrics add to in-context ones"
                )
        out["labels"] = more_labels(n)
    return out


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
