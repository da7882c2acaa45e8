"""Training: the engine's step beside a plain loop over HookedTransformer, and beside its bound.

    python benchmarks/training.py [RECIPE | rotary | 12-layers ...] [--rounds 20]

Both train the same model on the same batches, with Adam at the same learning rates, in turns:
some steps of one, some of the other. The bound is the time of the step's own matmuls, alone
and in a row, plus one pass of Adam over the parameters. The floor adds what loops beside the matmuls cannot
avoid: to read once each array that they are given, and Python's calls (measured where all arrays are
tiny). These are CPU seconds of one core. Sequences
per second are on the clock, with sampling and with a second core's help: they need a quiet machine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
import tyro
from timing import in_turns, one_core, ratio

from mechicl import recipes
from mechicl.config import Config
from mechicl.engine.fast import layers
from mechicl.engine.fast.adam import adam
from mechicl.engine.ops import matmul_arrays
from mechicl.models.hooked import ICLTransformer
from mechicl.models.params import init, pack
from mechicl.protocol.batch import TaskBatch
from mechicl.system.work_queue import threads
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.batch import Batch
from mechicl.tasks.exemplar_label.fast import gradients
from mechicl.training.loop import training_batches
from mechicl.training.step import Trainer

RECIPES = ("demo", "iwl", "coopetition-gaussian", "rotary", "12-layers")
STEPS = 10  # per turn


class Engine:
    """mechicl's own loop, without checkpoints."""

    def __init__(self, config: Config):
        self.trainer = Trainer(config, pack(init(config)))

    def step(self, batch: Batch) -> float:
        return float(self.trainer.update(batch))


class Hooked:
    """The loop that a user of TransformerLens writes."""

    def __init__(self, config: Config):
        self.config, self.done, self.model = config, 0, ICLTransformer(config)
        self.adam = self.optimiser([p for p in self.model.parameters() if p.requires_grad], config)

    def optimiser(self, trained: list[torch.nn.Parameter], config: Config) -> torch.optim.Optimizer:
        return torch.optim.Adam(trained, lr=config.optim.lr)

    def step(self, batch: TaskBatch) -> float:
        self.adam.param_groups[0]["lr"] = self.config.optim.lr_at(self.done)
        self.adam.zero_grad()
        loss = self.model(batch, return_type="loss")
        loss.backward()
        self.adam.step()
        self.done += 1
        return float(loss.detach())


