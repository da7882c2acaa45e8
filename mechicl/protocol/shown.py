"""A sequence as something to look at: what a task tells the page of its positions and its answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class Token:
    """One position of a sequence.

    name: its place, as 'x1' or '0'; text: what stands there; output: which output of the model it is, if any;
    marks: which of the task's marked answers (`Task.marks`) it is; match: it is what an induction head would look for;
    picture: [side, side], uint8 brightness or ink in 0..1, where there is one.
    """

    name: str
    text: str
    output: int | None = None
    marks: tuple[str, ...] = ()
    match: bool = False
    picture: np.ndarray | None = field(default=None, compare=False)

    @classmethod
    def read(cls, said: str) -> Token:
        """A position as `Task.tokens` says it: 'place words'."""
        place, _, text = said.partition(" ")
        return cls(place, text)

    def __str__(self) -> str:
        """The inverse of `read`."""
        return f"{self.name} {self.text}"


@dataclass(frozen=True, eq=False)
class Column:
    """Outputs [b], one of each sequence, whose logits are attributed: name, and which marked answers they are."""

    name: str
    outputs: Tensor
    marks: tuple[str, ...] = ()
