"""How strongly a head's output is read by another head, from the weights alone (composition scores).

    score = |W_O W|_F / (|W_O|_F |W|_F)     W: the later head's W_Q, W_K or W_V

(Elhage et al. 2021; as in Singh et al. 2024, docs/references.md#singh-2024-measures: raw weights, no LayerNorm folded
in.)
Two random matrices do not score 0 but about 1 / sqrt(d_model): compare with other pairs of heads, or with random
matrices that have the same singular values, in random directions (`random_scores`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mechicl.errors import ConfigError
from mechicl.interventions.components import Component, Path
from mechicl.measures.asked import Steps, chosen_steps
from mechicl.measures.door import measure
from mechicl.measures.parts import over_checkpoints
from mechicl.models.params import Params
from mechicl.series import Series
from mechicl.system.surroundings import reading

__all__ = ["composition_scores", "path_composition"]

DRAWS = 200  # of random matrices
_THROUGH: tuple[Literal["Q", "K", "V"], ...] = ("Q", "K", "V")
_RANDOM = ("random", "random_low", "random_high")


def composition_scores(weights: Params, through: Literal["Q", "K", "V"], layers: tuple[int, int] = (0, 1)) -> Tensor:
    """Scores of all pairs of heads of two layers, [heads of the earlier, heads of the later], 0 to 1.

    Args:
        weights: in TransformerLens' shapes, as `series.weights(step)`.
        through: which of the later head's matrices reads.
        layers: the earlier and the later layer.

    Raises:
        ConfigError: there is no such matrix, or no such layers.
    """
    early, late = layers
    names = f"blocks.{early}.attn.W_O", f"blocks.{late}.attn.W_{through}"
    if through not in ("Q", "K", "V") or not early < late or not all(name in weights for name in names):
        raise ConfigError(
            f"through={through!r}, layers={layers!r}: expected 'Q', 'K' or 'V', and an earlier and a "
            "later layer of the model."
        )
    writes, reads = weights[names[0]].double()[:, None], weights[names[1]].double()[None]  # [h, 1, k, d], [1, h, d, k]
    return (writes @ reads).norm(dim=(-2, -1)) / (writes.norm(dim=(-2, -1)) * reads.norm(dim=(-2, -1)))


def random_scores(
    weights: Params, through: Literal["Q", "K", "V"], layers: tuple[int, int] = (0, 1), draws: int = DRAWS
) -> Tensor:
    """Scores of the same pairs where each head writes in random directions: its W_O has the same singular values, and
    its right singular vectors are drawn from a fixed seed.

    Returns:
        [draw, heads of the earlier, heads of the later].
    """
    write = torch.linalg.svdvals(weights[f"blocks.{layers[0]}.attn.W_O"].double()).square()  # [h, k]
    reads = weights[f"blocks.{layers[1]}.attn.W_{through}"].double()
    read = torch.linalg.svdvals(reads).square()
    k, d = write.shape[-1], reads.shape[-2]
    drawn = torch.from_numpy(np.random.default_rng(0).standard_normal((draws, d, k)))
    overlap = torch.linalg.qr(drawn)[0][:, : read.shape[-1]].square().to(write)  # [draw, of the reader, of the writer]
    total = write.sum(-1)[:, None] * read.sum(-1)
    return (torch.einsum("ai,nji,bj->nab", write, overlap, read) / total).sqrt()


@reading()
@measure(
    "path_composition",
    rows="step, path from head to head",
    value="composition score of the weights",
    against="columns `random`, `random_low`, `random_high`: random matrices of the same singular values",
)
def path_composition(series: Series, steps: Steps = None, progress: bool = True) -> pd.DataFrame:
    """Composition scores: how strongly a later head's queries, keys or values read each head's output, from the
    weights.

    Args:
        series: the run.
        steps: which checkpoints (default: all).
        progress: show a bar over long series.

    Returns:
        One row per step and path from head to head, with the path's name in `path_effects` (`intervention`, such as
        'L0H5->L1H3.k') and the score in `value`. `random` is the mean score of DRAWS random matrices with the same
        singular values, and `random_low` and `random_high` are the range of their middle 95%. n is DRAWS.

    Raises:
        SeriesError: a step was not saved.
        ConfigError: there is one layer only.

    Examples:
        >>> table = mechicl.measures.path_composition(series, [3000])
        >>> len(table)  # 8 heads x 8 heads x 3 parts
        192
    """
    if series.config.model.n_layers < 2:
        raise ConfigError(f"{series.root}: the model has one layer, so no head reads another head.")
    chosen = chosen_steps(series, steps)
    size = 8.0 * DRAWS * series.config.model.n_heads**2
    return over_checkpoints(
        series,
        "composition",
        chosen,
        _composed,
        {"draws": DRAWS},
        bytes_per_step=size,
        extra=_RANDOM,
        progress=progress,
    )


def _composed(series: Series, steps: list[int]) -> Iterator[dict[str, Any]]:
    layers = range(series.config.model.n_layers)
    for step in steps:
        weights = {name: w.cpu() for name, w in series.weights(step).items() if ".attn.W_" in name}
        for early, late in combinations(layers, 2):
            for through in _THROUGH:
                score = composition_scores(weights, through, (early, late))
                random = random_scores(weights, through, (early, late))
                mean, (low, high) = random.mean(0), torch.quantile(random, random.new_tensor([0.025, 0.975]), 0)
                for a, b in np.ndindex(*score.shape):
                    path = Path(Component("head", early, a), Component("head", late, b, through.lower()))
                    row = {"step": step, "metric": "composition", "intervention": str(path), "n": DRAWS}
                    found = (score, mean, low, high)
                    yield row | {name: float(x[a, b]) for name, x in zip(("value", *_RANDOM), found, strict=True)}
