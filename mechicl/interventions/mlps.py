"""MLPs taken out: what a layer's MLP adds to the residual stream replaced by a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit
from mechicl.errors import ConfigError
from mechicl.interventions.base import Intervention
from mechicl.interventions.baselines import Plain, baseline, of_others
from mechicl.interventions.others import other_sets
from mechicl.loading import check_types
from mechicl.protocol.batch import TaskBatch


@dataclass(frozen=True, kw_only=True)
class AblateMLPs(Intervention):
    """Replace the output of whole MLPs (`hook_mlp_out`) by a baseline.

    layers: the layers of the MLPs, counted from 0; kind: the baseline (`BASELINES`, except the preserving ones).
    """

    layers: tuple[int, ...]
    kind: Plain = "zero"

    def __post_init__(self) -> None:
        check_types(self, "AblateMLPs")
        object.__setattr__(self, "layers", tuple(sorted(set(self.layers))))

    def __str__(self) -> str:
        return f"{self.kind} " + (" ".join(f"L{layer}" for layer in self.layers) or "no") + " MLP"

    @property
    def baseline(self) -> str:
        return baseline(self.kind, "MLP")

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

    drawn: ClassVar[Mapping[str, str]] = {"MLPs": "layers"}

    def controls(self, model: ModelConfig, count: int) -> list[Intervention]:
        have = [layer for layer in range(model.n_layers) if model.has_mlp(layer)]
        return [replace(self, layers=layers) for layers in other_sets(self.layers, have, count)]

    def same_pattern(self, layer: int, head: int) -> str:
        return "nothing before it is removed" if layer <= self.first_layer else ""

    def needs(self, model: ModelConfig) -> list[str]:
        return [] if self.kind == "zero" else [f"blocks.{layer}.hook_mlp_out" for layer in self.layers]

    def edits(
        self, model: ModelConfig, intact: Mapping[str, Tensor], batch: TaskBatch | None = None
    ) -> dict[str, Edit]:
        hooks = [f"blocks.{layer}.hook_mlp_out" for layer in self.layers]
        return {hook: Edit(0.0, 0.0 if self.kind == "zero" else of_others(intact[hook], self.kind)) for hook in hooks}
