"""Scores of attention in sequences of exemplars and labels (docs/references.md#singh-2024-measures).

A[i, j] is attention from position i to j; context pair p has its exemplar at 2p and its
label at 2p + 1; the query is at 2C. 'Correct' pairs show the query's class.

    previous_token      mean of A[i, i-1] over i >= 1: over all positions
    label_to_exemplar   mean of A[2p+1, 2p] over pairs: over label positions only
    label_to_self       mean of A[2p+1, 2p+1]
    query_to_match      sum of A[2C, 2p] over correct pairs: the matching exemplars
    query_to_label      sum of A[2C, 2p+1] over correct pairs: their labels
    query_to_wrong      sum of A[2C, 2p+1] over the other pairs
    induction_strength  query_to_label - query_to_wrong; -1..1
    query_to_self       A[2C, 2C]
    query_to_own        sum of A[2C, 2p+1] where the label is the trained one of the
                        query's class: what context-constrained in-weights learning looks at

Those about correct pairs, or own labels, average over the sequences that have one.

`scores.attention` computes them.
"""

from __future__ import annotations

from mechicl.protocol.attention_scores import SCORES, Score

OWN: dict[str, Score] = {
    "label_to_exemplar": Score(
        "previous-token score at labels",
        "Attention from each label to the exemplar before it, averaged over label positions only.",
    ),
    "label_to_self": Score("self score at labels", "Attention from each label to itself, averaged over labels."),
    "query_to_match": Score("attention to the match", "Attention from the query to the exemplars of its own class."),
    "query_to_label": Score("attention to the right label", "Attention from the query to its own class's labels."),
    "query_to_wrong": Score("attention to the other labels", "Attention from the query to all other labels."),
    "induction_strength": Score(
        "induction strength",
        "Attention from the query to the labels of its own class's pairs, minus to the other labels.",
        (-1.0, 1.0),
    ),
    "query_to_self": Score("self score of the query", "Attention from the query to itself."),
    "query_to_own": Score(
        "attention to the own label",
        "Attention from the query to the label that its class has in the weights, where the context shows it.",
    ),
}
for _name, _score in OWN.items():
    SCORES.add(_name, _score, __name__)
