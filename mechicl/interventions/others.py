"""Random others: what stands in the place of the changed components in a control.

Every intervention says its own controls (`Intervention.controls`); here is what several of them draw from. Heads are
drawn by `heads.matched_sets`. Positions and edges differ from sequence to sequence, so that a control of them is drawn
in each one. It is written as a name, 'random 3 for match_label', and is an ordinary position or edge: draw 3 of as many
random other ones. 'random 3 for match of match match_label' is a share of one draw: of the others drawn for the last
two together, those that stand for the first. So parts that act at different positions get different ones.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")
LISTED = 10_000  # sets that are listed, to draw from all of them
_RANDOM = re.compile(r"random (\d+) for (.+?)(?: of (.+))?")


USUAL = {  # what controls are in words, by the kind of what is drawn, where there are enough of the same layers
    "heads": "as many other heads of the same layers",
    "MLPs": "as many other MLPs",
    "paths": "as many other paths between the same kinds of components in the same layers",
    "positions": "as many other positions of the same sequences",
    "edges": "as many other positions that the same ones see",
    "parts": "as many other parts of the same layers, from the same step",
}


def random_names(names: Iterable[str], count: int, of: Iterable[str] = ()) -> list[tuple[str, ...]]:
    """`count` draws of as many others as these positions or edges together. of: those that the draws are for, if they
    are more than these."""
    own, whole = dict.fromkeys(names), dict.fromkeys(of)
    share = " ".join(own) + (f" of {' '.join(whole)}" if set(whole) - set(own) else "")
    return [(f"random {draw} for {share}",) for draw in range(count)]


def as_random(name: str) -> tuple[int, tuple[str, ...], tuple[str, ...]] | None:
    """The draw, the names whose others these are, and all names that others are drawn for; None where a name is no
    random one."""
    found = _RANDOM.fullmatch(name)
    return None if found is None else (int(found[1]), tuple(found[2].split()), tuple((found[3] or found[2]).split()))


def random_others(own: Tensor, among: Tensor, draw: int, of: Tensor | None = None) -> Tensor:
    """In each row, as many random other places as it has of its own; all others, where they are fewer.

    Args:
        own: bool [..., t]; among: bool [..., t], where others may be.
        draw: the same draw gives the same places.
        of: bool [..., t], all places that others are drawn for, own ones among them (default: own). Each gets one of
            its own.
    """
    whole = own if of is None else of | own
    free = among & ~whole
    order = torch.rand(own.shape, generator=torch.Generator().manual_seed(draw)).to(own.device)
    order = order.masked_fill(~free, 2.0)  # behind all that are free
    rank = order.argsort(-1).argsort(-1)
    number = (whole.long().cumsum(-1) - 1).clamp(min=0)  # the first of all gets the first in this order, and so on
    taken = torch.zeros_like(number).scatter_add(-1, number, own.long()) > 0
    return free & taken.gather(-1, rank)


def other_sets(own: Iterable[T], of: Sequence[T], count: int) -> list[tuple[T, ...]]:
    """`count` different random sets of as many others (fewer, where there are not as many), from a fixed seed; all
    that exist where they are fewer, none where there is no other. Each is in the order of `of`."""
    listed = list(own)
    rest = [x for x in of if x not in listed]
    if not rest or not listed:
        return []
    size, rng = min(len(listed), len(rest)), np.random.default_rng(0)
    if math.comb(len(rest), size) <= LISTED:
        every = list(itertools.combinations(rest, size))
        return [every[int(i)] for i in rng.permutation(len(every))[:count]]
    met: dict[tuple[int, ...], None] = {}
    while len(met) < min(count, LISTED):  # many more exist, so few draws are met again
        met[tuple(sorted(rng.choice(len(rest), size, replace=False).tolist()))] = None
    return [tuple(rest[i] for i in places) for places in met]
