"""What is lost without a layer's MLP: where recall is kept, and whether ICL needs it.

Singh et al. 2023 (section 6) found that a penalty on the MLPs alone keeps ICL, as if in-weights
learning lived there. The test is to take the MLP's output away and see which answers go with it:

    zero   nothing is added to the residual stream
    mean   its mean over the evaluation set, per position: what it adds to every sequence alike stays
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

import pandas as pd
from torch import Tensor

from mechicl.config import ConfigError
from mechicl.data.banks import Batch
from mechicl.engine.forward import Edit, forward
from mechicl.engine.params import Params, pack
from mechicl.evaluators import EVALUATORS, metric_rows, score
from mechicl.interventions import BASELINES
from mechicl.measures.cache import cached
from mechicl.measures.tables import chosen_steps, one_by_one, tidy
from mechicl.registry import main
from mechicl.series import Series
from mechicl.surroundings import reading

KINDS = ("zero", "mean")


@reading()
def ablate_mlps(
    series: Series,
    steps: Iterable[int] | None = None,
    evaluators: Sequence[str] | None = None,
    n: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """The tidy table of headlines, intact and without the MLP of each layer that has one.

    `intervention` is 'zero L1 MLP' or 'mean L1 MLP', `layer` the MLP's, `baseline` what takes its place.

    Raises:
        ConfigError: the model has no MLP.
    """
    model, chosen = series.config.model, chosen_steps(series, steps)
    layers = [la for la in range(model.n_layers) if model.has_mlp(la)]
    if not layers:
        raise ConfigError(f"{series.root}: the model has no MLP (mlp_ratio = 0), so that none can be taken out.")
    names = main(series.config) if evaluators is None else evaluators
    sets = {name: series.evaluation_set(name, n) for name in names}
    hooks = {la: f"blocks.{la}.hook_mlp_out" for la in layers}

    def measure(params: Params, name: str, batch: Batch) -> Iterator[dict]:
        def scored(final: Tensor) -> list[dict]:
            return metric_rows(name, score(params, final, batch, (EVALUATORS[name].headline,)))

        intact = forward(params, batch, model, capture=hooks.values())
        yield from ({"intervention": "intact"} | row for row in scored(intact.final))
        for (layer, hook), kind in product(hooks.items(), KINDS):
            put = intact.acts[hook].mean(0, keepdim=True) if kind == "mean" else 0.0
            final = forward(params, batch, model, edits={hook: Edit(0.0, put)}).final
            named = {"intervention": f"{kind} L{layer} MLP", "layer": layer, "baseline": BASELINES[kind]}
            yield from (named | row for row in scored(final))

    def rows() -> Iterator[dict]:
        for step in one_by_one(chosen, "MLPs", progress):
            params = pack(series.weights(step))
            for name, batch in sets.items():
                yield from ({"step": step} | row for row in measure(params, name, batch))

    settings = {"n": {name: len(batch) for name, batch in sets.items()}}
    return cached(series, "mlps", chosen, settings, lambda: tidy(series, rows()))
