"""What is lost when the last layer cannot write along some directions of the residual stream.

Similar subspaces are no proof that one circuit carries two answers; taking directions out is a
test of it. The directions of each variation (`measures.subspaces`: flip carries ICL, ciwl and iwl
in-weights answers) are found on an evaluation set of their own (fold 1), projected out of the
last layer's W_O, and the rest is evaluated as ever (fold 0). Controls: RANDOM sets of as many random directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch

from mechicl.evaluators import EVALUATORS
from mechicl.measures.cache import cached
from mechicl.measures.door import measure
from mechicl.measures.grafts import scored_rows
from mechicl.measures.subspaces import VARIATIONS, carried
from mechicl.measures.tables import chosen_steps, one_by_one, tidy
from mechicl.models.params import Params, pack
from mechicl.registry import main
from mechicl.series import Series
from mechicl.system.surroundings import reading

__all__ = ["remove_directions"]

RANDOM = 20  # sets of random directions


def without_directions(params: Params, basis: np.ndarray, layer: int) -> Params:
    """The weights (plain, packed) whose layer's heads cannot write along the columns of `basis` [d, count]."""
    name = f"blocks.{layer}.attn.W_O"
    q = torch.from_numpy(np.linalg.qr(basis)[0]).to(params[name])
    return params | {name: params[name] - params[name] @ q @ q.T}


@reading()
@measure(
    "remove_directions", rows="step, evaluator, directions",
    value="the primary metric without directions of the residual stream that carry an answer",
    against="the row 'intact'",
)  # fmt: skip
def remove_directions(
    series: Series,
    steps: Iterable[int] | None = None,
    evaluators: Sequence[str] | None = None,
    variations: Sequence[str] = VARIATIONS,
    n: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """The tidy table of primary metrics, intact and without each variation's directions or random ones.

    `intervention` is 'without flip', ..., 'without random 0', ...; `baseline` how many directions went.
    """
    model, chosen = series.config.model, chosen_steps(series, steps)
    names = main(series.config) if evaluators is None else evaluators
    sets = {name: series.evaluation_set(name, n) for name in names}
    wanted = {name: (EVALUATORS[name].primary_metric,) for name in sets}
    count = max(1, model.d_model // 4)
    drawn = np.random.default_rng(0).standard_normal((RANDOM, model.d_model, count))

    def rows() -> Iterator[dict]:
        for step in one_by_one(chosen, "removal", progress):
            params = pack(series.weights(step))
            bases: dict[str, np.ndarray | None] = {"intact": None}
            bases |= {f"without {v}": carried(series, params, v, n, fold=1) for v in variations}
            bases |= {f"without random {i}": basis for i, basis in enumerate(drawn)}
            for name, basis in bases.items():
                cut = params if basis is None else without_directions(params, basis, model.n_layers - 1)
                named = {"step": step, "intervention": name, "baseline": "" if basis is None else f"{count} directions"}
                for row in scored_rows(cut, sets, wanted, model):
                    yield named | row

    settings = {
        "n": {name: len(batch) for name, batch in sets.items()}, "directions_n": n or series.config.n_eval,
        "variations": list(variations),
    }  # fmt: skip
    return cached(series, "removal", chosen, settings, lambda: tidy(series, rows()))
