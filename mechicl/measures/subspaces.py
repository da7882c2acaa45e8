"""Which directions of the residual stream carry ICL, and which carry in-weights answers.

What the last layer's heads (or its MLP) write at the query is compared between pairs of sequences
that differ in one thing only, so that all variation belonging to neither answer cancels:

Which exchanges there are is the task's (`Task.variations`, `TaskBatch.varied`). Of exemplars and labels these are
'flip', 'ciwl' and 'iwl' (tasks/exemplar_label/variations.py).

(Plain principal components of the output would mostly find what both share: which labels and
exemplars are in the context at all.) D [b, d] are these differences; the directions are the first
right singular vectors of D, uncentred since the sign of an exchange is arbitrary. There are a
quarter as many as the space has dimensions: d_model / 4 for all heads together or the MLP, d_head / 4 for
one head, which can write into d_head dimensions only (the columns of its W_O).

Two subspaces are compared by their principal angles (Bjorck & Golub 1973, `scipy.linalg.subspace_angles`):

    angle     their mean, degrees: 0 the same subspace, 90 orthogonal
    overlap   the mean squared cosine: the share of one that lies in the other
    variance  the share of |D|^2 in the directions (one subspace alone)

Controls: 'other half', the same variation on the other half of the sequences (the ceiling; it has
half as many sequences, so it can lie below what a comparison of full sets finds), and 'random', pairs of random
subspaces of the same dimensions (for one head, inside what its W_O can write).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from scipy.linalg import subspace_angles
from scipy.stats import t as student

from mechicl.config import ModelConfig
from mechicl.engine.forward import forward
from mechicl.errors import ConfigError
from mechicl.measures.asked import Names, Steps, chosen_names, chosen_steps
from mechicl.measures.door import measure
from mechicl.measures.parts import over_checkpoints
from mechicl.models.params import Params
from mechicl.protocol.batch import TaskBatch
from mechicl.series import Series
from mechicl.system.surroundings import reading

Writer = Literal["heads", "mlp"]
BLOCKS = 8  # of sequences: the jackknife leaves one out at a time, halves are every second
_DRAWS = 200  # random pairs of subspaces


def writes(params: Params, batch: TaskBatch, model: ModelConfig) -> torch.Tensor:
    """What each head of the last layer writes at the query, [s, h, b, d]. params: stacked on s."""
    name = f"blocks.{model.n_layers - 1}.attn"
    z = forward(params, batch, model, capture=[f"{name}.hook_z"]).acts[f"{name}.hook_z"]  # [s, 1, b, 1, h, k]
    w = params[f"{name}.W_O"].unflatten(1, (model.n_heads, -1))  # [s, h, k, d]
    return torch.einsum("sbhk,shkd->shbd", z[:, 0, :, -1], w)


def mlp_writes(params: Params, batch: TaskBatch, model: ModelConfig) -> torch.Tensor:
    """What the last layer's MLP writes at the query, [s, 1, b, d]. params: stacked on s."""
    name = f"blocks.{model.n_layers - 1}.hook_mlp_out"
    return forward(params, batch, model, capture=[name]).acts[name][..., -1, :]


def directions(squares: np.ndarray, count: int) -> np.ndarray:
    """The first right singular vectors [..., d, count] of D, given D^T D [..., d, d]."""
    vectors = torch.linalg.eigh(torch.from_numpy(np.ascontiguousarray(squares)))[1]  # numpy's waits for its threads
    return vectors.flip(-1)[..., :count].numpy()


