"""Circuits: sets of paths, and how much of an evaluator they carry.

With F the evaluator's metric, M the whole model, C the circuit and 0 the model with every path cut:

    faithfulness = (F(C alone) - F(0)) / (F(M) - F(0))       all other paths cut
    completeness = (F(M) - F(M without C)) / (F(M) - F(0))   the circuit's own paths cut

Both are 1 of a circuit that is all there is, and about as large of random circuits where many paths do the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mechicl.config import ModelConfig
from mechicl.errors import ConfigError
from mechicl.evaluators import EVALUATORS
from mechicl.interventions import CutPaths, every_path, intact
from mechicl.interventions.components import parse
from mechicl.interventions.cut_paths import PathKind, by_likeness
from mechicl.measures.ablation import scores_under
from mechicl.measures.asked import Names, Steps, chosen_sets
from mechicl.measures.door import measure
from mechicl.measures.parts import over_evaluators
from mechicl.measures.path_scores import DEEP, ROOM, Cutting, sequences_at_once
from mechicl.models.params import Params
from mechicl.protocol.batch import TaskBatch
from mechicl.registry import main
from mechicl.series import Series
from mechicl.statistics import mean_interval, ratio_interval
from mechicl.system.surroundings import reading

__all__ = ["circuit_of", "circuit_shares"]

RANDOM = 8  # circuits
THRESHOLD = 0.05
_SHARES = ("size", "share", "share_low", "share_high")


def circuit_of(table: pd.DataFrame, step: int, evaluator: str, threshold: float = THRESHOLD) -> tuple[str, ...]:
    """The paths whose effect on an evaluator is at least `threshold` in size, at one step.

    Args:
        table: the result of `path_effects`.
        threshold: in the unit of the evaluator's primary metric (accuracies are shares of 1), above 0.

    Raises:
        ConfigError: the table has no such step or evaluator; or the threshold is not above 0.

    Examples:
        >>> table = mechicl.measures.path_effects(series, [3000], ["icl"], n=100, progress=False)
        >>> isinstance(mechicl.measures.circuit_of(table, 3000, "icl", 0.2), tuple)
        True
    """
    rows = table[(table.step == step) & (table.evaluator == evaluator)]
    if rows.empty:
        there = f"steps {sorted(set(table.step))[:10]} and evaluators {sorted(set(table.evaluator))}"
        raise ConfigError(f"step {step}, evaluator {evaluator!r}: the table of paths has {there}.")
    _check(threshold)
    primary = EVALUATORS[evaluator].primary_metric
    rows = rows[(rows.metric == primary) & (rows.effect.abs() >= threshold)]
    return tuple(rows.intervention)


def _check(threshold: float) -> None:
    if not threshold > 0:
        raise ConfigError(f"threshold={threshold}: expected an effect above 0, such as {THRESHOLD}.")


def random_circuits(circuit: Sequence[str], model: ModelConfig, count: int) -> list[tuple[str, ...]]:
    """Circuits with as many paths of each kind of component and each layer, drawn from all there are, those of the
    circuit too, from a fixed seed."""
    rng, of, every = np.random.default_rng(0), by_likeness(model), every_path(model)
    wanted = [parse(path).like for path in circuit]
    drawn = []
    for _ in range(count):
        found: set[str] = set()
        for like in dict.fromkeys(wanted):
            chosen = rng.choice(len(of[like]), wanted.count(like), replace=False)
            found |= {of[like][int(i)] for i in chosen}
        drawn.append(tuple(path for path in every if path in found))
    return drawn


def cuts(circuit: Sequence[str], model: ModelConfig) -> dict[str, tuple[str, ...]]:
    """What is cut to see what a circuit carries, by the name that tables have: nothing ('intact'), every path
    ('nothing' is left), all but the circuit ('circuit alone'), the circuit ('without circuit'), and so on of random
    circuits of its size ('random 0 alone', 'without random 0', ...)."""
    every = tuple(every_path(model))
    out: dict[str, tuple[str, ...]] = {"intact": (), "nothing": every}
    named = {"circuit": tuple(circuit)}
    named |= {f"random {j}": c for j, c in enumerate(random_circuits(circuit, model, RANDOM))}
    for what, chosen in named.items():
        out |= {f"{what} alone": tuple(p for p in every if p not in chosen), f"without {what}": chosen}
    return out


def share_kept(what: str, intact: np.ndarray, nothing: np.ndarray, found: np.ndarray) -> tuple[float, float, float]:
    """Faithfulness of what is alone, completeness of what is left out, with the 95% interval over sequences.

    Args:
        what: a name of `cuts`; intact, nothing, found: [b], the metric of each sequence of the model, of the model with
            every path cut, and under that cut.
    """
    m, zero, x = (each.astype(np.float64) for each in (intact, nothing, found))
    share, low, high = ratio_interval(x - zero if what.endswith("alone") else m - x, m - zero)
    return float(share), float(low), float(high)


@reading()
@measure(
    "circuit_shares",
    rows="step, evaluator, circuit (the circuit, random ones; alone and without it)",
    value="the primary metric; column `share`: faithfulness of a circuit alone, completeness without it",
    against="random circuits of the same size; 1",
)
def circuit_shares(
    series: Series,
    steps: Steps = None,
    evaluators: Names = None,
    paths: Sequence[str] | None = None,
    threshold: float = THRESHOLD,
    kind: PathKind = "zero",
    n: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Faithfulness and completeness of circuits over training, with random circuits of the same size as controls.

    Args:
        series: the run.
        steps: which checkpoints (default: all).
        evaluators: which evaluators (default: the main ones).
        paths: one circuit for all steps and evaluators (default: a separate circuit for each: the paths whose effect is
            at least `threshold` in size on other sequences than those reported, split 1).
        threshold: in the unit of the primary metric, above 0.
        kind: the replacement for what is cut, as in `path_effects`.
        n: sequences per evaluator.
        progress: show a bar over long series.

    Returns:
        Rows per step and evaluator: `intervention` is 'intact', 'nothing' (every path cut), 'circuit alone', 'without
        circuit', and 'random 0 alone', 'without random 0', ... `value` is the primary metric, with its interval; `size`
        the number of paths. `share` is the faithfulness in rows 'alone' and the completeness in rows 'without', with
        its 95% interval share_low, share_high over sequences. It is empty if the model is no better than with
        every path cut.

    Raises:
        ConfigError: there is no such path or evaluator, or the model has more than two layers and `paths` is not given.

    Examples:
        >>> table = mechicl.measures.circuit_shares(series, [3000], ["icl"], n=100, progress=False)
        >>> table.intervention[2:4].tolist()
        ['circuit alone', 'without circuit']
    """
    model = series.config.model
    _check(threshold)
    if paths is None and model.n_layers >= DEEP:
        raise ConfigError(
            f"{series.root}: with {model.n_layers} layers, not all paths are cut to find circuits: give paths=, such "
            "as "
            "circuit_of(path_effects(series, [step]), step, evaluator)."
        )
    like = CutPaths(paths=tuple(paths or ()), kind=kind)
    like.check(model)
    sets = chosen_sets(series, evaluators, main(series.config), n)
    others = {name: series.evaluation_set(name, n, 1) for name in sets} if paths is None else {}
    return over_evaluators(
        series,
        "circuits",
        steps,
        sets,
        partial(_measured, model=model, like=like, others=others, threshold=threshold),
        ROOM + series.task.embedding_bytes(series.config.model, max(map(len, sets.values()))),
        {"kind": kind, "paths": None if paths is None else list(like.paths), "threshold": threshold},
        singly=True,
        extra=_SHARES,
        progress=progress,
    )


