"""Evaluators: fixed sets of sequences, each with an exact metric (science.md 1.6, 1.7).

An evaluator is a sampler setting over one part of the bank, drawn once from `seeds.eval`.
Per sequence, with z the logits at the query, y the target, S the context's labels, V all:

    in_context_acc = 1[argmax_{v in S} z_v = y]     0 by construction where y is not in S
    acc            = 1[argmax_{v in V} z_v = y]
    loss           = -log softmax_V(z)[y]

    name         context                             labels               right answer needs
    train        as in training                      canonical            either
    icl          query's class and one other, C/2    {0, 1}, random       ICL
    flip         as icl                              the two swapped      ICL; 0 = in-weights
    ciwl         C other classes                     one overwritten by   in-weights, among the
                                                     the query's          context's labels
    iwl          C other classes                     canonical            in-weights recall
    icl_holdout  as icl, classes never trained on    {0, 1}, random       ICL

Where classes share labels, the classes of one evaluation context have distinct labels.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Callable

import numpy as np
import torch
from torch import Tensor

from mechicl.config import Config, ConfigError, SequenceConfig
from mechicl.data.banks import Bank, Batch
from mechicl.engine.forward import forward, label_logits, logits
from mechicl.engine.params import Params

METRICS = ("in_context_acc", "acc", "loss")


@dataclass(frozen=True)
class Evaluator:
    """How an evaluation set is drawn, and which metric is its headline."""

    name: str
    sequences: Callable[[SequenceConfig], SequenceConfig]
    part: Callable[[Bank], Bank]
    headline: str = "in_context_acc"


def _two_classes(labels: str) -> Callable[[SequenceConfig], SequenceConfig]:
    def setting(trained: SequenceConfig) -> SequenceConfig:
        if trained.n_pairs % 2:
            raise ConfigError(
                f"sequences.n_pairs={trained.n_pairs}: the icl and flip evaluators fill the context "
                "with two classes, n_pairs/2 each, so n_pairs must be even."
            )
        return _evaluation(trained, burstiness=trained.n_pairs // 2, labels=labels)

    return setting


def _no_support(copy_query_label: bool) -> Callable[[SequenceConfig], SequenceConfig]:
    return lambda trained: _evaluation(
        trained, burstiness=0, rest="unique", copy_query_label=copy_query_label
    )


def _evaluation(trained: SequenceConfig, **changes) -> SequenceConfig:
    """Everything fixed but context length, exemplar rule and noise, which are the task's."""
    return SequenceConfig(
        n_pairs=trained.n_pairs, exemplars=trained.exemplars, noise=trained.noise,
        distinct_labels=True, **changes,
    )  # fmt: skip


EVALUATORS: dict[str, Evaluator] = {
    e.name: e
    for e in (
        Evaluator("train", lambda trained: replace(trained, distinct_labels=True), Bank.train),
        Evaluator("icl", _two_classes("binary"), Bank.train),
        Evaluator("flip", _two_classes("swapped"), Bank.train),
        Evaluator("ciwl", _no_support(True), Bank.train),
        Evaluator("iwl", _no_support(False), Bank.train, headline="acc"),
        Evaluator("icl_holdout", _two_classes("binary"), Bank.holdout_classes),
    )
}


def evaluation_set(name: str, config: Config, bank: Bank, n: int | None = None) -> Batch:
    """The fixed sequences of one evaluator: the same for every checkpoint of a run.

    Args:
        name: one of EVALUATORS.
        bank: the run's whole bank.
        n: how many sequences (default `config.n_eval`); each n is a set of its own.
    """
    if name not in EVALUATORS:
        raise ConfigError(f"no evaluator named {name!r}; there are {', '.join(EVALUATORS)}.")
    evaluator = EVALUATORS[name]
    part = evaluator.part(bank)
    if part.n_classes < 2:
        raise ConfigError(f"evaluator {name!r} needs at least 2 classes in its part of the bank, "
                          f"which has {part.n_classes}: raise bank.n_holdout_classes.")
    rng = np.random.default_rng([config.seeds.eval, zlib.crc32(name.encode())])
    return part.draw(evaluator.sequences(config.sequences), n or config.n_eval, rng, config.bank.labels)


def evaluation_sets(config: Config, bank: Bank, n: int | None = None) -> dict[str, Batch]:
    """Every evaluator's set; `icl_holdout` only where the bank holds classes out."""
    names = [k for k in EVALUATORS if k != "icl_holdout" or config.bank.n_holdout_classes >= 2]
    return {name: evaluation_set(name, config, bank, n) for name in names}


def chance(name: str, batch: Batch, n_labels: int) -> dict[str, float]:
    """What guessing scores, computed from the set itself: uniformly among the context's
    distinct labels for in_context_acc, among all labels for acc; loss of a uniform guess."""
    in_context = [
        (len(set(row)) and (y in row) / len(set(row)))
        for row, y in zip(batch.labels.tolist(), batch.target.tolist(), strict=True)
    ]
    return {
        "in_context_acc": float(np.mean(in_context)),
        "acc": 1 / n_labels,
        "loss": float(np.log(n_labels)),
    }


def in_context_correct(scores: Tensor, batch: Batch) -> Tensor:
    """in_context_acc per sequence. scores [*lead, b, C] are the logits of batch.labels;
    returns bool [*lead, b]."""
    best = scores.argmax(-1, keepdim=True)
    chosen = batch.labels.expand(*scores.shape[:-1], -1).gather(-1, best).squeeze(-1)
    return chosen == batch.target


def per_sequence(params: Params, batch: Batch, config: Config, full: bool = True) -> dict[str, Tensor]:
    """Every metric of every sequence, [*lead, b]. `full` False skips what needs all labels."""
    final = forward(params, batch, config.model).final
    return score_final(params, final, batch, full)


def score_final(params: Params, final: Tensor, batch: Batch, full: bool = True) -> dict[str, Tensor]:
    """As `per_sequence`, from the final residual stream at the query [*lead, b, d]."""
    out = {"in_context_acc": in_context_correct(label_logits(params, final, batch.labels), batch)}
    if full:
        z = logits(params, final)
        target = batch.target.expand(z.shape[:-1]).unsqueeze(-1)
        out["acc"] = z.argmax(-1) == batch.target
        out["loss"] = z.logsumexp(-1) - z.gather(-1, target).squeeze(-1)
    return out


def mean_interval(values: Tensor | np.ndarray, metric: str) -> tuple[float, float, float]:
    """Mean and 95% interval over sequences: Wilson for the accuracies, normal for the loss."""
    x = np.asarray(values, dtype=np.float64)
    n, mean = len(x), float(x.mean())
    z = 1.959963984540054
    if metric == "loss":
        half = z * float(x.std(ddof=1)) / np.sqrt(n) if n > 1 else float("nan")
        return mean, mean - half, mean + half
    centre = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
    return mean, max(0.0, centre - half), min(1.0, centre + half)


@torch.inference_mode()
def evaluate_params(params: Params, sets: dict[str, Batch], config: Config) -> list[dict]:
    """Rows `evaluator, metric, value, n, ci_low, ci_high` for one checkpoint."""
    rows = []
    for name, batch in sets.items():
        for metric, values in per_sequence(params, batch, config).items():
            value, low, high = mean_interval(values, metric)
            rows.append({"evaluator": name, "metric": metric, "value": value, "n": len(batch),
                         "ci_low": low, "ci_high": high})  # fmt: skip
    return rows
