"""How an activation is replaced at a hook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Taken:
    """What components wrote to the residual stream, taken off where others read it. It is what they write in the same
    pass, whatever else is changed there.

    source: the hook of what they wrote: `attn.hook_result` [..., t, h, d], `hook_mlp_out` or the first layer's
        `hook_resid_pre` [..., t, d] (which count as one component).
    share: [component, reader], or [c, component, reader]: how much of it is taken off there.
    to_heads: whether the reader's activation has an axis of heads, as `hook_q_input`; else it is one reader.
    instead: what comes in its place, of the shape of what was written; None: nothing.
    label: what that is, in a word: of one label and source there is one `instead`.
    """

    source: str
    share: Tensor
    to_heads: bool
    instead: Tensor | None = None
    label: str = "zero"

    @property
    def key(self) -> tuple[str, str]:
        return self.source, self.label

    def off(self, x: Tensor, written: Mapping[str, Tensor]) -> Tensor:
        """x without it. written: source -> what was written there."""
        own = written[self.source]
        if self.instead is not None:
            own = own - self.instead
        own = own if self.source.endswith("hook_result") else own.unsqueeze(-2)
        own = own[..., -x.shape[-3 if self.to_heads else -2] :, :, :]  # the last layer may read the query alone
        share = self.share.to(x).mT  # [..., reader, component]
        less = share[..., None, None, :, :] @ own
        return x - (less if self.to_heads else less.squeeze(-2))

    def to(self, *where: Any) -> Taken:
        """The same on another device, or in another dtype."""
        instead = None if self.instead is None else self.instead.to(*where)
        return replace(self, share=self.share.to(*where), instead=instead)


@dataclass(frozen=True)
class Edit:
    """Replace the activation x at a hook by x * keep + add (broadcast from the right).

    Every intervention is one of these: zeroing heads is keep = mask; fixing an activation
    is keep = 0.0, add = value. Conditions are a leading axis c of `keep` or `add`.
    (Masked attention scores are -inf: there a tensor `keep` must not be 0.)

    at: first, each position takes what another has: that of number at[j] at position j, as (0, 0, 1, 4) of four.
    Of q, k, v and z alone; where x has the last positions only, theirs are taken.
    off: then, [..., d, count] with orthonormal columns: the part of x [..., t, d] along them is taken off.
    less: before all else, what components wrote is taken off.
    """

    keep: Tensor | float = 1.0
    add: Tensor | float = 0.0
    at: tuple[int, ...] | None = None
    off: Tensor | None = None
    less: tuple[Taken, ...] = ()

    def __call__(self, x: Tensor, written: Mapping[str, Tensor] | None = None) -> Tensor:
        for taken in self.less:
            x = taken.off(x, written or {})
        if self.at is not None:
            x = _moved(x, self.at)
        if self.off is not None:
            off = self.off.to(x)
            x = x - x @ off @ off.mT
        if isinstance(self.keep, float) and self.keep == 0.0:
            return torch.zeros_like(x) + self.add  # whatever x is: -inf * 0 is nan
        kept = x * self.keep
        return kept if isinstance(self.add, float) and self.add == 0.0 else kept + self.add

    @property
    def adds(self) -> bool:
        """Whether it adds something, and does nothing else."""
        return (
            isinstance(self.keep, float) and self.keep == 1.0 and self.at is None and self.off is None and not self.less
        )

    def on(self, device: torch.device) -> Edit:
        """The same edit there."""
        keep, add = (part.to(device) if isinstance(part, Tensor) else part for part in (self.keep, self.add))
        return Edit(keep, add, self.at, self.off, tuple(taken.to(device) for taken in self.less))

    def like(self, x: Tensor) -> Edit:
        """The same edit on the device of x and in its dtype."""
        keep, add = (part.to(x) if isinstance(part, Tensor) else part for part in (self.keep, self.add))
        return Edit(keep, add, self.at, self.off, tuple(taken.to(x) for taken in self.less))


def _moved(x: Tensor, at: tuple[int, ...]) -> Tensor:
    """x [..., t, h, k] with the activation of position at[j] at position j."""
    first = len(at) - x.shape[-3]
    return x.index_select(-3, torch.tensor(at[first:]).to(x.device) - first)