def _measured(
    steps: list[int],
    params: Params,
    name: str,
    batch: TaskBatch,
    *,
    model: ModelConfig,
    like: CutPaths,
    others: dict[str, TaskBatch],
    threshold: float,
) -> Iterator[dict[str, Any]]:
    every, metric = tuple(every_path(model)), EVALUATORS[name].primary_metric
    for i, step in enumerate(steps):
        one = {key: p[i] for key, p in params.items()}
        circuit = like.paths
        if name in others:
            before, after = Cutting(one, others[name], model, like, (metric,)).scores(every)
            effect = after[metric].double().mean(-1) - before[metric].double().mean(-1)
            circuit = tuple(path for path, x in zip(every, effect.tolist(), strict=True) if abs(x) >= threshold)
        cut = cuts(circuit, model)
        conditions = [CutPaths(paths=paths, kind=like.kind) for paths in cut.values()]
        on = intact(one, batch, model, conditions)
        rows = sequences_at_once(len(conditions) * model.n_heads, batch, model)  # each head reads for itself
        found = scores_under(conditions, on, (metric,), rows)[metric][0].cpu().numpy()  # [condition, b]
        value, low, high = mean_interval(found, metric)
        for j, what in enumerate(cut):
            row = {"step": step, "evaluator": name, "metric": metric, "intervention": what, "baseline": like.baseline}
            row |= {"value": float(value[j]), "ci_low": float(low[j]), "ci_high": float(high[j]), "n": len(batch)}
            if j > 1:
                shares = share_kept(what, found[0], found[1], found[j])
                row |= {"size": float(len(circuit))} | dict(zip(_SHARES[1:], shares, strict=True))
            yield row
