"""A task of one's own: linear regression in context (Garg et al. 2022, 2208.01066).

    mechicl train regression --plugin regression

A sequence is x1 y1 x2 y2 ... xC yC with y = w . x + noise and a weight vector w of its own. At every x the model
answers with one number, the y that follows; the loss is the mean squared error.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from mechicl.config import Config, ModelConfig, OptimConfig, ScheduleConfig
from mechicl.engine.forward import logits
from mechicl.engine.ops import linear
from mechicl.protocol.batch import TaskBatch
from mechicl.protocol.task import Circuit, Task, register
from mechicl.recipes import recipe
from mechicl.registry import Evaluator
from mechicl.registry import register as register_evaluator


@dataclass(frozen=True, repr=False)
class Pairs(TaskBatch):
    """x [b, C, dim] and y [b, C], float32; levels [b, 2]: the mean squared error at the last x, over the whole set, of
    answering 0 and of ridge regression on the pairs before."""

    x: torch.Tensor
    y: torch.Tensor
    levels: torch.Tensor  # the same for every sequence, so that a part of a set is scored as the whole is

    recorded: ClassVar[tuple[str, ...]] = ("error", "gain")

    @property
    def ids(self):
        """No tokens: positions are told apart by what they are, x (0) or y (1)."""
        return torch.tensor([0, 1]).repeat(self.x.shape[-2]).expand(*self.y.shape[:-1], -1)

    def embed(self, params, model, hook):
        y = torch.nn.functional.pad(self.y[..., None], (self.x.shape[-1], 0))  # y stands behind the coordinates of x
        both = torch.stack([torch.nn.functional.pad(self.x, (0, 1)), y], dim=-2).flatten(-3, -2)  # [b, 2C, dim + 1]
        w = params["input.W"]
        if w.dim() == 3:  # one for each checkpoint
            both = both.expand(len(w), 1, *both.shape) if both.dim() == 3 else both[:, None]
        return linear(both.to(w.dtype), w)

    def loss(self, z):
        return (z[..., ::2, 0] - self.y).square().mean()

    def score(self, params, final, wanted):
        error = (logits(params, final)[..., ::2, 0] - self.y).square()[..., -1]  # at the last x
        zero, best = self.levels.unbind(-1)
        found = {"error": error, "gain": (zero - error) / (zero - best)}
        return {name: found[name] for name in wanted}

    def chance(self, n_outputs):
        return {"error": float(self.levels[0, 0]), "gain": 0.0}


@dataclass(frozen=True)
class Weights:
    """The weight vectors [K, dim] that training draws from; None: a new one for every sequence."""

    trained: np.ndarray

    @property
    def fingerprint(self) -> str:
        return self.trained.tobytes().hex()[:64]


@register
@dataclass(frozen=True, kw_only=True)
class Regression(Task):
    kind: str = "regression"
    circuit: ClassVar[Circuit] = Circuit("new_weights")
    errors: ClassVar[tuple[str, ...]] = ("error",)  # metrics of which less is better; `gain` is none
    dim: int = 3
    pairs: int = 8
    n_weights: int = 64
    noise: float = 0.1

    @property
    def n_tokens(self):
        return 2 * self.pairs

    @property
    def n_outputs(self):
        return 1

    def input_shapes(self, model):
        return {"input.W": (self.dim + 1, model.d_model)}

    def source(self, config, data=None, threads=1):
        return Weights(np.random.default_rng([config.seeds.data, 0]).standard_normal((self.n_weights, self.dim)))

    def draw(self, source, n, rng):
        return self.sequences(source.trained[rng.integers(self.n_weights, size=n)], rng)

    def sequences(self, w, rng):
        x = rng.standard_normal((len(w), self.pairs, self.dim))
        y = np.einsum("bcd,bd->bc", x, w) + self.noise * rng.standard_normal(x.shape[:2])
        before, last = x[:, :-1], x[:, -1]
        covariance = np.swapaxes(before, 1, 2) @ before + self.noise**2 * np.eye(self.dim)
        fitted = np.linalg.solve(covariance, np.einsum("bcd,bc->bd", before, y[:, :-1])[..., None])[..., 0]
        best = np.einsum("bd,bd->b", last, fitted)
        levels = np.tile([np.square(y[:, -1]).mean(), np.square(best - y[:, -1]).mean()], (len(w), 1))
        return Pairs(*(torch.from_numpy(each.astype(np.float32)) for each in (x, y, levels)))

    def tokens(self, source, evaluator, batch, i):
        pairs = zip(batch.x[i].tolist(), batch.y[i].tolist(), strict=True)
        return [
            text
            for c, (x, y) in enumerate(pairs, 1)
            for text in (f"x{c} ({', '.join(f'{v:.1f}' for v in x)})", f"y{c} {y:.1f}")
        ]

    def caption(self, recorded):
        return f"linear regression in {self.dim} dimensions, {self.n_weights} weight vectors, noise {self.noise:g}"


register_evaluator(
    Evaluator(
        name="new_weights",
        task="regression",
        label="Regression (new weights)",
        favours="context",
        primary_metric="gain",
        meaning="weight vectors never trained on: 0 answers nothing, 1 is ridge regression",
        colour="#0072B2",
        symbol="circle",
        quantity="gain",
        draw=lambda config, source, n, rng: config.task.sequences(rng.standard_normal((n, config.task.dim)), rng),
    )
)
register_evaluator(
    Evaluator(
        name="known_weights",
        task="regression",
        label="Regression (trained weights)",
        favours="weights",
        meaning="the weight vectors that were trained on",
        colour="#C8501E",
        symbol="diamond",
        primary_metric="gain",
        quantity="gain",
        draw=lambda config, source, n, rng: config.task.draw(source, n, rng),
    )
)


@recipe
def regression() -> Config:
    """Linear regression in context, 64 weight vectors in 3 dimensions: in a minute."""
    return Config(
        name="regression",
        steps=3000,
        batch_size=64,
        task=Regression(),
        model=ModelConfig(d_model=32, n_heads=4, mlp_ratio=4),
        optim=OptimConfig(lr=3e-3, warmup_steps=200),
        checkpoint_steps=ScheduleConfig(log_points=8, linear_every=250),
        n_eval=500,
    )