def compare(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """angle (degrees) and overlap of the spans of the columns of a and b [d, count]."""
    angles = subspace_angles(a, b)
    return {"angle": float(np.degrees(angles).mean()), "overlap": float((np.cos(angles) ** 2).mean())}


@cache
def random_pairs(dimensions: int, count: int, draws: int = _DRAWS, seed: int = 0) -> pd.DataFrame:
    """`compare` of pairs of uniformly random subspaces: one row per draw."""
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((draws, 2, dimensions, count))
    return pd.DataFrame([compare(a, b) for a, b in drawn])


def block_squares(differences: torch.Tensor) -> np.ndarray:
    """D^T D of BLOCKS blocks of sequences (every BLOCKS-th): [..., b, d] -> [BLOCKS, ..., d, d]."""
    parts = [differences[..., i::BLOCKS, :].cpu().double() for i in range(BLOCKS)]
    return torch.stack([part.mT @ part for part in parts]).cpu().numpy()


@reading()
@measure(
    "subspaces",
    rows="step, layer, pair of variations",
    value="how much the directions that carry two answers overlap",
    against="random directions",
)
def subspaces(
    series: Series,
    steps: Steps = None,
    variations: Names = None,
    n: int | None = None,
    progress: bool = True,
    writer: Writer = "heads",
) -> pd.DataFrame:
    """The tidy table of angles, overlaps and variances per step, head and pair of variations.

    `evaluator` is the variation, `baseline` what it is compared with: another variation, 'other
    half' or 'random' ('' for the variance). layer and head are empty for all heads together, which
    have 95% intervals by a delete-a-block jackknife over sequences; those of 'random' are the middle
    95% of the draws. With writer 'mlp', the MLP's rows alone, as those of all heads together.

    Raises:
        ConfigError: writer 'mlp', and the last layer has none.
    """
    model, chosen = series.config.model, chosen_steps(series, steps)
    if writer == "mlp" and not model.has_mlp(model.n_layers - 1):
        raise ConfigError(f"{series.root}: the last layer has no MLP: expected writer='heads'.")
    variations = chosen_names(variations, series.task.variations(series.config))
    sets = {name: series.evaluation_set(name, n) for name in variations}
    pairs = {name: batch.varied(name) for name, batch in sets.items()}
    widest = max(len(batch) for batch, _ in pairs.values())
    size = 4.0 * widest * model.d_model * (series.task.n_tokens * 8 + 4 * model.n_heads)
    size += series.task.embedding_bytes(series.config.model, widest)
    drawn = {
        name: len(batch) for name, batch in sets.items()
    }  # each number gives other sequences, pairs as many or not
    return over_checkpoints(
        series,
        "subspaces",
        chosen,
        partial(_measured, pairs=pairs, writer=writer),
        {"variations": list(variations), "writer": writer, "drawn": drawn},
        bytes_per_step=size,
        progress=progress,
    )


def _measured(
    series: Series, steps: list[int], *, pairs: Mapping[str, tuple[TaskBatch, TaskBatch]], writer: Writer
) -> Iterator[dict[str, Any]]:
    params, model = series.params(steps), series.config.model
    squares = {name: _squares(params, pair, model, writer) for name, pair in pairs.items()}
    for i, step in enumerate(steps):
        at = {name: (x[:, i], len(pairs[name][0])) for name, x in squares.items()}
        for row in _rows(at, model):
            yield {"step": step, **row}


def _squares(
    params: Params, pair: tuple[TaskBatch, TaskBatch], model: ModelConfig, writer: Writer = "heads"
) -> np.ndarray:
    """[BLOCKS, s, 1 + h, d, d]: all heads together, then each; or [BLOCKS, s, 1, d, d]: the MLP."""
    if writer == "mlp":
        first, second = (mlp_writes(params, batch, model) for batch in pair)
        return block_squares(first - second)
    first, second = (writes(params, batch, model) for batch in pair)
    each = first - second
    return block_squares(torch.cat([each.sum(1, keepdim=True), each], 1))


def _rows(squares: Mapping[str, tuple[np.ndarray, int]], model: ModelConfig) -> Iterator[dict[str, Any]]:
    """Rows of one step; squares: variation -> ([BLOCKS, units, d, d], n)."""
    last, units = model.n_layers - 1, min(x.shape[1] for x, _ in squares.values())
    for unit in range(units):
        space = model.d_head if unit else model.d_model
        count = max(1, space // 4)
        named = {"layer": last, "head": unit - 1} if unit else {"layer": pd.NA, "head": pd.NA}
        whole, halves = {}, {}
        for name, (x, n) in squares.items():
            x = x[:, unit]
            total = x.sum(0)
            left_out = x[:0] if unit else total - x  # the jackknife, for all heads together
            whole[name] = directions(np.concatenate([total[None], left_out]), count)  # [1 or 1 + BLOCKS, d, count]
            halves[name] = directions(np.stack([x[::2].sum(0), x[1::2].sum(0)]), count)
            share = _share(total, whole[name][0])
            yield {**named, "evaluator": name, "metric": "variance", "value": share, "n": n}
        compared = [(a, b, whole[a], whole[b]) for a, b in combinations(squares, 2)]
        compared += [(a, "other half", h[:1], h[1:]) for a, h in halves.items()]
        for a, b, left, right in compared:
            n = min(squares[a][1], squares[b][1]) if b in squares else squares[a][1] // 2
            yield from _compared(named | {"evaluator": a, "baseline": b, "n": n}, left, right)
        drawn = random_pairs(space, count)
        for metric in drawn:
            low, high = drawn[metric].quantile([0.025, 0.975])
            yield {
                **named,
                "evaluator": "",
                "baseline": "random",
                "metric": metric,
                "n": _DRAWS,
                "value": float(drawn[metric].mean()),
                "ci_low": float(low),
                "ci_high": float(high),
            }


def _share(squares: np.ndarray, basis: np.ndarray) -> float:
    total = np.trace(squares)
    return float(np.trace(basis.T @ squares @ basis) / total) if total > 0 else float("nan")


def _compared(named: dict[str, Any], left: np.ndarray, right: np.ndarray) -> Iterator[dict[str, Any]]:
    """Rows of both metrics; left, right [1 or 1 + BLOCKS, d, count]: the whole set, then without each block."""
    found = [compare(a, b) for a, b in zip(left, right, strict=True)]
    for metric, value in found[0].items():
        without = np.array([x[metric] for x in found[1:]])
        half = np.nan
        if len(without):
            error = np.sqrt((len(without) - 1) / len(without) * ((without - without.mean()) ** 2).sum())
            half = student.ppf(0.975, len(without) - 1) * error
        most = {"angle": 90.0, "overlap": 1.0}[metric]
        low, high = np.clip([value - half, value + half], 0.0, most).tolist()
        yield {**named, "metric": metric, "value": value, "ci_low": low, "ci_high": high}


def carried(series: Series, params: Params, variation: str, n: int | None = None, split: int = 0) -> np.ndarray:
    """The directions [d, d_model / 4] of one variation in all that the last layer's heads write. params: plain."""
    pair = series.evaluation_set(variation, n, split).varied(variation)
    squares = _squares({name: w[None] for name, w in params.items()}, pair, series.config.model)
    return directions(squares[:, 0, 0].sum(0), max(1, series.config.model.d_model // 4))
