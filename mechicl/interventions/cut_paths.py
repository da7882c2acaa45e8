"""Paths between components cut: one component reads the residual stream without what another wrote there, and all
others read it as before (path patching, Wang et al. 2022, 2211.00593; Goldowsky-Dill et al. 2023, 2304.05969).

The receiver's LayerNorm is computed anew. The receiver then changes, and passes its change on. Where several paths are
cut, each receiver lacks what its senders write in the same pass, so nothing comes through a path that is cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit, Taken
from mechicl.errors import ConfigError
from mechicl.interventions.base import Intervention, elsewhere
from mechicl.interventions.baselines import BASELINES, of_others
from mechicl.interventions.components import Component, Path, check_paths, every_path, parse
from mechicl.loading import check_types
from mechicl.protocol.batch import TaskBatch

PathKind = Literal["zero", "mean", "counterfactual"]
PATH_KINDS: dict[str, str] = {
    "zero": BASELINES["zero"],
    "mean": BASELINES["mean"],
    "counterfactual": "what the sender writes on the counterfactual sequence",
}
_EMBEDDED = "blocks.0.hook_resid_pre"


@dataclass(frozen=True, kw_only=True)
class CutPaths(Intervention):
    """Cut paths from component to component, all at once.

    paths: such as 'L0H5->L1H3.k' (`interventions.components`). kind: what the receiver reads instead of the sender's
    output: nothing ('zero'), the output's mean over the evaluation set at each position ('mean'), or the sender's
    output on the counterfactual sequence ('counterfactual'). counterfactual: which one (`TaskBatch.counterfactuals`;
    default: the task's first).

    Examples:
        >>> print(CutPaths(paths=("L0H5->L1H3.k",), kind="mean"))
        cut L0H5->L1H3.k (mean)
    """

    paths: tuple[str, ...]
    kind: PathKind = "zero"
    counterfactual: str = ""

    def __post_init__(self) -> None:
        check_types(self, "CutPaths")
        if self.counterfactual and self.kind != "counterfactual":
            raise ConfigError(
                f"CutPaths.counterfactual={self.counterfactual!r} with kind={self.kind!r}: only kind "
                "'counterfactual' uses other sequences."
            )
        ordered = sorted({parse(text) for text in self.paths}, key=lambda path: (path.receiver, path.sender))
        object.__setattr__(self, "paths", tuple(map(str, ordered)))

    def __str__(self) -> str:
        how = "" if self.kind == "zero" else f" ({f'{self.kind} {self.counterfactual}'.rstrip()})"
        return f"cut {' '.join(self.paths) or 'nothing'}{how}"

    @property
    def baseline(self) -> str:
        what = PATH_KINDS[self.kind] + (f" ({self.counterfactual})" if self.counterfactual else "")
        return f"{what}, as the receiver alone reads it"

    @property
    def family(self) -> str:
        return f"cut paths {self.kind} {self.counterfactual}".rstrip()

    @property
    def first_layer(self) -> int:
        layers = [p.sender.layer if p.receiver.kind == "out" else p.receiver.layer for p in self._parsed]
        return max(0, min(layers, default=0))

    @property
    def _parsed(self) -> list[Path]:
        return [parse(text) for text in self.paths]

    def check(self, model: ModelConfig) -> None:
        check_paths(self.paths, model)

    def check_on(self, batch: TaskBatch) -> None:
        if self.kind == "counterfactual":
            batch[:2].counterfactual(self.counterfactual)

    drawn: ClassVar[Mapping[str, str]] = {"paths": "paths"}

    def controls(self, model: ModelConfig, count: int) -> list[Intervention]:
        return [replace(self, paths=tuple(draw.values())) for draw in path_draws(self.paths, model, count)]

    def same_pattern(self, layer: int, head: int) -> str:
        read = [path.receiver for path in self._parsed if path.receiver.kind != "out"]
        before = any(end.layer < layer for end in read)
        own = any((end.layer, end.head) == (layer, head) and end.part in ("q", "k") for end in read)
        return "" if before or own else "nothing that it looks by is cut"

    def needs(self, model: ModelConfig) -> list[str]:
        if self.kind == "zero":  # what is taken off is what is written in the same pass
            return []
        wrote = list(dict.fromkeys(source(path.sender) for path in self._parsed))
        return wrote if self.kind == "mean" else [elsewhere(self.counterfactual, hook) for hook in wrote]

    def edits(
        self, model: ModelConfig, intact: Mapping[str, Tensor], batch: TaskBatch | None = None
    ) -> dict[str, Edit]:
        shares: dict[tuple[str, str], Tensor] = {}
        for path in self._parsed:
            key = reading(path.receiver, model), source(path.sender)
            rows, columns = (model.n_heads if end.kind == "head" else 1 for end in (path.sender, path.receiver))
            share = shares.setdefault(key, torch.zeros(rows, columns))
            share[max(path.sender.head, 0), max(path.receiver.head, 0)] = 1.0
        out: dict[str, Edit] = {}
        for (hook, wrote), share in shares.items():
            taken = Taken(wrote, share, hook.endswith("_input"), self._instead(wrote, intact), self.family)
            out[hook] = Edit(less=(*(out[hook].less if hook in out else ()), taken))
        return out

    def _instead(self, wrote: str, intact: Mapping[str, Tensor]) -> Tensor | None:
        if self.kind == "zero":
            return None
        if self.kind == "mean":
            return of_others(intact[wrote], "mean", -4 if wrote.endswith("hook_result") else -3)
        return intact[elsewhere(self.counterfactual, wrote)]


def source(sender: Component) -> str:
    """The hook of what a component writes."""
    if sender.kind == "embed":
        return _EMBEDDED
    return f"blocks.{sender.layer}." + ("attn.hook_result" if sender.kind == "head" else "hook_mlp_out")


def reading(receiver: Component, model: ModelConfig) -> str:
    """The hook of what a component reads."""
    if receiver.kind == "out":
        return f"blocks.{model.n_layers - 1}.hook_resid_post"
    return f"blocks.{receiver.layer}." + ("hook_mlp_in" if receiver.kind == "mlp" else f"hook_{receiver.part}_input")


def other_paths(paths: tuple[str, ...], model: ModelConfig, rng: np.random.Generator) -> tuple[str, ...]:
    """As many others at random, each between the same kinds of components in the same layers; fewer where there are
    not as many."""
    return tuple(_others_for(paths, model, rng).values())


def path_draws(paths: tuple[str, ...], model: ModelConfig, count: int) -> list[dict[str, str]]:
    """`count` different draws of `other_paths` from a fixed seed, each as path -> the one in its place; fewer where
    there are fewer."""
    rng, met = np.random.default_rng(0), {}
    for _ in range(100 * count):
        drawn = _others_for(paths, model, rng)
        if drawn:
            met.setdefault(frozenset(drawn.values()), drawn)
        if not drawn or len(met) == count:
            break
    return list(met.values())


def _others_for(paths: tuple[str, ...], model: ModelConfig, rng: np.random.Generator) -> dict[str, str]:
    """Path -> another."""
    own = {text: parse(text).like for text in paths}
    drawn: dict[str, str] = {}
    for like in dict.fromkeys(own.values()):
        its = [text for text in own if own[text] == like]
        rest = [text for text in by_likeness(model).get(like, ()) if text not in paths]
        if rest:
            places = rng.choice(len(rest), min(len(its), len(rest)), replace=False)
            drawn |= {text: rest[int(i)] for text, i in zip(its, places, strict=False)}
    return drawn


@lru_cache(maxsize=4)
def by_likeness(model: ModelConfig) -> dict[tuple[Any, ...], list[str]]:
    """Every path of a model, by what `Path.like` says of it."""
    out: dict[tuple[Any, ...], list[str]] = {}
    for text in every_path(model):
        out.setdefault(parse(text).like, []).append(text)
    return out
