"""What scores of attention are called: a door, since a task has scores of its own.

`TaskBatch.attention` computes them. A task of yours registers the names of its scores beside it:

    SCORES.add("to_separator", Score("attention to separators", "..."), __name__)
"""

from __future__ import annotations

from dataclasses import dataclass

from mechicl.doors import Door, of_tasks


@dataclass(frozen=True)
class Score:
    """How a score is written wherever it is shown. name: its one name; meaning: one sentence;
    limits: the lowest and highest value that it can have."""

    name: str
    meaning: str
    limits: tuple[float, float] = (0.0, 1.0)


SCORES: Door[Score] = Door("score", built_in=("mechicl.protocol.tokens", *of_tasks("attention_scores")))
