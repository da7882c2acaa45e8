"""What is lost when the last layer cannot write along some directions of the residual stream.

Similar subspaces are no proof that one circuit carries two answers; taking directions out is a
test of it. The directions of each variation (`measures.subspaces`: flip carries ICL, ciwl and iwl
in-weights answers) are found on an evaluation set of their own (split 1), taken off from what the last layer's heads
write (`interventions.AblateSubspace`), and the rest is evaluated as ever (split 0). Controls: RANDOM sets of as many
random directions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit
from mechicl.errors import ConfigError
from mechicl.evaluators import EVALUATORS
from mechicl.interventions import AblateSubspace, Intervention
from mechicl.interventions.subspaces import random_directions
from mechicl.measures.ablation import ordered_rows
from mechicl.measures.asked import Names, Steps, chosen_names, chosen_sets, chosen_steps
from mechicl.measures.door import measure
from mechicl.measures.parts import over_checkpoints
from mechicl.measures.subspaces import carried
from mechicl.models.params import pack
from mechicl.protocol.batch import TaskBatch
from mechicl.registry import applying, main
from mechicl.series import Series
from mechicl.system.surroundings import reading

__all__ = ["AblateCarried", "ablate_subspaces"]

RANDOM = 20  # sets of random directions


def without_directions(basis: np.ndarray, model: ModelConfig, name: str) -> AblateSubspace:
    """The last layer's heads cannot write along the columns of `basis` [d, count]."""
    return AblateSubspace(directions=basis, layer=model.n_layers - 1, name=name)


@dataclass(frozen=True, kw_only=True)
class AblateCarried(Intervention):
    """Prevent the last layer's heads from writing along the directions that carry one answer. At each step it is the
    `AblateSubspace` of the directions found at that step, on `n` other sequences (split 1).

    variation: an evaluator whose sequences can be varied (`Task.variations`); n: default the run's `n_eval`.
    """

    variation: str
    n: int | None = None

    def __post_init__(self) -> None:
        EVALUATORS.find(self.variation)

    def __str__(self) -> str:
        return f"without {self.variation}"

    @property
    def baseline(self) -> str:
        return f"0 along the directions in which the last layer's heads write the answer of {self.variation}"

    @property
    def of_step(self) -> bool:
        return True

    def same_pattern(self, layer: int, head: int) -> str:
        return "only what the last layer writes is changed"

    def check_on(self, batch: TaskBatch) -> None:
        if self.variation not in batch.variations:
            there = f"expected one of {', '.join(batch.variations)}" if batch.variations else "it has none"
            raise ConfigError(
                f"{self}: a {type(batch).__name__} has no variation {self.variation!r} that directions could be "
                f"found from: {there}."
            )

    def at_step(self, series: Series, step: int) -> Intervention:
        self.check_on(series.evaluation_set(next(iter(applying(series.config))), 2))
        basis = carried(series, pack(series.weights(step)), self.variation, self.n, split=1)
        return without_directions(basis, series.config.model, self.variation)

    def edits(
        self, model: ModelConfig, intact: Mapping[str, Tensor], batch: TaskBatch | None = None
    ) -> dict[str, Edit]:
        raise ConfigError(
            f"{self}: the directions differ between checkpoints: apply the result of .at_step(series, step)."
        )


@reading()
@measure(
    "ablate_subspaces",
    rows="step, evaluator, directions",
    value="the primary metric without directions of the residual stream that carry an answer",
    against="the row 'intact'",
)
def ablate_subspaces(
    series: Series,
    steps: Steps = None,
    evaluators: Names = None,
    variations: Names = None,
    n: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """The tidy table of primary metrics, intact and without each variation's directions or random ones.

    `intervention` is 'without flip', ..., 'without random 0', ...; `baseline` is the number of removed directions.
    """
    variations = chosen_names(variations, series.task.variations(series.config))
    sets = chosen_sets(series, evaluators, main(series.config), n)
    return over_checkpoints(
        series,
        "removal",
        chosen_steps(series, steps),
        partial(_measured, sets=sets, variations=tuple(variations), n=n),
        {
            "n": {name: len(batch) for name, batch in sets.items()},
            "directions_n": n or series.config.n_eval,
            "variations": list(variations),
        },
        singly=True,
        progress=progress,
    )


def _measured(
    series: Series, steps: list[int], *, sets: Mapping[str, TaskBatch], variations: Sequence[str], n: int | None
) -> Iterator[dict[str, Any]]:
    (step,), model = steps, series.config.model
    count, params = max(1, model.d_model // 4), pack(series.weights(step))
    drawn = random_directions(model, count, RANDOM)
    own = [without_directions(carried(series, params, v, n, split=1), model, v) for v in variations]
    conditions = [*own, *(without_directions(basis, model, f"random {i}") for i, basis in enumerate(drawn))]
    short = {str(c): {"intervention": f"without {c.name}", "baseline": f"{count} directions"} for c in conditions}
    wanted = {name: (EVALUATORS[name].primary_metric,) for name in sets}
    for row in ordered_rows(series, step, sets, wanted, conditions):
        yield row | {"layer": pd.NA} | short.get(row["intervention"], {})
