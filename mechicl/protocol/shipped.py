"""Sequences as plain arrays, which a program without mechicl can run a model on and score: for `mechicl export`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Scored:
    """How the model's distributions q over outputs become a number of each sequence.

    Rows are the positions that are read. The number of a sequence is its offset, and weight x term for each of its
    rows. `term` says what the term of a row is:

        right   1 where `target` is the likeliest output, of those in `among` where they are given; else 0
        log     the sum of share x log q over `outputs`
        more    1 where that sum is above `bound`; else 0

    at [r]: sequence x t + position of every row, ascending; weight [r]; offset [b]; target, bound [r]; among [r, c];
    outputs [r, c] (None: every output, in order) and share [r, c]. Each is None where the term does not need it. at,
    target, among and outputs are whole numbers, the others float32.
    yes_or_no: whether the number is 1 or 0, so that its interval is that of a share.
    """

    term: Literal["right", "log", "more"]
    at: Tensor
    weight: Tensor
    offset: Tensor
    target: Tensor | None = None
    among: Tensor | None = None
    outputs: Tensor | None = None
    share: Tensor | None = None
    bound: Tensor | None = None
    yes_or_no: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Shipped:
    """Sequences as a program reads and scores them.

    At each position stands either a row of the parameter `table`, or something that enters the residual stream as
    `inputs @ weight + bias` (both names of parameters).

    tokens [b, t]: rows of the table, -1 where there is something else; shown [b, t]: then which row of `inputs`, else
    -1; inputs [rows, i] float32. tokens and shown are whole numbers. weight, bias: '' where all are rows of the table.
    """

    tokens: Tensor
    shown: Tensor
    inputs: Tensor
    scored: Scored
    table: str
    weight: str = ""
    bias: str = ""


def of_tokens(tokens: Tensor, scored: Scored, table: str = "embed.W_E") -> Shipped:
    """Sequences of tokens [b, t] alone."""
    return Shipped(
        tokens=tokens, shown=torch.full_like(tokens, -1), inputs=torch.zeros(0, 0), scored=scored, table=table
    )


def last_of(n: int, t: int) -> dict[str, Any]:
    """at, weight and offset of n sequences that are read once, at the last of t positions."""
    return {"at": torch.arange(1, n + 1) * t - 1, "weight": torch.ones(n), "offset": torch.zeros(n)}


def mean_over(counts: Tensor) -> dict[str, Any]:
    """at, weight and offset of a mean over the positions that count, [b, t] bool, at least one in each sequence."""
    each = (1 / counts.sum(-1, keepdim=True)).expand(counts.shape)
    return {"at": counts.flatten().nonzero()[:, 0], "weight": each[counts].float(), "offset": torch.zeros(len(counts))}
