"""Sequences as plain arrays, which a program without mechicl can run a model on: what `mechicl export` ships."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Shipped:
    """Sequences that are read at the last position, and whose answer is right or wrong.

    At each position stands either a row of the parameter `table`, or something that enters the residual stream as
    `inputs @ weight + bias` (both names of parameters).

    tokens [b, t]: rows of the table, -1 where there is something else; shown [b, t]: then which row of `inputs`, else
    -1; inputs [rows, i] float32; target [b]: the right output; choices [b, c]: the outputs of which the likeliest is
    the answer, None: all. All but `inputs` are whole numbers.
    """

    tokens: Tensor
    shown: Tensor
    inputs: Tensor
    target: Tensor
    choices: Tensor | None
    table: str
    weight: str
    bias: str
