"""An intervention in words: the same in the options of `mechicl ablate`, in a link to the page and on the page.

    heads             L0H5,L1H3: outputs of heads replaced, by `kind`
    kind              what takes the place of heads, MLPs and positions: zero, mean, resample; for heads also
                      pattern_preserving and value_preserving
    hold              pattern,q,k,v: what the layers after the heads keep as in the intact model
    mlp               0,1: outputs of these layers' MLPs replaced
    edge              query->match_label:1,previous: attention cut, in layer 1's heads, or in all heads; of one head,
                      query->match_label:L1H3
    path              L0H5->L1H3.k,embed->out: what a component reads without what another wrote; `kind` says what takes
                      its place: zero or mean
    position          match_label:1: what layer 1 reads there replaced
    patch             L1H3,mlp.1,match_label:1,query->match_label:1: taken from the counterfactual sequence
    counterfactual    next: which one (default: the task's first)
    graft             qk.1,embeddings@1400: weights of step 1400
    without_subspace  flip: without the directions in which the last layer writes one answer
    own               scale_values(layer=0, factor=0.5): one that a plugin registered, with its fields

`mechicl ablate` alone also has the kind `counterfactual`, which is for paths (`Line`).

An edge without a layer is cut in all layers. A position without one has that of the next position that has one:
'match_label,query:1' is both before layer 1; at the end of the list it is before layer 0.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from mechicl.errors import ConfigError
from mechicl.interventions import (
    AblateHeads,
    AblateMLPs,
    AblatePositions,
    CutEdges,
    CutPaths,
    Graft,
    Intervention,
    Kind,
    PatchActivations,
    Together,
)
from mechicl.interventions import door as own
from mechicl.interventions.baselines import Plain
from mechicl.interventions.cut_paths import PATH_KINDS, PathKind
from mechicl.interventions.heads import Held
from mechicl.measures.places import RELATIONS as RELATIONS
from mechicl.measures.places import Head as Head
from mechicl.measures.places import Placed, by_layer, patched, placed, split, written
from mechicl.measures.places import parse_heads as parse_heads
from mechicl.measures.subspace_ablation import AblateCarried

__all__: list[str] = []

EXAMPLE = (
    "--heads L0H5,L1H3, --mlp 1, --edge 'query->match_label', --path 'L0H5->L1H3.k', --position match_label:1, "
    "--patch L1H3, --graft qk.1@1400 or --without-subspace flip"
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is done to a model, as data: the one list of all that can be said. Every field is in order, so that equal
    interventions are equal options."""

    heads: tuple[Head, ...] = ()
    kind: Kind = "zero"
    hold: tuple[Held, ...] = ()
    mlp: tuple[int, ...] = ()
    edge: tuple[Placed, ...] = ()
    path: tuple[str, ...] = ()
    position: tuple[Placed, ...] = ()
    patch: tuple[str, ...] = ()
    counterfactual: str = ""
    graft: str = ""
    without_subspace: str = ""
    own: str = ""


class Words(Options):
    """Options that are written and read, and the intervention that they ask for."""

    @classmethod
    def of(cls, texts: dict[str, str]) -> Words:
        """From a command line's options.

        Raises:
            ConfigError: one is written otherwise.
        """
        return cls(**{name: read(name, text, _option(name)) for name, text in texts.items() if text})

    def intervention(self, n: int | None = None) -> Intervention | None:
        """What they ask for; None where that is nothing. n: sequences from which directions are found.

        Raises:
            ConfigError: they do not go together.
        """
        parts: list[Intervention] = [self._cut()] if self.path else []
        if self.graft:
            names, _, step = self.graft.partition("@")
            parts.append(Graft(parts=tuple(names.split(",")), source=int(step)))
        if self.counterfactual and not self.patch:
            raise ConfigError(f"counterfactual {self.counterfactual}: it can only be used with --patch.")
        parts += _patches(self.patch, self.counterfactual)  # what is also taken out or cut is so after the patch
        if self.heads:
            parts.append(AblateHeads(heads=self.heads, kind=self.kind, hold=self.hold))
        elif self.hold:
            raise ConfigError(f"hold {','.join(self.hold)}: it can only be used with --heads.")
        if self.mlp:
            parts.append(AblateMLPs(layers=self.mlp, kind=self._plain("MLPs")))
        parts += _cuts(self.edge)
        for layer, names in by_layer(self.position):
            parts.append(AblatePositions(positions=names, layers=(layer or 0,), kind=self._plain("positions")))
        if self.without_subspace:
            parts.append(AblateCarried(variation=self.without_subspace, n=n))
        if self.own:
            parts.append(own.named(self.own))
        if len(parts) < 2:
            return parts[0] if parts else None
        return Together(parts=tuple(parts))

    def _cut(self) -> CutPaths:
        if self.kind not in PATH_KINDS:
            raise ConfigError(f"kind {self.kind}: for paths, expected one of {', '.join(PATH_KINDS)}.")
        return CutPaths(paths=self.path, kind=self.kind)  # type: ignore[arg-type]

    def _plain(self, what: str) -> Any:
        if self.kind not in get_args(Plain):
            raise ConfigError(f"kind {self.kind}: it is only for heads; for {what}, expected zero, mean or resample.")
        return self.kind


NAMES = tuple(field.name for field in dataclasses.fields(Options))


