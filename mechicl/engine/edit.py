"""How an activation is replaced at a hook."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Edit:
    """Replace the activation x at a hook by x * keep + add (broadcast from the right).

    Every intervention is one of these: zeroing heads is keep = mask; fixing an activation
    is keep = 0.0, add = value. Conditions are a leading axis c of `keep` or `add`.
    (Masked attention scores are -inf: there a tensor `keep` must not be 0.)

    at: first, each position takes what another has: that of number at[j] at position j, as (0, 0, 1, 4) of four.
    Of q, k, v and z alone; where x has the last positions only, theirs are taken.
    off: then, [..., d, count] with orthonormal columns: the part of x [..., t, d] along them is taken off.
    """

    keep: Tensor | float = 1.0
    add: Tensor | float = 0.0
    at: tuple[int, ...] | None = None
    off: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if self.at is not None:
            x = _moved(x, self.at)
        if self.off is not None:
            off = self.off.to(x)
            x = x - x @ off @ off.mT
        if isinstance(self.keep, float) and self.keep == 0.0:
            return torch.zeros_like(x) + self.add  # whatever x is: -inf * 0 is nan
        kept = x * self.keep
        return kept if isinstance(self.add, float) and self.add == 0.0 else kept + self.add

    def on(self, device: torch.device) -> Edit:
        """The same edit there."""
        keep, add = (part.to(device) if isinstance(part, Tensor) else part for part in (self.keep, self.add))
        return Edit(keep, add, self.at, self.off)

    def like(self, x: Tensor) -> Edit:
        """The same edit on the device of x and in its dtype."""
        keep, add = (part.to(x) if isinstance(part, Tensor) else part for part in (self.keep, self.add))
        return Edit(keep, add, self.at, self.off)


def _moved(x: Tensor, at: tuple[int, ...]) -> Tensor:
    """x [..., t, h, k] with the activation of position at[j] at position j."""
    first = len(at) - x.shape[-3]
    return x.index_select(-3, torch.tensor(at[first:]).to(x.device) - first)
