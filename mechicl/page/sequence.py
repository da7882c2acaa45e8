"""One evaluation sequence as something to look at: its tokens, and which answers it has, as its task says."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from mechicl.page.runs import Run
from mechicl.protocol.shown import Token


def tokens(run: Run, evaluator: str, i: int) -> list[Token]:
    """A sequence's tokens, in order."""
    return run.series.task.shown(run.series.source, evaluator, run.sets[evaluator], i)


def answers(run: Run, evaluator: str, i: int) -> dict[str, int | None]:
    """The marked answers of a sequence (`Task.marked`); none of a task that marks none."""
    return run.series.task.marked(run.sets[evaluator], i)


def choose_one(run: Run) -> str:
    """What one sees of a single sequence, in the task's own words: which answers are marked, or its roles."""
    if marks := run.series.task.marks:
        said = "; ".join(f"‘{name}’ is {meaning}" for name, meaning in marks.items())
        return f"Choose one sequence to see its tokens: {said}."
    batch = run.sets[run.leading]
    roles, relations = (", ".join(name.replace("_", " ") for name in x) for x in (batch.roles(), batch.relations()))
    named = f"positions have the roles {roles}" if roles else "positions have no roles, only numbers"
    return (
        f"Choose one sequence to see its tokens. In this task {named}; the relations between positions are {relations}."
    )


def picture(ink: np.ndarray) -> str:
    """[side, side] as a PNG in a data URI: uint8 brightness as it is; ink in 0..1 black on white."""
    bright = ink if ink.dtype == np.uint8 else np.clip((1 - np.asarray(ink, dtype=float)) * 255, 0, 255)
    pixels = np.asarray(bright).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
