"""What takes the place of an output that is taken out: one list, for heads, MLPs and positions."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Plain = Literal["zero", "mean", "resample"]  # of anything
Kind = Literal["zero", "mean", "resample", "pattern_preserving", "value_preserving"]  # of heads

BASELINES: dict[str, str] = {
    "zero": "0",
    "mean": "mean over the evaluation set, per position",
    "resample": "the same head on the next sequence of the evaluation set",
    "pattern_preserving": "0, with every attention pattern held at its intact value",
    "value_preserving": "0, with every layer's values held at their intact ones",
}


def baseline(kind: str, of: str) -> str:
    """A baseline in words. of: what is replaced, as 'MLP'."""
    return BASELINES[kind].replace("the same head", f"the same {of}")


def of_others(x: Tensor, kind: str, axis: int = -3) -> Tensor:
    """What 'mean' or 'resample' puts in the place of an activation: its mean over all sequences, or its value on the
    next one (sequences are independent draws: the next one is a random other). axis: the sequences' one, b."""
    return x.mean(axis, keepdim=True) if kind == "mean" else x.roll(1, dims=axis)
