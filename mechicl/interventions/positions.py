"""Positions of the residual stream: which they are, by number or by role, and what a layer reads there replaced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit
from mechicl.errors import ConfigError
from mechicl.interventions.base import Intervention
from mechicl.interventions.baselines import Plain, baseline, of_others
from mechicl.interventions.others import as_random, random_names, random_others
from mechicl.loading import check_types
from mechicl.protocol.batch import TaskBatch


@dataclass(frozen=True, kw_only=True)
class AblatePositions(Intervention):
    """Replace the residual stream at some positions by a baseline, at the input of layers (`hook_resid_pre`).

    positions: roles, such as 'match_label', or numbers, such as '1'; layers: the layers whose input is replaced (0: the
    embeddings); kind: the baseline (`BASELINES`, except the preserving ones). All later layers and the output read the
    replaced stream.
    """

    positions: tuple[str, ...]
    layers: tuple[int, ...] = (0,)
    kind: Plain = "zero"

    def __post_init__(self) -> None:
        check_types(self, "AblatePositions")
        object.__setattr__(self, "layers", tuple(sorted(set(self.layers))))
        if not self.positions or not self.layers:
            raise ConfigError(
                f"AblatePositions.positions={self.positions}, layers={self.layers}: expected at least "
                "one of each, such as positions=('match_label',), layers=(1,)."
            )

    def __str__(self) -> str:
        return f"{self.kind} {' '.join(self.positions)} before {' '.join(f'L{la}' for la in self.layers)}"

    @property
    def baseline(self) -> str:
        return baseline(self.kind, "position")

    @property
    def family(self) -> str:
        return f"{self.kind} positions"

    @property
    def first_layer(self) -> int:
        return max(0, self.layers[0] - 1)

    @property
    def place(self) -> tuple[int | None, int | None]:
        return (self.layers[0] if len(self.layers) == 1 else None), None

    def check(self, model: ModelConfig) -> None:
        check_layers(self.layers, model)

    def check_on(self, batch: TaskBatch) -> None:
        position_mask(batch[:1], self.positions)

    drawn: ClassVar[Mapping[str, str]] = {"positions": "positions"}

    def controls(self, model: ModelConfig, count: int) -> list[Intervention]:
        return [replace(self, positions=names) for names in random_names(self.positions, count)]

    def same_pattern(self, layer: int, head: int) -> str:
        return "nothing before it is replaced" if layer < self.layers[0] else ""

    def needs(self, model: ModelConfig) -> list[str]:
        return [] if self.kind == "zero" else [f"blocks.{layer}.hook_resid_pre" for layer in self.layers]

    def edits(
        self, model: ModelConfig, intact: Mapping[str, Tensor], batch: TaskBatch | None = None
    ) -> dict[str, Edit]:
        there = position_mask(given(batch, self), self.positions)[..., None]  # [b, t, 1]
        out = {}
        for hook in (f"blocks.{layer}.hook_resid_pre" for layer in self.layers):
            if self.kind == "zero":
                out[hook] = Edit((~there).float(), 0.0)
                continue
            x = intact[hook]  # [*lead, b, t, d]
            out[hook] = Edit((~there).to(x), there.to(x) * of_others(x, self.kind))
        return out


def check_layers(layers: tuple[int, ...], model: ModelConfig) -> None:
    """Raise ConfigError if a layer is none of the model's."""
    for layer in layers:
        if not 0 <= layer < model.n_layers:
            raise ConfigError(f"there is no layer {layer}: this model has layers 0..{model.n_layers - 1}.")


def given(batch: TaskBatch | None, asked: Intervention) -> TaskBatch:
    """The batch of an intervention that depends on it.

    Raises:
        ConfigError: there is none.
    """
    if batch is None:
        raise ConfigError(
            f"{asked}: it depends on the sequences: give the batch, as in edits(conditions, model, intact, batch)."
        )
    return batch


def position_mask(batch: TaskBatch, names: tuple[str, ...]) -> Tensor:
    """Which positions of each sequence have one of these roles or numbers: bool [b, t]. 'random 3 for match_label' is
    draw 3 of as many others (`others.py`), the one whose answer is read left out where answers are read at the last.

    Raises:
        ConfigError: there is no such role or position; the message lists those there are.
    """
    roles, out = batch.roles(), torch.zeros(batch.shape, dtype=torch.bool, device=batch.device)
    for name in names:
        if name in roles:
            out |= roles[name]
        elif (random := as_random(name)) is not None:
            among = torch.ones_like(out)
            among[:, -1] = batch.everywhere
            out |= random_others(position_mask(batch, random[1]), among, random[0], position_mask(batch, random[2]))
        elif name.isdecimal() and int(name) < batch.shape[-1]:
            out[:, int(name)] = True
        else:
            there = ", ".join(roles) or "none in these sequences"
            raise ConfigError(
                f"position {name!r}: expected a role, of which there are {there}, or a number, 0 to "
                f"{batch.shape[-1] - 1}."
            )
    return out
