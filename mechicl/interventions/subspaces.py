"""Directions of the residual stream taken off: from what a layer reads, from what its heads or its MLP write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit
from mechicl.errors import ConfigError
from mechicl.interventions.base import Intervention
from mechicl.interventions.positions import check_layers
from mechicl.loading import whole
from mechicl.protocol.batch import TaskBatch

_HOOKS = {"input": "hook_resid_pre", "heads": "hook_attn_out", "mlp": "hook_mlp_out", "output": "hook_resid_post"}
_WORDS = {
    "input": "what L{} reads",
    "heads": "what L{}'s heads write",
    "mlp": "what L{}'s MLP writes",
    "output": "what leaves L{}",
}
_DEPENDENT = 1e-6  # columns count as dependent to this, about what single precision can tell


@dataclass(frozen=True, kw_only=True, repr=False)
class AblateSubspace(Intervention):
    """Project directions out of an activation, for every sequence and position.

    directions: [d_model, count], an array, a tensor or nested lists. The part in their span is removed and nothing
    else, so they need not be orthogonal, and one that depends on others adds nothing. layer; at: 'input' (the residual
    stream before the layer), 'heads' or 'mlp' (the output of all its heads together, or of its MLP), 'output' (the
    residual stream after it). name: a name for the directions, by which tables know them.
    `measures.subspaces.carried` finds directions that carry an answer.
    """

    directions: Any
    layer: int
    at: Literal["input", "heads", "mlp", "output"] = "heads"
    name: str = "some directions"

    def __post_init__(self) -> None:
        given = self.directions.detach().cpu() if isinstance(self.directions, Tensor) else self.directions
        try:
            table = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError):
            table = np.zeros(0)
        if table.ndim != 2 or not table.size or not np.isfinite(table).all():
            raise ConfigError(
                f"AblateSubspace.directions: expected finite numbers [d_model, count], as an array, not "
                f"{f'an array {list(table.shape)}' if table.size else repr(given)[:60]}."
            )
        if not table.any():
            raise ConfigError(
                f"AblateSubspace.directions: all {len(table[0])} columns are 0, so they name no direction: expected "
                "at least one that is not 0."
            )
        rows: list[list[float]] = table.tolist()  # pyright: ignore[reportAssignmentType] (it has two axes)
        object.__setattr__(self, "directions", tuple(map(tuple, rows)))  # plain, so that it can be compared
        object.__setattr__(self, "layer", whole("AblateSubspace.layer", self.layer))
        if self.at not in _HOOKS:
            raise ConfigError(f"AblateSubspace.at={self.at!r}: expected one of {', '.join(map(repr, _HOOKS))}.")

    @cached_property
    def basis(self) -> np.ndarray:
        """Orthonormal columns [d_model, count] of the span."""
        table = np.asarray(self.directions)
        lengths = np.linalg.norm(table, axis=0)
        left, sizes, _ = torch.linalg.svd(
            torch.from_numpy(table / np.where(lengths, lengths, 1.0)), full_matrices=False
        )
        rank = int((sizes > _DEPENDENT * sizes[0]).sum())
        # Of dependent columns, QR returns more than they span.
        return np.linalg.qr(table)[0] if rank == table.shape[1] else left[:, :rank].numpy()

    @property
    def count(self) -> int:
        """The number of independent directions."""
        return self.basis.shape[1]

    def __str__(self) -> str:
        return f"without {self.name} in {_WORDS[self.at].format(self.layer)}"

    def __repr__(self) -> str:
        return (
            f"AblateSubspace(directions=<{len(self.directions)} x {len(self.directions[0])}>, layer={self.layer}, "
            f"at={self.at!r}, name={self.name!r})"
        )

    @property
    def baseline(self) -> str:
        return f"0 along {self.count} direction{'' if self.count == 1 else 's'}"

    @property
    def family(self) -> str:
        return f"without directions, {self.at}"

    @property
    def first_layer(self) -> int:
        return max(0, self.layer - 1) if self.at == "input" else self.layer

    @property
    def place(self) -> tuple[int | None, int | None]:
        return self.layer, None

    def check(self, model: ModelConfig) -> None:
        check_layers((self.layer,), model)
        if self.at == "mlp" and not model.has_mlp(self.layer):
            raise ConfigError(f"there is no MLP in layer {self.layer}: use at='heads', 'input' or 'output'.")
        if len(self.directions) != model.d_model:
            raise ConfigError(
                f"AblateSubspace.directions have {len(self.directions)} rows, but the residual stream "
                f"has {model.d_model} dimensions: expected [d_model, count]."
            )

    @property
    def alike(self) -> str:
        return "as many random directions"

    def controls(self, model: ModelConfig, count: int) -> list[Intervention]:
        return self.with_random(model, count)

    def with_random(self, model: ModelConfig, count: int, seed: int = 0) -> list[Intervention]:
        """Its controls of another seed."""
        if self.count == model.d_model:  # all of them: random ones would be the same
            return []
        drawn = random_directions(model, self.count, count, seed)
        return [replace(self, directions=x, name=f"random {i} for {self.name}") for i, x in enumerate(drawn)]

    def same_pattern(self, layer: int, head: int) -> str:
        before = layer < self.layer if self.at == "input" else layer <= self.layer
        return "nothing before it is removed" if before else ""

    def edits(
        self, model: ModelConfig, intact: Mapping[str, Tensor], batch: TaskBatch | None = None
    ) -> dict[str, Edit]:
        return {f"blocks.{self.layer}.{_HOOKS[self.at]}": Edit(off=torch.from_numpy(self.basis))}


def random_directions(model: ModelConfig, count: int, draws: int, seed: int = 0) -> np.ndarray:
    """[draw, d, count] directions at random, from a fixed seed: the controls of `count` others."""
    return np.random.default_rng(seed).standard_normal((draws, model.d_model, count))
