"""Activation patching: activations as they are on counterfactual sequences (Vig et al. 2020, 2004.12265; Zhang & Nanda
2024, 2309.16042).

Every sequence has a partner that differs from it in one thing (`TaskBatch.counterfactual`). The model reads the
sequence, but some activations are those that it has on the partner: what the answer moves by went through them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.forward import Edit
from mechicl.errors import ConfigError
from mechicl.interventions.base import Intervention, elsewhere
from mechicl.interventions.heads import check_heads, head_pairs, names
from mechicl.interventions.mlps import AblateMLPs
from mechicl.interventions.positions import check_layers, given, position_mask
from mechicl.loading import check_types
from mechicl.tasks.batch import TaskBatch


@dataclass(frozen=True, kw_only=True)
class PatchActivations(Intervention):
    """Take activations from the counterfactual sequences.

    heads: of these heads, their outputs (or, by `part`, their queries, keys or values); mlps: the outputs of these
    layers' MLPs; residual: the residual stream that these layers read. positions: only there, by role (of the sequence
    itself) or number; default everywhere. counterfactual: which partner (`TaskBatch.counterfactuals`; default: the
    task's first, of exemplars and labels 'labels').
    """

    heads: tuple[tuple[int, int], ...] = ()
    mlps: tuple[int, ...] = ()
    residual: tuple[int, ...] = ()
    positions: tuple[str, ...] = ()
    part: Literal["z", "q", "k", "v"] = "z"
    counterfactual: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", head_pairs(self.heads))
        check_types(self, "PatchActivations")
        for field in ("mlps", "residual"):
            object.__setattr__(self, field, tuple(sorted(set(getattr(self, field)))))
        if not (self.heads or self.mlps or self.residual):
            raise ConfigError("PatchActivations: name heads, mlps or residual, as PatchActivations(heads=((1, 3),)).")

    def __str__(self) -> str:
        what = [names(self.heads) + ("" if self.part == "z" else f" {self.part}")] if self.heads else []
        what += [f"L{la} MLP" for la in self.mlps] + [f"residual before L{la}" for la in self.residual]
        at = f" at {' '.join(self.positions)}" if self.positions else ""
        return f"patch {', '.join(what)}{at}" + (f" ({self.counterfactual})" if self.counterfactual else "")

    @property
    def baseline(self) -> str:
        return "its value on the counterfactual sequence" + (f" ({self.counterfactual})" if self.counterfactual else "")

    @property
    def family(self) -> str:
        return f"patch {self.counterfactual}".rstrip()

    @property
    def first_layer(self) -> int:
        before = [max(0, la - 1) for la in self.residual] + ([la for la, _ in self.heads] + list(self.mlps))
        return min(before)

    @property
    def place(self) -> tuple[int | None, int | None]:
        only = len(self.heads) == 1 and not self.mlps and not self.residual
        return self.heads[0] if only else (None, None)

    def check(self, model: ModelConfig) -> None:
        check_heads(self.heads, model)
        AblateMLPs(layers=self.mlps).check(model)
        check_layers(self.residual, model)

    def _hooks(self) -> dict[str, list[int] | None]:
        """Hook -> which of its heads, or None: all of it."""
        out: dict[str, list[int] | None] = {}
        for layer in dict.fromkeys(la for la, _ in self.heads):
            out[f"blocks.{layer}.attn.hook_{self.part}"] = [h for la, h in self.heads if la == layer]
        out |= {f"blocks.{la}.hook_mlp_out": None for la in self.mlps}
        return out | {f"blocks.{la}.hook_resid_pre": None for la in self.residual}

    def needs(self, model: ModelConfig) -> list[str]:
        return [elsewhere(self.counterfactual, hook) for hook in self._hooks()]

    def edits(
        self, model: ModelConfig, intact: Mapping[str, Tensor], batch: TaskBatch | None = None
    ) -> dict[str, Edit]:
        there = position_mask(given(batch, self), self.positions) if self.positions else None  # [b, t]
        out = {}
        for hook, heads in self._hooks().items():
            put = intact[elsewhere(self.counterfactual, hook)]  # [*lead, b, t, h, k] or [*lead, b, t, d]
            taken = put.new_ones(put.shape[-4:] if heads is not None else put.shape[-3:])
            if heads is not None:
                taken = torch.zeros(taken.shape, dtype=put.dtype)
                taken[..., heads, :] = 1
                taken = taken.to(put.device)
            if there is not None:  # the last layer may be computed at the query alone
                last = there[:, -taken.shape[1] :].to(put)
                taken = taken * last.reshape(*last.shape, *[1] * (taken.dim() - 2))
            out[hook] = Edit(1 - taken, taken * put)
        return out
