"""Evaluators: fixed sets of sequences, each with an exact metric (science.md 1.6, 1.7).

An evaluator is a sampler setting over one part of the bank, drawn once from `seeds.eval`.
Per sequence, with z the logits at the query, y the target, S the context's labels, V all:

    in_context_acc = 1[argmax_{v in S} z_v = y]     0 by construction where y is not in S
    acc            = 1[argmax_{v in V} z_v = y]
    loss           = -log softmax_V(z)[y]

and, where asked for by name (ALL_METRICS),

    in_context_prob = softmax_S(z)[y]           0 where y is not in S
    in_context_loss = -log in_context_prob      not a number where y is not in S

    name         context                             labels               right answer needs
    train        as in training                      canonical            either
    icl          query's class and one other, C/2    {0, 1}, random       ICL
    flip         as icl                              the two swapped      ICL; 0 = in-weights
    ciwl         C other classes                     one overwritten by   in-weights, among the
                                                     the query's          context's labels
    iwl          C other classes                     canonical            in-weights recall
    icl_holdout  as icl, classes never trained on    {0, 1}, random       ICL

Where few labels are dealt out anew in every sequence (Singh et al. 2024, science.md 4.1), a class has no label of its
own, and a run records others beside `train`, of which acc, over all labels, is the primary metric:

    holdout_pairs      as in training    pairs of labels never trained on together    ICL (published: fsl_val_rl)
    holdout_classes    classes never trained on          as in training               ICL (fsl_test_class)
    holdout_exemplars  new exemplars of trained classes  as in training               ICL (fsl_train_valex)

`registry.py` has each one's entry, and says to which runs it applies.
Where classes share labels, the classes of one evaluation context have distinct labels. Exemplars are drawn
with replacement whatever the training data does (in `train` as in training), unless `Config.eval_exemplars` is
'as_training': where items of a class show the identical exemplar, ICL and Flip ask for no generalisation.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mechicl.config import Config, ConfigError
from mechicl.data.banks import Bank, Batch
from mechicl.data.sequences import check
from mechicl.data.treated import relabels
from mechicl.engine.copied import label_scores, score_copied, scores_hook
from mechicl.engine.forward import forward, label_logits
from mechicl.engine.ops import compiled, linear, matmul_arrays
from mechicl.engine.params import Params
from mechicl.engine.share import share_each
from mechicl.engine.treated import edits, layer_treatments, reading_head
from mechicl.loading import whole
from mechicl.registry import EVALUATORS as EVALUATORS
from mechicl.registry import Evaluator as Evaluator
from mechicl.registry import applying as applying
from mechicl.surroundings import reading
from mechicl.treatments import Treatment

METRICS = ("in_context_acc", "acc", "loss")  # recorded in training
ALL_METRICS = (*METRICS, "in_context_prob", "in_context_loss")
_NUMBERS = ("loss", "in_context_prob", "in_context_loss")  # all others are right or wrong
_Z = 1.959963984540054  # the normal distribution's 97.5% point
_BLOCK = 256  # rows scored over the full vocabulary at once


def evaluation_set(name: str, config: Config, bank: Bank, n: int | None = None, fold: int = 0) -> Batch:
    """The fixed sequences of one evaluator: the same for every checkpoint of a run.

    Args:
        name: one of EVALUATORS.
        bank: the run's whole bank.
        n: how many sequences (default `config.n_eval`); each n is a set of its own.
        fold: 0 is the set that is reported; others are independent of it, to select on.
    """
    if not isinstance(name, str) or name not in EVALUATORS:
        raise ConfigError(f"no evaluator named {name!r}; there are {', '.join(EVALUATORS)}.")
    if relabels(config) and not bank.map_known:
        raise ConfigError("the labels of this run's classes change during training, so its evaluation sets do, too: "
                          "say of which step, as in series.evaluation_set(name, step=1000).")  # fmt: skip
    evaluator = EVALUATORS[name]
    if not evaluator.applies(config):
        raise ConfigError(f"evaluator {name!r} does not apply to this run: it needs {evaluator.needs}. The run has "
                          f"{', '.join(applying(config))}.")  # fmt: skip
    part, setting = evaluator.part(bank), evaluator.sequences(config.sequences)
    if config.eval_first is not None:
        part = part.first(*config.eval_first)
    if config.eval_exemplars == "as_training":
        setting = replace(setting, exemplars=config.sequences.exemplars)
    if part.n_classes < 2:
        raise ConfigError(f"evaluator {name!r} needs at least 2 classes in its part of the bank, "
                          f"which has {part.n_classes}: raise bank.n_holdout_classes.")
    try:
        check(
            setting, n_classes=part.n_classes, n_exemplars=part.n_exemplars,
            n_labels=config.bank.labels if setting.labels == "random" else len(np.unique(part.label_of_class)),
        )  # fmt: skip
    except ConfigError as error:
        raise ConfigError(f"evaluator {name!r}: {error}") from None
    size = config.n_eval if n is None else whole("n", n, "a number of sequences")
    if size < 1 or whole("fold", fold) < 0:
        raise ConfigError(f"n={n}, fold={fold}: expected at least one sequence, and folds counted from 0.")
    rng = np.random.default_rng([config.seeds.eval, zlib.crc32(name.encode()), fold])
    return part.draw(setting, size, rng, config.bank.labels)


def evaluation_sets(config: Config, bank: Bank, n: int | None = None) -> dict[str, Batch]:
    """The set of every evaluator that applies to the run."""
    return {name: evaluation_set(name, config, bank, n) for name in applying(config)}


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


def in_context_loss(scores: Tensor, batch: Batch) -> Tensor:
    """-log of the answer's share of softmax over the context's distinct labels, per sequence; not a number where
    the context does not show the answer. scores [*lead, b, C] are the logits of batch.labels; returns [*lead, b]."""
    same = batch.labels[:, :, None] == batch.labels[:, None, :]  # [b, C, C]
    first = ~same.tril(-1).any(-1)  # of the slots that show one label, the first stands for it
    logp = scores.masked_fill(~first, -torch.inf).log_softmax(-1)
    right = (batch.labels == batch.target[:, None]) & first
    return torch.where(right.any(-1), -logp.masked_fill(~right, 0.0).sum(-1), torch.nan)


def score(
    params: Params, final: Tensor, batch: Batch, metrics: Iterable[str] = METRICS
) -> dict[str, Tensor]:
    """Metrics of every sequence, from the final residual stream at the query.

    Args:
        final: [*lead, b, d] (`engine.forward`).
        metrics: which of ALL_METRICS; those of the context never touch the full vocabulary.

    Returns:
        metric -> [*lead, b].

    Raises:
        ConfigError: there is no such metric.
    """
    wanted = tuple(metrics)
    if unknown := [name for name in wanted if name not in ALL_METRICS]:
        raise ConfigError(f"metric {unknown[0]!r}: expected one of {', '.join(ALL_METRICS)}.")
    out, shown = {}, None
    if any(name.startswith("in_context") for name in wanted):
        shown = label_logits(params, final, batch.labels)
        if "in_context_acc" in wanted:
            out["in_context_acc"] = in_context_correct(shown, batch)
        if "in_context_prob" in wanted or "in_context_loss" in wanted:
            loss = in_context_loss(shown, batch)
            if "in_context_prob" in wanted:
                shows = (batch.labels == batch.target[:, None]).any(-1)
                out["in_context_prob"] = torch.where(shows, (-loss).exp(), 0.0)
            if "in_context_loss" in wanted:
                out["in_context_loss"] = loss
    if "acc" in wanted or "loss" in wanted:
        w, bias = params["unembed.W_U"], params["unembed.b_U"]
        parts = [(final, w, bias)] if w.dim() == 2 else list(zip(final, w, bias, strict=True))
        scored = [_score_all_labels(*part, batch.target, "loss" in wanted) for part in parts]
        acc, loss = zip(*scored, strict=True)
        shape = final.shape[:-1]
        if "acc" in wanted:
            out["acc"] = torch.stack(acc).view(shape)
        if "loss" in wanted:
            out["loss"] = torch.stack(loss).view(shape)
    return out


def _score_all_labels(final: Tensor, w: Tensor, bias: Tensor, target: Tensor, with_loss: bool):
    """acc and loss over all labels, [rows]: in blocks that stay in the caches."""
    from mechicl.engine.head import score_rows

    rows = final.reshape(-1, final.shape[-1])
    answers = target.expand(final.shape[:-1]).reshape(-1)
    acc, loss = torch.empty(len(rows), dtype=torch.bool), rows.new_empty(len(rows))
    blocks = [slice(i, i + _BLOCK) for i in range(0, len(rows), _BLOCK)]
    if not compiled(rows, w):
        for block in blocks:
            z = linear(rows[block], w, bias)
            acc[block] = z.argmax(-1) == answers[block]
            if with_loss:
                loss[block] = F.cross_entropy(z, answers[block], reduction="none")
        return acc, loss
    x, wanted, right, lost = (each.numpy() for each in (rows, answers, acc, loss))
    kernel, table, added = score_rows(x.dtype == np.float64, with_loss), w[None].numpy(), bias.numpy()
    held = np.empty((1, min(_BLOCK, len(x)), w.shape[-1]), x.dtype)  # fresh memory would cost as much as filling it
    for block in blocks:
        z = matmul_arrays(x[None, block], table, held[:, : len(x[block])])[0]
        kernel(z, added, wanted[block], right[block], lost[block])
    return acc, loss


def normal_interval(values: Tensor | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and normal 95% interval over the last axis; NaN bounds for a single value."""
    x = np.asarray(values, dtype=np.float64)
    n, mean = x.shape[-1], x.mean(-1)
    half = _Z * x.std(-1, ddof=1) / np.sqrt(n) if n > 1 else np.full_like(mean, np.nan)
    return mean, mean - half, mean + half