class Matmuls:
    """Keeps every matmul of the engine's step, with its operands, to be run again alone."""

    def __init__(self):
        self.calls = []

    def __enter__(self) -> None:
        self.real = matmul_arrays
        for module in (gradients, layers):
            module.matmul_arrays = self._keep  # type: ignore[attr-defined]

    def __exit__(self, *_) -> None:
        for module in (gradients, layers):
            module.matmul_arrays = self.real  # type: ignore[attr-defined]

    def _keep(self, a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        done = self.real(a, b, out)
        self.calls.append((a.copy("K"), b.copy("K"), None if out is None else done.copy("K")))
        return done

    def again(self) -> None:
        for call in self.calls:
            self.real(*call)


class Arrays:
    """Keeps the arrays that the step's compiled loops read or write, to be read again alone, once each."""

    LOOPS = (
        (layers, ("layer_norm", "layer_norm_backward", "gelu_tanh", "times_slope", "add")),
        (gradients, ("attention", "attention_backward")),
    )

    def __init__(self):
        self.arrays: list[np.ndarray] = []

    def __enter__(self) -> None:
        self.real = {(module, name): getattr(module, name) for module, names in self.LOOPS for name in names}
        for (module, name), loop in self.real.items():
            setattr(module, name, self._keeping(loop))

    def __exit__(self, *_) -> None:
        for (module, name), loop in self.real.items():
            setattr(module, name, loop)
        self.room = np.empty(max(array.size for array in self.arrays), np.float32)

    def _keeping(self, loop):
        def kept(*given):
            made = loop(*given)
            found = (x for x in (*given, made) if isinstance(x, np.ndarray) and x.dtype == np.float32)
            once = {x.ctypes.data: x for x in found}  # queries and keys may be one array
            self.arrays += [x.reshape(-1) for x in once.values()]  # not copies: what one writes, the next has near
            return made

        return kept

    def again(self) -> None:
        for array in self.arrays:
            np.copyto(self.room[: array.size], array)


def tiny(config: Config) -> Config:
    """The same layers, and so the same calls, with next to nothing to compute."""
    model = replace(config.model, d_model=8, n_heads=1)
    bank = replace(config.bank, n_classes=32, n_holdout_classes=8, dim=8)
    return replace(config, model=model, bank=bank, batch_size=1)


def calls(config: Config) -> tuple[Callable[[], object], Callable[[], object]]:
    """A step of `tiny`, without its matmuls and Adam, is Python's calls: (the step, what is to be taken off)."""
    config = tiny(config)
    batches = list(training_batches(config, build_bank(config), 0, 8))
    engine, recorded = Engine(config), Matmuls()
    with recorded:
        engine.step(batches[0])
    adam_ = pass_of_adam(engine.trainer)
    return lambda: engine.step(batches[0]), lambda: (recorded.again(), adam_())


def pass_of_adam(trainer: Trainer):
    """One update of as many parameters, in one flat array."""
    count = sum(p.numel() for p in trainer.params.values())
    flat, segments = np.full((4, count), 1e-3, np.float32), np.array([(0, 0, count)])
    shared, each = np.array((0.9, 0.999, 1e-8), np.float32), np.array([(1, 1e-3, 1, 0, 1)], np.float32)
    return lambda: adam(flat, segments, shared, each)


def setting(name: str) -> Config:
    """A recipe by its name, 'rotary' (demo with rotary positions), or '12-layers': the published model of 2023, with
    MLPs and 17 positions, on Gaussian exemplars of 512 numbers in place of its file of features."""
    demo = recipes.get("demo")
    if name == "rotary":
        return replace(demo, name=name, model=replace(demo.model, positions="rotary"))
    if name == "12-layers":
        config = recipes.get("transience-2023")
        return replace(config, bank=replace(demo.bank, n_classes=config.bank.n_classes, dim=512))
    return recipes.get(name)


def cycle(batches: list[Batch]) -> Iterator[Batch]:
    while True:
        yield from batches


def measure(config: Config, rounds: int = 20, steps: int = STEPS) -> dict[str, float]:
    """Milliseconds of CPU that a step of each takes on one core, ratios with quartiles, and sequences/s
    on the clock, sampled and trained on, with every core that helps."""
    bank = build_bank(config)
    batches = list(training_batches(config, bank, 0, 128))
    engine, hooked = Engine(config), Hooked(config)
    apart = max(abs(engine.step(batch) - hooked.step(batch)) for batch in batches[:20])
    drawn, copy, fresh = cycle(batches), cycle(batches), training_batches(config, bank, 0, sys.maxsize)
    recorded, read, some = Matmuls(), Arrays(), max(1, steps // 3)
    small, of_small = calls(config)

    def many(once_):
        return lambda: [once_() for _ in range(steps)]

    with one_core():
        with recorded:
            engine.step(batches[20])
        with read:
            engine.step(batches[21])
        t = in_turns(
            rounds,
            {
                "engine": lambda: [engine.step(batch) for batch in islice(drawn, steps)],
                "hooked": lambda: [hooked.step(batch) for batch in islice(copy, some)],
                "matmuls": many(recorded.again),
                "adam": many(pass_of_adam(engine.trainer)),
                "read": many(read.again),
                "tiny": many(small),
                "of_tiny": many(of_small),
            },
        )
    whole = in_turns(rounds, {"clock": lambda: [engine.step(batch) for batch in islice(fresh, 128)]}, time.perf_counter)
    t = {name: 1e3 * x / (some if name == "hooked" else steps) for name, x in t.items()}
    per_second = 128 * config.batch_size / whole["clock"]
    gain, share = ratio(t["hooked"], t["engine"]), ratio(t["matmuls"] + t["adam"], t["engine"])
    bound, rest = t["matmuls"] + t["adam"], t["read"] + t["tiny"] - t["of_tiny"]
    return {
        **{f"{name}_ms": float(np.median(x)) for name, x in t.items()},
        "sequences_per_s": float(np.median(per_second)),
        "ratio": gain[0],
        "ratio_low": gain[1],
        "ratio_high": gain[2],
        "bound_share": share[0],
        "bound_share_low": share[1],
        "bound_share_high": share[2],
        "floor_share": float(np.median(bound / (bound + rest))),
        "losses_apart": apart,
    }


def show(name: str, m: dict[str, float]) -> None:
    print(
        f"{name:<12} engine {m['engine_ms']:7.3f} ms   HookedTransformer {m['hooked_ms']:7.2f} ms   "
        f"{m['ratio']:5.2f}x ({m['ratio_low']:.2f}..{m['ratio_high']:.2f})   on the clock "
        f"{m['sequences_per_s']:8,.0f} sequences/s\n"
        f"{'':<12} bound: matmuls {m['matmuls_ms']:.3f} + Adam {m['adam_ms']:.3f} ms = "
        f"{m['bound_share']:.0%} of the step (at most {m['floor_share']:.0%} with loops beside them: reading "
        f"{m['read_ms']:.3f}, calls {m['tiny_ms'] - m['of_tiny_ms']:.3f})\n"
        f"{'':<12} losses differ by at most {m['losses_apart']:.1e}"
    )


def main(names: tyro.conf.Positional[tuple[str, ...]] = RECIPES, rounds: int = 20) -> dict[str, dict[str, float]]:
    out = {}
    for name in names:
        config = setting(name)
        with threads(config.threads):
            out[name] = measure(config, rounds)
        show(name, out[name])
    return out


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
