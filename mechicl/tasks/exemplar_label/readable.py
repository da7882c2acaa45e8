"""What a batch of exemplars and labels must be for a run's model to read it: of batches that a plugin drew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechicl.protocol.drawn import not_finite, wrong_numbers, wrong_shape

if TYPE_CHECKING:
    from mechicl.protocol.task import Task
    from mechicl.tasks.exemplar_label.batch import Batch


def wrong(batch: Batch, task: Task) -> str:
    """What of it no model of the run can read, in words; '' if nothing (`TaskBatch.wrong`).

    Args:
        batch: its tensors have one first axis; nothing else is known of them.
    """
    bank, c, n = task.config.bank, task.config.sequences.n_pairs, len(batch.target)  # type: ignore[attr-defined]
    slots, labelled = (n, c + 1), ("labels", "target", "trained_labels")
    axes = f"[sequence, {c} pairs and the query]"
    expected = {
        "exemplars": ((*slots, bank.dim), f"{axes[:-1]}, bank.dim]"),
        "labels": ((n, c), f"[sequence, {c} pairs]"),
        "target": ((n,), "[sequence]"),
        "classes": (slots, axes),
        "exemplar_ids": (slots, axes),
        "trained_labels": (slots, axes),
    }
    for name, (shape, said) in expected.items():
        x = getattr(batch, name)
        numbers = not_finite(name, x) if name == "exemplars" else ""
        if name != "exemplars":
            numbers = wrong_numbers(name, x, bank.labels if name in labelled else None, "labels")
        if problem := wrong_shape(name, x, shape, said) or numbers:
            return problem
    return ""
