"""Training on text: the engine's step beside a loop over HookedTransformer with AdamW, and beside its bound.

    python benchmarks/text.py [--rounds 10] [--positions learned] [--size wide]

Both train `text-small`'s model on the same tokens, on one thread, in turns; `--size wide` is twice as wide, with four
heads, and reads 8 windows of 256 tokens. The bound is the time of the step's own
matrix products and attention, forward and backward, alone: what no other way around them can save. CPU seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from timing import in_turns, one_core, ratio
from training import Hooked as OfUsers

from mechicl import recipes
from mechicl.config import Config
from mechicl.models.params import init, pack
from mechicl.system.work_queue import threads
from mechicl.tasks.text.batch import TokenBatch
from mechicl.training.step import Trainer


class Hooked(OfUsers):
    """The same with AdamW."""

    def optimiser(self, trained: list[torch.nn.Parameter], config: Config) -> torch.optim.Optimizer:
        optim = config.optim
        return torch.optim.AdamW(
            trained, lr=optim.lr_at(0), betas=optim.betas, eps=optim.adam_eps, weight_decay=optim.l2
        )


def bound(config: Config) -> Callable[[], None]:
    """The products of a step: of each matrix one forward and two backward, and attention both ways."""
    task, model = config.task, config.model
    assert task is not None
    b, t, d, h = config.batch_size, task.n_tokens, model.d_model, model.n_heads
    shapes = [(d, 3 * d), (d, d)] * model.n_layers + [(d, task.n_outputs)]
    shapes += [(d, model.mlp_ratio * d), (model.mlp_ratio * d, d)] * sum(map(model.has_mlp, range(model.n_layers)))
    matrices = [(torch.randn(b * t, i), torch.randn(i, o), torch.randn(b * t, o)) for i, o in shapes]
    heads = [torch.randn(b, t, h, d // h).transpose(1, 2).requires_grad_() for _ in "qkv"]

    def run() -> None:
        for x, w, y in matrices:
            torch.mm(x, w)
            torch.mm(y, w.T)
            torch.mm(x.T, y)
        for _ in range(model.n_layers):
            z = F.scaled_dot_product_attention(*heads, is_causal=True)
            torch.autograd.grad(z, heads, z.detach())

    return run


def measure(config: Config, rounds: int) -> dict[str, float]:
    """Milliseconds of CPU that a step of each takes, tokens/s, ratios with quartiles, and how far their losses are
    apart over the first steps."""
    task = config.task
    assert task is not None
    b, t, v = config.batch_size, task.n_tokens, task.n_outputs
    rng = np.random.default_rng(0)
    tokens = [torch.from_numpy(rng.zipf(1.3, (b, t + 1)) % v) for _ in range(8)]
    batches = [TokenBatch(each, torch.ones(b, t, dtype=torch.bool)) for each in tokens]
    engine, hooked, products = Trainer(config, pack(init(config))), Hooked(config), bound(config)
    apart = max(abs(float(engine.update(batch)) - hooked.step(batch)) for batch in batches)
    with one_core():
        seconds = in_turns(
            rounds,
            {
                "engine": lambda: engine.update(batches[0]),
                "hooked": lambda: hooked.step(batches[0]),
                "bound": products,
            },
        )
    gain, share = ratio(seconds["hooked"], seconds["engine"]), ratio(seconds["bound"], seconds["engine"])
    return {
        **{f"{name}_ms": 1e3 * float(np.median(x)) for name, x in seconds.items()},
        **{f"{name}_tokens_per_s": b * t / float(np.median(x)) for name, x in seconds.items()},
        **dict(zip(("ratio", "ratio_low", "ratio_high"), gain, strict=True)),
        **dict(zip(("bound_share", "bound_share_low", "bound_share_high"), share, strict=True)),
        "losses_apart": apart,
    }


def main(rounds: int = 10, positions: str | None = None, size: Literal["small", "wide"] = "small") -> dict[str, float]:
    config = recipes.get("text-small")
    config = replace(config, task=replace(config.task, repeats=0.0))  # type: ignore[type-var]
    if size == "wide":
        wide = replace(config.model, d_model=128, n_heads=4)
        config = replace(config, model=wide, task=replace(config.task, length=256), batch_size=8)  # type: ignore[type-var]
    if positions is not None:
        config = replace(config, model=replace(config.model, positions=positions))  # type: ignore[arg-type]
    with threads(1):
        m = measure(config, rounds)
    print(
        f"engine {m['engine_ms']:.0f} ms ({m['engine_tokens_per_s']:,.0f} tokens/s)   HookedTransformer + AdamW "
        f"{m['hooked_ms']:.0f} ms ({m['hooked_tokens_per_s']:,.0f} tokens/s)   {m['ratio']:.2f}x "
        f"({m['ratio_low']:.2f}..{m['ratio_high']:.2f})\n"
        f"bound: {m['bound_ms']:.0f} ms, {m['bound_share']:.0%} of the step   losses differ by at most "
        f"{m['losses_apart']:.1e}"
    )
    return m


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