def mean_interval(values: Tensor | np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and 95% interval over the last axis: Wilson for accuracies, normal for losses and probabilities."""
    if metric in _NUMBERS:
        return normal_interval(values)
    x = np.asarray(values, dtype=np.float64)
    n, mean, z = x.shape[-1], x.mean(-1), _Z
    centre = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
    return mean, np.clip(centre - half, 0.0, mean), np.clip(centre + half, mean, 1.0)


def paired_interval(
    before: Tensor | np.ndarray, after: Tensor | np.ndarray, metric: str = "acc"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of after - before over the last axis, the same sequences in both, and its 95% interval.

    Of accuracies (bool) it is Agresti and Min's (2005): half a sequence is added to each way two answers can
    fall, so that a change that met none of n sequences does not look certain to be 0. Of losses and probabilities,
    the normal one.
    """
    x, y = np.asarray(before), np.asarray(after)
    if metric in _NUMBERS:
        return normal_interval(y.astype(np.float64) - x)
    n = np.broadcast_shapes(x.shape, y.shape)[-1]
    won, lost = (y & ~x).sum(-1), (x & ~y).sum(-1)
    value, centre = (won - lost) / n, (won - lost) / (n + 2)
    half = _Z * np.sqrt(won + lost + 1 - (won - lost) ** 2 / (n + 2)) / (n + 2)
    return value, np.minimum(value, centre - half), np.maximum(value, centre + half)


@reading()
def evaluate_params(
    params: Params, sets: dict[str, Batch], config: Config, treatments: tuple[Treatment, ...] = ()
) -> list[dict]:
    """Rows `evaluator, metric, value, n, ci_low, ci_high` for one checkpoint (plain params), its
    heads under these treatments."""
    treated = layer_treatments(treatments, config.model, config.sequences.n_tokens)
    reads = reading_head(treated)
    asked = [] if reads is None else [scores_hook(config.model)]

    def measure(batch: Batch) -> dict[str, Tensor]:
        out = forward(params, batch, config.model, edits=edits(treated, config.model, batch), capture=asked)
        if reads is None:
            return score(params, out.final, batch)
        return score_copied(label_scores(out.acts, config.model, reads), batch, METRICS)

    logits = sum(map(len, sets.values())) * params["unembed.b_U"].shape[-1]
    scored = zip(sets, share_each(measure, sets.values(), logits), strict=True)
    return [row for name, values in scored for row in metric_rows(name, values)]


def metric_rows(evaluator: str, scored: dict[str, Tensor]) -> list[dict]:
    """Rows `evaluator, metric, value, n, ci_low, ci_high` of one set's metrics, each [b] (`score`)."""
    rows = []
    for metric, values in scored.items():
        value, low, high = map(float, mean_interval(values, metric))
        rows.append({"evaluator": evaluator, "metric": metric, "value": value, "n": len(values),
                     "ci_low": low, "ci_high": high})  # fmt: skip
    return rows
