"""Where chosen heads look, set by hand: on the right label with a given strength, or sharper than they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit
from mechicl.errors import ConfigError
from mechicl.interventions.heads import OfHeads, head_pairs, names
from mechicl.loading import check_types
from mechicl.protocol.batch import TaskBatch


@dataclass(frozen=True, kw_only=True)
class ClampMatch(OfHeads):
    """Set the query's attention in some heads: `strength` on the right answers, the rest on the other answers.

    The task says where they stand (`TaskBatch.match_row`). In the default task they stand at the labels: the right one
    is the flipped label on Flip, and the copied label on CIWL. The right answers share `strength` (0 to 1) evenly, the
    other answers share 1 - strength, and all other positions get no attention. If all answers are right, they get the
    whole attention. In sequences that do not show the answer, attention is not changed. With two pairs this is the
    published match clamp (docs/references.md#singh-2024-clamps), whose induction strength is 2 strength - 1.
    """

    heads: tuple[tuple[int, int], ...]
    strength: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", head_pairs(self.heads))
        check_types(self, "ClampMatch")
        if not 0 <= self.strength <= 1:
            raise ConfigError(f"ClampMatch.strength={self.strength}: expected a share of attention, 0 to 1.")

    def __str__(self) -> str:
        return f"match {self.strength:g} {names(self.heads)}"

    @property
    def baseline(self) -> str:
        return f"attention of the query: {self.strength:g} on the right labels, {1 - self.strength:g} on the others"

    def needs(self, model: ModelConfig) -> list[str]:
        return [f"blocks.{layer}.attn.hook_pattern" for layer in dict.fromkeys(layer for layer, _ in self.heads)]

    def edits(
        self, model: ModelConfig, intact: Mapping[str, Tensor], batch: TaskBatch | None = None
    ) -> dict[str, Edit]:
        if batch is None:
            raise ConfigError(
                "ClampMatch depends on the answers of the sequences: edits(conditions, model, intact, batch) needs a "
                "batch, but was given none."
            )
        batch.check_one_answer(self)
        out = {}
        for hook in self.needs(model):
            layer, pattern = int(hook.split(".")[1]), intact[hook]
            asking, t = pattern.shape[-2:]
            row, shows = batch.match_row(self.strength, pattern.dtype)
            held = torch.zeros(len(batch), model.n_heads, asking, 1, dtype=pattern.dtype, device=pattern.device)
            for head in (h for la, h in self.heads if la == layer):
                held[:, head, -1, 0] = shows.to(held)
            out[hook] = Edit(1 - held.expand(-1, -1, -1, t), held * row.to(pattern)[:, None, None, :])
        return out


@dataclass(frozen=True, kw_only=True)
class Temper(OfHeads):
    """Divide the attention scores of some heads by a temperature, before the softmax. Below 1, attention is sharper;
    above 1, it is more uniform."""

    heads: tuple[tuple[int, int], ...]
    temperature: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", head_pairs(self.heads))
        check_types(self, "Temper")
        if not 1e-6 <= self.temperature <= 1e6:
            raise ConfigError(f"Temper.temperature={self.temperature}: expected a positive number, 1e-6 to 1e6.")

    def __str__(self) -> str:
        return f"temperature {self.temperature:g} {names(self.heads)}"

    @property
    def baseline(self) -> str:
        return f"attention scores divided by {self.temperature:g}"

    def edits(
        self, model: ModelConfig, intact: Mapping[str, Tensor], batch: TaskBatch | None = None
    ) -> dict[str, Edit]:
        out = {}
        for layer in dict.fromkeys(layer for layer, _ in self.heads):
            keep = torch.ones(1, model.n_heads, 1, 1)
            keep[0, [h for la, h in self.heads if la == layer]] = 1 / self.temperature
            keep = keep if batch is None else keep.to(batch.device)
            out[f"blocks.{layer}.attn.hook_attn_scores"] = Edit(keep)
        return out
