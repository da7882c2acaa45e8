"""One evaluation sequence as something to look at: its tokens, and which answers it has.

Three answers are marked. 'true' is what the evaluator scores as right; 'in context' is the
label shown with the query's class; 'in weights' is the label that class has in training. On
Flip sequences the last two disagree, which is the point of them.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import Image

from mechicl.page.runs import Run
from mechicl.tasks.batch import TaskBatch
from mechicl.tasks.exemplar_label.batch import Batch

MARKS = {
    "true": "the answer that the evaluator scores as right",
    "in context": "the label shown with the query's class",
    "in weights": "the label that the query's class has in training",
}


@dataclass(frozen=True)
class Token:
    """One position. `marks`: which answers this label is; image: a PNG as a data URI, or None."""

    name: str  # x1, y1, ..., query
    text: str  # a class's or label's name
    label: int | None
    marks: tuple[str, ...] = ()
    match: bool = False  # an exemplar of the query's class
    image: str | None = None


@dataclass(frozen=True)
class Answers:
    """The labels that are right in each sense; None where there is no such label."""

    true: int
    in_context: int | None
    in_weights: int

    def marks(self, label: int) -> tuple[str, ...]:
        """Which answers a label is."""
        named = zip(MARKS, (self.true, self.in_context, self.in_weights), strict=True)
        return tuple(name for name, answer in named if answer == label)


def answers(run: Run, evaluator: str, i: int) -> Answers | None:
    """The three answers of a sequence; None of a task that does not mark them."""
    batch = run.sets[evaluator]
    if not isinstance(batch, Batch):
        return None
    classes, labels = batch.classes[i], batch.labels[i]
    shown = labels[classes[:-1] == classes[-1]]
    return Answers(int(batch.target[i]), int(shown[0]) if len(shown) else None, int(batch.trained_labels[i, -1]))


def tokens(run: Run, evaluator: str, i: int) -> list[Token]:
    """A sequence's tokens, in order: x1, y1, ..., xC, yC, query."""
    batch, right = run.sets[evaluator], answers(run, evaluator, i)
    if right is None:
        named = (each.split(" ", 1) for each in run.series.task.tokens(run.series.source, evaluator, batch, i))
        return [Token(place, text, label=None) for place, text in named]
    part = run.part(evaluator)
    classes, drawings = batch.classes[i].tolist(), batch.exemplar_ids[i].tolist()
    out: list[Token] = []
    for p, (c, drawing) in enumerate(zip(classes, drawings, strict=True), 1):
        query = p == len(classes)
        image = None if part.images is None else picture(part.images[c, drawing])
        out.append(Token("query" if query else f"x{p}", part.name(c), None, match=c == classes[-1], image=image))
        if not query:
            label = int(batch.labels[i, p - 1])
            out.append(Token(f"y{p}", f"label {label}", label, right.marks(label)))
    return out


def answer_noun(run: Run) -> str:
    """What the task calls an output: of exemplars and labels, a label."""
    return "label" if isinstance(run.sets[run.leading], Batch) else "answer"


def choose_one(run: Run) -> str:
    """What one sees of a single sequence, in the task's own words: which answers its labels are, or its roles."""
    batch = cast(TaskBatch, run.sets[run.leading])
    if isinstance(batch, Batch):
        marks = "; ".join(f"‘{name}’ is {meaning}" for name, meaning in MARKS.items())
        return f"Choose one sequence to see its tokens: {marks}."
    roles, relations = (", ".join(name.replace("_", " ") for name in x) for x in (batch.roles(), batch.relations()))
    named = f"positions have the roles {roles}" if roles else "positions have no roles but their places"
    return f"Choose one sequence to see its tokens. In this task {named}; they are related as {relations}."


def picture(ink: np.ndarray) -> str:
    """[side, side] as a PNG in a data URI: uint8 brightness as it is; ink in 0..1 black on white."""
    bright = ink if ink.dtype == np.uint8 else np.clip((1 - np.asarray(ink, dtype=float)) * 255, 0, 255)
    pixels = np.asarray(bright).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
