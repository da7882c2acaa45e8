"""Components of a model that write to the residual stream and read from it, and the paths between them.

A path is written 'SENDER->RECEIVER'. Senders are 'embed' (what enters the first layer), heads, as 'L0H5', and MLPs, as
'mlp.0'. Receivers are the queries, keys and values of heads, as 'L1H3.k', MLPs, and 'out', the final residual stream.
An attention edge, from position to position, is something else (edges.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mechicl.config import ModelConfig
from mechicl.errors import ConfigError

PARTS = ("q", "k", "v")
_NORM_AFTER = ("Olmo2ForCausalLM", "Olmo3ForCausalLM")
_SENDER = re.compile(r"(embed)|L(\d+)H(\d+)|mlp\.(\d+)", re.IGNORECASE)
_RECEIVER = re.compile(r"(out)|L(\d+)H(\d+)\.([qkv])|mlp\.(\d+)", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class Component:
    """One end of a path. kind: 'embed', 'head', 'mlp' or 'out'; layer and head where it has them (else -1); part: what
    of a head reads, 'q', 'k' or 'v'; '' of a sender."""

    kind: str
    layer: int = -1
    head: int = -1
    part: str = ""

    def __str__(self) -> str:
        if self.kind == "head":
            return f"L{self.layer}H{self.head}" + (f".{self.part}" if self.part else "")
        return f"mlp.{self.layer}" if self.kind == "mlp" else self.kind

    @property
    def like(self) -> tuple[str, int, str]:
        """What components of the same kind and layer share."""
        return self.kind, self.layer, self.part


@dataclass(frozen=True, order=True)
class Path:
    """What one component writes, as another reads it."""

    sender: Component
    receiver: Component

    def __str__(self) -> str:
        return f"{self.sender}->{self.receiver}"

    @property
    def like(self) -> tuple[Any, ...]:
        return self.sender.like, self.receiver.like


@lru_cache(maxsize=2**14)
def parse(text: str) -> Path:
    """'L0H5->L1H3.k' as a path.

    Raises:
        ConfigError: it is written otherwise.
    """
    ends = [end.strip() for end in text.split("->")] if isinstance(text, str) else []
    found = (_SENDER.fullmatch(ends[0]), _RECEIVER.fullmatch(ends[1])) if len(ends) == 2 else (None, None)
    if found[0] is None or found[1] is None:
        raise ConfigError(
            f"path {text!r}: expected SENDER->RECEIVER, such as L0H5->L1H3.k. Senders are embed, heads (L0H5) and MLPs "
            "(mlp.0); receivers the queries, keys or values of heads (L1H3.q, L1H3.k, L1H3.v), MLPs (mlp.1) and out."
        )
    embed, layer, head, mlp = found[0].groups()
    sender = Component("embed") if embed else _numbered(layer, head, "", mlp)
    out, layer, head, part, mlp = found[1].groups()
    return Path(sender, Component("out") if out else _numbered(layer, head, part, mlp))


def _numbered(layer: str | None, head: str, part: str | None, mlp: str) -> Component:
    return (
        Component("mlp", int(mlp)) if layer is None else Component("head", int(layer), int(head), (part or "").lower())
    )


def senders(model: ModelConfig) -> list[Component]:
    """All that write, in the order in which they do."""
    out = [Component("embed")]
    for layer in range(model.n_layers):
        out += [Component("head", layer, head) for head in range(model.n_heads)]
        out += [Component("mlp", layer)] if model.has_mlp(layer) else []
    return out


def receivers(model: ModelConfig) -> list[Component]:
    """All that read, in the order in which they do."""
    out = []
    for layer in range(model.n_layers):
        out += [Component("head", layer, head, part) for part in PARTS for head in range(model.n_heads)]
        out += [Component("mlp", layer)] if model.has_mlp(layer) else []
    return [*out, Component("out")]


def every_path(model: ModelConfig) -> list[str]:
    """All paths of a model, by receiver and then by sender, in the order in which they read and write.

    Examples:
        >>> paths = every_path(series.config.model)
        >>> len(paths), paths[0], paths[-1]
        (257, 'embed->L0H0.q', 'L1H7->out')
    """
    return [
        str(Path(sender, receiver))
        for receiver in receivers(model)
        for sender in senders(model)
        if reaches(sender, receiver, model)
    ]


def reaches(sender: Component, receiver: Component, model: ModelConfig) -> bool:
    """Whether a sender has written when a receiver reads."""
    if receiver.kind == "out":
        return True
    within = receiver.kind == "mlp" and not model.hooked.get("parallel_attn_mlp")
    return sender.layer < receiver.layer or (within and sender.kind == "head" and sender.layer == receiver.layer)


def check_paths(paths: Iterable[str], model: ModelConfig) -> None:
    """Raise unless a model has these paths.

    Raises:
        ConfigError: it lacks a component, or the receiver reads before the sender writes, or what single heads write is
            not defined.
    """
    write, read = set(senders(model)), set(receivers(model))
    for text in paths:
        path = parse(text)
        for end, there in ((path.sender, write), (path.receiver, read)):
            if end not in there:
                mlps = [str(layer) for layer in range(model.n_layers) if model.has_mlp(layer)]
                have = f"MLPs in layers {', '.join(mlps)}" if mlps else "no MLPs"
                raise ConfigError(
                    f"path {text}: there is no {end}: this model has layers 0..{model.n_layers - 1} with heads "
                    f"0..{model.n_heads - 1}, and {have}."
                )
        if not reaches(path.sender, path.receiver, model):
            raise ConfigError(
                f"path {text}: {path.receiver} reads the residual stream before {path.sender} writes to it. Name a "
                f"sender of an earlier layer, such as embed->{path.receiver}."
            )
    check_sums(model)


def check_sums(model: ModelConfig) -> None:
    """Raise unless the residual stream is the sum of what single heads and MLPs write.

    Raises:
        ConfigError: a norm stands between heads and the residual stream.
    """
    theirs = model.hooked
    if theirs.get("original_architecture") in _NORM_AFTER or theirs.get("use_normalization_before_and_after"):
        raise ConfigError(
            "in this model a norm is applied to the sum over heads before the residual stream. So what a single "
            "head adds to the residual stream is not defined, nor what it adds to an answer's logit."
        )
