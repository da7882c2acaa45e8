"""Sequences of exemplars and labels, and their answers, as something to look at.

Three answers are marked. 'true' is what the evaluator scores as right; 'in context' is the label shown with the
query's class; 'in weights' is the label that class has in training. On Flip sequences the last two disagree, which is
the point of them.
"""

from __future__ import annotations

from mechicl.protocol.shown import Column, Token
from mechicl.tasks.exemplar_label.banks.bank import Bank
from mechicl.tasks.exemplar_label.batch import Batch
from mechicl.tasks.exemplar_label.evaluators import part_shown


def marked(batch: Batch, i: int) -> dict[str, int | None]:
    """The three answers of a sequence: mark -> label, None where there is no such label."""
    classes, labels = batch.classes[i], batch.labels[i]
    right = labels[classes[:-1] == classes[-1]]
    return {
        "true": int(batch.target[i]),
        "in context": int(right[0]) if len(right) else None,
        "in weights": int(batch.trained_labels[i, -1]),
    }


def shown(source: Bank, evaluator: str, batch: Batch, i: int) -> list[Token]:
    """x1, y1, ..., xC, yC, query; with drawings where the bank has them."""
    part, answers = part_shown(source, evaluator), marked(batch, i)
    classes, exemplars = batch.classes[i].tolist(), batch.exemplar_ids[i].tolist()
    out: list[Token] = []
    for p, (c, exemplar) in enumerate(zip(classes, exemplars, strict=True), 1):
        query = p == len(classes)
        picture = None if part.images is None else part.images[c, exemplar]
        place = "query" if query else f"x{p}"
        out.append(Token(place, part.name(c), match=c == classes[-1], picture=picture))
        if not query:
            label = int(batch.labels[i, p - 1])
            marks = tuple(name for name, answer in answers.items() if answer == label)
            out.append(Token(f"y{p}", f"label {label}", label, marks))
    return out


def attributed(batch: Batch) -> list[Column]:
    """The label that is scored as right and the one that is right in the weights, where they differ."""
    weights = batch.trained_labels[:, -1]
    if bool((batch.target == weights).all()):
        return [Column("scored as right", batch.target, ("true", "in weights"))]
    return [
        Column("scored as right", batch.target, ("true",)),
        Column("right in weights", weights, ("in weights",)),
    ]
