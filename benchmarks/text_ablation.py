"""Every head of a language model out at every checkpoint: mechicl's sweep beside run_with_hooks, in one run.

    python benchmarks/text_ablation.py RUN [--checkpoints 4] [--n 256]

RUN is a run of `mechicl train text-small`. TransformerLens' way calls `run_with_hooks` for each head and evaluator, on
one thread, and reads the primary metric from its logits. It is timed on one checkpoint, and its numbers must equal
ours. CPU seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import tyro
from ablation import _hooks
from timing import once

from mechicl.evaluators import EVALUATORS, score
from mechicl.interventions import AblateHeads, every_head
from mechicl.measures.ablation import evaluate
from mechicl.models.params import pack
from mechicl.registry import applying
from mechicl.series import Series, open_series
from mechicl.system.work_queue import threads

FINAL = "ln_final.hook_normalized"


def hooked(series: Series, step: int, heads: Sequence[AblateHeads], n: int) -> dict[tuple[str, str], float]:
    """(condition, evaluator) -> the primary metric, by hooks written by hand."""
    model, params, out = series.model(step), pack(series.weights(step)), {}
    for name in applying(series.config):
        batch, metric = series.evaluation_set(name, n), EVALUATORS[name].primary_metric
        for condition in (None, *heads):
            final: list[torch.Tensor] = []
            hooks = [*_hooks(condition), (FINAL, lambda x, hook, final=final: final.append(x))]
            with torch.inference_mode():
                model.run_with_hooks(batch, return_type="logits", fwd_hooks=hooks)
                normed = final[0] * params["ln_final.w"] + params["ln_final.b"]
                normed = normed if batch.everywhere else normed[:, -1]
                value = score(params, normed, batch, (metric,))[metric].double().nanmean()
            out[str(condition) if condition else "intact", name] = float(value)
    return out


def main(run: tyro.conf.Positional[Path], checkpoints: int = 4, n: int = 256) -> dict[str, float]:
    series = open_series(run)
    steps, heads = series.steps[-checkpoints:], every_head(series.config.model)
    with threads(1):
        hooked(series, steps[0], heads[:1], n)  # compiles; TransformerLens' first pass takes twice as long as the next
        evaluate(series, steps[:1], ablate=heads, n=n + 1, metrics=None, progress=False)
        ours, _, table = once(lambda: evaluate(series, steps, ablate=heads, n=n, metrics=None, progress=False))
        theirs, _, values = once(lambda: hooked(series, steps[-1], heads, n))
    found = table[table.step == steps[-1]].set_index(["intervention", "evaluator"]).value
    apart = max(abs(found[key] - value) for key, value in values.items())
    each = ours / len(steps)
    print(
        f"{len(heads)} heads x {len(applying(series.config))} evaluators x {n} sequences, a checkpoint: "
        f"{1e3 * each:.0f} ms of CPU, TransformerLens' hooks {1e3 * theirs:.0f} ms: {theirs / each:.1f}x; values "
        f"differ by at most {apart:.1e}"
    )
    return {
        "ms_per_checkpoint": 1e3 * each,
        "hooked_ms_per_checkpoint": 1e3 * theirs,
        "ratio": theirs / each,
        "apart": apart,
    }


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