@dataclass(frozen=True, kw_only=True)
class Line(Words):
    """What a command line says: all that `Words` do, and a kind that is for paths alone."""

    kind: Kind | PathKind = "zero"  # type: ignore[assignment]

    @classmethod
    def of(cls, texts: dict[str, str]) -> Line:
        if texts.get("kind") != "counterfactual":
            return super().of(texts)  # type: ignore[return-value]
        return dataclasses.replace(super().of(texts | {"kind": ""}), kind="counterfactual")  # type: ignore[return-value]

    def intervention(self, n: int | None = None) -> Intervention | None:
        if self.kind != "zero" and not (self.heads or self.mlp or self.position or self.path):
            raise ConfigError(f"kind {self.kind}: it can only be used with --heads, --mlp, --position or --path.")
        if self.kind != "counterfactual":
            return super().intervention(n)
        if not self.path:
            raise ConfigError("kind counterfactual: it can only be used with --path; for all other parts use --patch.")
        if self.heads or self.mlp or self.position:
            raise ConfigError(
                "kind counterfactual: it is only for paths; to take heads, MLPs and positions from the counterfactual "
                "sequence, use --patch."
            )
        cut, others = self._cut(), dataclasses.replace(self, path=(), kind="zero").intervention(n)
        if others is None:
            return cut
        return Together(parts=(cut, *(others.parts if isinstance(others, Together) else (others,))))


def read(name: str, text: str, option: str = "") -> Any:
    """The value of one field from its text. option: how messages call it (default: its name).

    Raises:
        ConfigError: it is written otherwise.
    """
    option = option or name
    if name == "heads":
        return parse_heads(text, option)
    if name == "hold":
        return tuple(held for held in get_args(Held) if held in _one_of(get_args(Held), split(text), option))
    if name == "mlp":
        if not re.fullmatch(r"[0-9]+(,[0-9]+)*", text):
            raise ConfigError(f"{option} {text}: expected layers, such as {option} 1 or {option} 0,1.")
        return tuple(sorted({int(layer) for layer in text.split(",")}))
    if name == "edge":
        message = f"{option} {text}: expected edges, as query->match_label or previous:1, in a head self:L1H3."
        return placed(text, None, message)
    if name == "position":
        message = f"{option} {text}: expected roles or numbers, and a layer, as match_label:1 or 0,query:1."
        return placed(text, 0, message)
    if name == "patch":
        return tuple(dict.fromkeys(patched(each, text, option) for each in split(text)))
    if name == "graft":
        parts, _, step = text.partition("@")
        if not all(each.strip() for each in parts.split(",")) or not re.fullmatch(r"[0-9]+", step.strip()):
            raise ConfigError(
                f"{option} {text}: expected parts and the step that they come from, such as qk.1@1400 or "
                "qk.1,embeddings@1400."
            )
        return f"{','.join(dict.fromkeys(each.strip() for each in parts.split(',')))}@{int(step)}"
    if name == "counterfactual":
        if not re.fullmatch(r"\w+", text):
            raise ConfigError(f"{option} {text}: expected its name, such as {option} next.")
        return text
    if name == "without_subspace":
        return AblateCarried(variation=text).variation
    if name == "own":
        return own.written(own.named(text, option))
    if name == "path":
        return CutPaths(paths=tuple(split(text))).paths
    (chosen,) = _one_of(get_args(Kind), [text], option)
    return chosen


def write(name: str, value: Any) -> str:
    """The text that `read` takes."""
    if name == "heads":
        return ",".join(f"L{layer}H{head}" for layer, head in value)
    if name in ("edge", "position"):
        return ",".join(each if where is None else f"{each}:{written(where)}" for each, where in value)
    return value if isinstance(value, str) else ",".join(map(str, value))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _one_of(known: Iterable[str], given: list[str], option: str) -> list[str]:
    listed = list(known)
    for each in given:
        if each not in listed:
            raise ConfigError(f"{option} {each}: expected one of {', '.join(listed)}.")
    return given


def _cuts(edges: Iterable[Placed]) -> list[Intervention]:
    """Edges in layers, then edges in heads: those that are cut in the same heads together."""
    listed = list(edges)
    out: list[Intervention] = [
        CutEdges(edges=names, layers=None if layer is None else (layer,)) for layer, names in by_layer(listed)
    ]
    heads: dict[str, tuple[Head, ...]] = {}
    for name, where in listed:
        if isinstance(where, tuple):
            heads[name] = (*heads.get(name, ()), where)
    for its in dict.fromkeys(heads.values()):
        out.append(CutEdges(edges=tuple(name for name, where in heads.items() if where == its), heads=its))
    return out


def _patches(patch: Iterable[str], other: str) -> list[Intervention]:
    """other: which counterfactual."""
    heads: list[Head] = []
    mlps: list[int] = []
    positions: list[Placed] = []
    edges: list[Placed] = []
    for each in patch:
        name, colon, layer = each.partition(":")
        if re.fullmatch(r"L[0-9]+H[0-9]+", each):
            heads += parse_heads(each)
        elif each.startswith("mlp."):
            mlps.append(int(each[4:]))
        elif "->" in name or name in RELATIONS:
            edges.append((name, int(layer) if colon else None))
        else:
            positions.append((name, int(layer)))
    out: list[PatchActivations] = []
    if heads or mlps:
        out.append(PatchActivations(heads=tuple(heads), mlps=tuple(mlps)))
    out += [PatchActivations(residual=(la or 0,), positions=names) for la, names in by_layer(positions)]
    out += [PatchActivations(edges=names, layers=None if la is None else (la,)) for la, names in by_layer(edges)]
    return [dataclasses.replace(part, counterfactual=other) for part in out]
