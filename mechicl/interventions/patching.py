"""Activation patching: activations as they are on counterfactual sequences (Vig et al. 2020, 2004.12265; Zhang & Nanda
2024, 2309.16042).

Every sequence has a partner that differs from it in one thing (`TaskBatch.counterfactual`). The model reads the
sequence, but some activations are those that it has on the partner: what the answer moves by went through them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit
from mechicl.errors import ConfigError
from mechicl.interventions.base import Intervention, elsewhere
from mechicl.interventions.edges import edge_mask, spelled
from mechicl.interventions.heads import check_heads, head_pairs, matched_sets, names
from mechicl.interventions.mlps import AblateMLPs
from mechicl.interventions.others import other_sets, random_names
from mechicl.interventions.positions import check_layers, given, position_mask
from mechicl.loading import check_types
from mechicl.protocol.batch import TaskBatch


@dataclass(frozen=True, kw_only=True)
class PatchActivations(Intervention):
    """Take activations from the counterfactual sequences.

    heads: the outputs of these heads (or, with `part`, their queries, keys or values); mlps: the outputs of these
    layers' MLPs; residual: the residual stream at the input of these layers; edges: the attention scores along these
    edges, before the softmax, in all heads of `layers` (default: all layers). positions: patch heads, MLPs and the
    residual stream only at these positions, by role (in the original sequence) or number; default: everywhere.
    counterfactual: which one (`TaskBatch.counterfactuals`; default: the task's first, for exemplars and labels
    'labels').
    """

    heads: tuple[tuple[int, int], ...] = ()
    mlps: tuple[int, ...] = ()
    residual: tuple[int, ...] = ()
    edges: tuple[str, ...] = ()
    layers: tuple[int, ...] | None = None
    positions: tuple[str, ...] = ()
    part: Literal["z", "q", "k", "v"] = "z"
    counterfactual: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", head_pairs(self.heads))
        check_types(self, "PatchActivations")
        object.__setattr__(self, "edges", spelled(self.edges))
        for field in ("mlps", "residual"):
            object.__setattr__(self, field, tuple(sorted(set(getattr(self, field)))))
        if not (self.heads or self.mlps or self.residual or self.edges):
            raise ConfigError(
                "PatchActivations: give heads, mlps, residual or edges, such as PatchActivations(heads=((1, 3),))."
            )
        if self.layers is not None and not self.edges:
            raise ConfigError(
                f"PatchActivations.layers={self.layers}: these are the layers of edges, so give edges, too."
            )

    def __str__(self) -> str:
        what = [names(self.heads) + ("" if self.part == "z" else f" {self.part}")] if self.heads else []
        what += [f"L{la} MLP" for la in self.mlps] + [f"residual before L{la}" for la in self.residual]
        where = "" if self.layers is None else f" {' '.join(f'L{la}' for la in self.layers)}"
        what += [f"{' '.join(self.edges)}{where}"] if self.edges else []
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
        return min(before + [min(self.layers, default=0) if self.layers else 0] * bool(self.edges))

    @property
    def place(self) -> tuple[int | None, int | None]:
        only = len(self.heads) == 1 and not (self.mlps or self.residual or self.edges)
        return self.heads[0] if only else (None, None)

    def check(self, model: ModelConfig) -> None:
        check_heads(self.heads, model)
        AblateMLPs(layers=self.mlps).check(model)
        check_layers((*self.residual, *(self.layers or ())), model)

    def check_on(self, batch: TaskBatch) -> None:
        batch[:2].counterfactual(self.counterfactual)
        position_mask(batch[:1], self.positions)
        for edge in self.edges:
            edge_mask(batch[:1], edge)

    drawn: ClassVar[Mapping[str, str]] = {"heads": "heads", "MLPs": "mlps", "positions": "positions", "edges": "edges"}

    def controls(self, model: ModelConfig, count: int) -> list[Intervention]:
        """Each of heads, MLPs, positions and edges beside its own random others; what has none stays."""
        have = [layer for layer in range(model.n_layers) if model.has_mlp(layer)]
        drawn = {
            "heads": matched_sets(model, self.heads, count, 100 * count) if self.heads else [],
            "mlps": other_sets(self.mlps, have, count),
            "positions": random_names(self.positions, count) if self.positions else [],
            "edges": random_names(self.edges, count) if self.edges else [],
        }
        found = {field: sets for field, sets in drawn.items() if sets}
        made = [
            replace(self, **{field: sets[i % len(sets)] for field, sets in found.items()})  # type: ignore[arg-type]
            for i in range(max(map(len, found.values()), default=0))
        ]
        return list(dict.fromkeys(made))

    def same_pattern(self, layer: int, head: int) -> str:
        behind = [la for la, _ in self.heads] if self.part in ("z", "v") else []
        own = [la for la, _ in self.heads] if self.part in ("q", "k") else []
        own += [*self.residual, *((self.layers or (0,)) if self.edges else ())]
        first = min([la + 1 for la in (*behind, *self.mlps)] + own)
        return "nothing before it is patched" if layer < first else ""

    def _scores(self, model: ModelConfig) -> list[str]:
        """Hooks of the attention scores that edges run through."""
        if not self.edges:
            return []
        layers = range(model.n_layers) if self.layers is None else self.layers
        return [f"blocks.{la}.attn.hook_attn_scores" for la in layers]

    def _hooks(self) -> dict[str, list[int] | None]:
        """Hook -> which of its heads, or None: all of it."""
        out: dict[str, list[int] | None] = {}
        for layer in dict.fromkeys(la for la, _ in self.heads):
            out[f"blocks.{layer}.attn.hook_{self.part}"] = [h for la, h in self.heads if la == layer]
        out |= {f"blocks.{la}.hook_mlp_out": None for la in self.mlps}
        return out | {f"blocks.{la}.hook_resid_pre": None for la in self.residual}

    def needs(self, model: ModelConfig) -> list[str]:
        return [elsewhere(self.counterfactual, hook) for hook in (*self._hooks(), *self._scores(model))]

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
        for hook in self._scores(model):
            put = intact[elsewhere(self.counterfactual, hook)]  # [*lead, b, h, q, s]
            own = torch.stack([edge_mask(given(batch, self), edge) for edge in self.edges]).any(0).tril()
            own = own[:, None, -put.shape[-2] :]  # the last layer may be computed at the query alone
            out[hook] = Edit((~own).to(put), torch.where(own, put, 0.0))
        return out
