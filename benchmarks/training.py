"""Training speed: the engine's step beside a plain loop over HookedTransformer, in one run.

    python benchmarks/training.py [RECIPE] [--steps 200]

Both train the same model on the same batches with Adam at the same learning rate; the last
line is their ratio, and the losses show that they do the same work.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from mechicl import recipes
from mechicl.config import Config
from mechicl.data.banks import Batch, build_bank
from mechicl.engine.params import init, pack
from mechicl.engine.step import Trainer
from mechicl.model import ICLTransformer
from mechicl.train import training_batches


def engine(config: Config, batches: list[Batch]) -> list[float]:
    trainer = Trainer(config, pack(init(config)))
    return [float(trainer.update(batch)) for batch in batches]


def hooked(config: Config, batches: list[Batch]) -> list[float]:
    model = ICLTransformer(config)
    adam = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=config.optim.lr)
    losses = []
    for step, batch in enumerate(batches):
        adam.param_groups[0]["lr"] = config.optim.lr_at(step)
        adam.zero_grad()
        loss = model(batch, return_type="loss")
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="demo")
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    config = recipes.get(options.recipe)
    torch.set_num_threads(config.threads)
    batches = list(training_batches(config, build_bank(config), 0, options.steps))
    speed, losses = {}, {}
    for name, run in (("HookedTransformer", hooked), ("engine", engine)):
        run(config, batches[:10])  # warm up
        start = time.perf_counter()
        losses[name] = run(config, batches)
        speed[name] = len(batches) * config.batch_size / (time.perf_counter() - start)
        print(f"{name:<18}{speed[name]:>9,.0f} sequences/s   last loss {losses[name][-1]:.5f}")
    apart = np.abs(np.subtract(*losses.values())).max()
    print(f"ratio             {speed['engine'] / speed['HookedTransformer']:>9.2f}x              "
          f"losses differ by at most {apart:.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
