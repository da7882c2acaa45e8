"""Pairs of sequences that differ in one thing, so that what a model does differently belongs to one answer.

flip    the two labels of the context change places. Exemplars and query stay, so the
        in-weights answer stays and the in-context answer changes: what differs carries ICL.
ciwl    the query is exchanged for the next sequence's, whose label is put into both contexts
        in place of a wrong one. The context shows neither class, so the in-context answer stays
        undecided and the in-weights answer goes from one label shown to the other: carries CIWL.
iwl     the query is exchanged for the next sequence's; its label is shown to neither: carries IWL.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from mechicl.tasks.exemplar_label.batch import Batch


def exchanged(batch: Batch, variation: str) -> tuple[Batch, Batch]:
    """The pairs of sequences of a variation, from its evaluator's set.

    For 'ciwl' and 'iwl', pairs whose two classes or labels meet in one context are left out.
    """
    own = batch.trained_labels[:, -1:]  # [b, 1]
    if variation == "flip":
        return batch, batch.counterfactual("labels")
    new, query, label = batch.classes.roll(-1, 0)[:, -1:], batch.exemplars.roll(-1, 0)[:, -1:], own.roll(-1, 0)
    met = (batch.classes == new).any(1) | (batch.labels == label).any(1) | (batch.trained_labels == label).any(1)
    first = batch
    if variation == "ciwl":
        place = (batch.labels != own).long().argmax(1, keepdim=True)  # the first wrong label
        first = replace(batch, labels=batch.labels.scatter(1, place, label))
        met |= (batch.labels == own).all(1)
    second = replace(
        first,
        exemplars=torch.cat([first.exemplars[:, :-1], query], 1),
        classes=torch.cat([first.classes[:, :-1], new], 1),
        trained_labels=torch.cat([first.trained_labels[:, :-1], label], 1),
        target=label[:, 0],
        exemplar_ids=torch.cat([first.exemplar_ids[:, :-1], first.exemplar_ids.roll(-1, 0)[:, -1:]], 1),
    )
    return first[~met], second[~met]
