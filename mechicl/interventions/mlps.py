"""MLPs taken out: what a layer's MLP adds to the residual stream replaced by a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.forward import Edit
from mechicl.errors import ConfigError
from mechicl.interventions.base import Intervention
from mechicl.loading import check_types
from mechicl.tasks.batch import TaskBatch

MLP_BASELINES: dict[str, str] = {
    "zero": "0",
    "mean": "mean over the evaluation set, per position",
    "resample": "the same MLP on the next sequence of the evaluation set",
}


@dataclass(frozen=True, kw_only=True)
class AblateMLPs(Intervention):
    """Replace the output of whole MLPs (`hook_mlp_out`) by a baseline.

    layers: whose MLPs, counted from 0; kind: which baseline (MLP_BASELINES).
    """

    layers: tuple[int, ...]
    kind: Literal["zero", "mean", "resample"] = "zero"

    def __post_init__(self) -> None:
        check_types(self, "AblateMLPs")
        object.__setattr__(self, "layers", tuple(sorted(set(self.layers))))

    def __str__(self) -> str:
        return f"{self.kind} " + (" ".join(f"L{layer}" for layer in self.layers) or "no") + " MLP"

    @property
    def baseline(self) -> str:
        return MLP_BASELINES[self.kind]

    @property
    def first_layer(self) -> int:
        return min(self.layers, default=0)

    @property
    def family(self) -> str:
        return f"{self.kind} MLP"

    @property
    def place(self) -> tuple[int | None, int | None]:
        return (self.layers[0] if len(self.layers) == 1 else None), None

    def check(self, model: ModelConfig) -> None:
        have = [layer for layer in range(model.n_layers) if model.has_mlp(layer)]
        for layer in self.layers:
            if layer not in have:
                where = f"layers {', '.join(map(str, have))} have one" if have else "none has one (mlp_ratio = 0)"
                raise ConfigError(f"there is no MLP in layer {layer}: of the model's {model.n_layers} layers, {where}.")

    def needs(self, model: ModelConfig) -> list[str]:
        return [] if self.kind == "zero" else [f"blocks.{layer}.hook_mlp_out" for layer in self.layers]

    def edits(
        self, model: ModelConfig, intact: Mapping[str, Tensor], batch: TaskBatch | None = None
    ) -> dict[str, Edit]:
        hooks = [f"blocks.{layer}.hook_mlp_out" for layer in self.layers]
        return {hook: Edit(0.0, 0.0 if self.kind == "zero" else of_others(intact[hook], self.kind)) for hook in hooks}


def of_others(x: Tensor, kind: str) -> Tensor:
    """What 'mean' or 'resample' puts in the place of an activation [*lead, b, t, d]: over all sequences, or of the
    next one."""
    return x.mean(-3, keepdim=True) if kind == "mean" else x.roll(1, dims=-3)
