"""Every step of a series with parts taken from one other step (`interventions.Graft`;
docs/references.md#singh-2025-halves).

The host is each step of a series in turn, the donor one fixed step. `first_half` is the embeddings and all layers but
the last; `second_half` the last layer, the final LayerNorm and the unembedding: the published split. With `rest`,
everything *but* the parts comes from the donor: the donor's model with the host's parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import pandas as pd

from mechicl.evaluators import Metrics, wanted_of
from mechicl.interventions.weights import Graft as Graft
from mechicl.interventions.weights import first_half as first_half
from mechicl.interventions.weights import in_parts as in_parts
from mechicl.interventions.weights import second_half as second_half
from mechicl.measures.ablation import ordered_rows
from mechicl.measures.asked import Names, Steps, chosen_sets, chosen_steps
from mechicl.measures.parts import over_checkpoints
from mechicl.protocol.batch import TaskBatch
from mechicl.registry import applying
from mechicl.series import Series
from mechicl.system.surroundings import reading

__all__ = ["Graft", "evaluate_grafts"]


@reading()
def evaluate_grafts(
    series: Series,
    grafts: Sequence[Graft],
    steps: Steps = None,
    evaluators: Names = None,
    n: int | None = None,
    metrics: Metrics | None = "recorded",
    split: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """The tidy table of host steps x (intact + each graft) x evaluators x metrics.

    Args:
        steps: the hosts, default all; evaluators: default all.
        n: sequences per evaluator; split: which evaluation set.
        metrics: None for the primary metric of each evaluator alone.

    Returns:
        As `measures.ablation.evaluate`; `intervention` names the graft ('intact' first), `baseline`
        the donor ('step 2500'). All are measured on the same sequences, so that
        `measures.effects` of this table are paired.
    """
    chosen = chosen_steps(series, steps)
    donors = {str(step): series.entry(step).sha256 for step in sorted({g.source for g in grafts})}
    sets = chosen_sets(series, evaluators, applying(series.config), n, split)
    wanted = {name: wanted_of(name, batch, metrics) for name, batch in sets.items()}
    settings = {
        "evaluators": wanted,
        "grafts": [asdict(g) for g in grafts],
        "split": split,
        "n": {name: len(batch) for name, batch in sets.items()},
        "donors": donors,
    }
    rows = partial(_measured, sets=sets, wanted=wanted, grafts=tuple(grafts))
    return over_checkpoints(series, "grafts", chosen, rows, settings, singly=True, progress=progress)


def _measured(
    series: Series,
    steps: list[int],
    *,
    sets: Mapping[str, TaskBatch],
    wanted: Mapping[str, tuple[str, ...]],
    grafts: Sequence[Graft],
) -> list[dict[str, Any]]:
    (step,) = steps
    return ordered_rows(series, step, sets, wanted, grafts)
