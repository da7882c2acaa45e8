"""What is done to a bank's exemplars after they are made: spread, centre, scale. And what they are like then.

Scale and centring are part of a setting. They decide how large an exemplar's embedding is beside positions and labels
when training starts, and with Adam at a small constant rate nothing makes up for it later.

Legend: c class, e exemplar, d features.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from mechicl.tasks.exemplar_label.settings import BankConfig

_SAMPLE = 8192  # exemplars from which principal axes are estimated


@dataclass(frozen=True)
class Geometry:
    """Of a bank's training exemplars.

    norm: root mean square. mean_norm: norm of their common mean. within_over_between: spread around a class's mean over
    the spread of class means. participation_ratio: how many axes of equal variance would be as concentrated,
    (sum v)^2 / sum v^2 over the eigenvalues v of the covariance of at most 8,192 exemplars.
    """

    norm: float
    mean_norm: float
    within_over_between: float
    participation_ratio: float

    def to_dict(self) -> dict[str, float]:
        return {name: round(value, 6) for name, value in asdict(self).items()}


def shape(config: BankConfig, exemplars: np.ndarray) -> np.ndarray:
    """Exemplars [c, e, d], training part first on both axes, as the bank's settings want them: first `spread`, then
    `centre`, then `scale`, each measured on the training part. The array itself where nothing is asked for."""
    if config.spread == 1 and not config.centre and config.scale is None:
        return exemplars
    x = np.array(exemplars, dtype=np.float32)
    trained = x[: config.n_classes, : config.n_exemplars]  # a view: what follows is done to it, too
    if config.spread != 1:
        means = x[:, : config.n_exemplars].mean(1, keepdims=True)
        x -= means
        x *= np.float32(config.spread)
        x += means
    if config.centre:
        x -= trained.mean((0, 1), dtype=np.float64).astype(np.float32)
    if config.scale is not None:
        x *= np.float32(config.scale / norm(trained))
    return x


def norm(exemplars: np.ndarray) -> float:
    """Root mean square norm of exemplars [c, e, d]."""
    squares = [np.square(part, dtype=np.float64).sum(-1).mean() * len(part) for part in _parts(exemplars)]
    return float(np.sqrt(sum(squares) / len(exemplars)))


def geometry(exemplars: np.ndarray) -> Geometry:
    """What training exemplars [c, e, d] are like."""
    classes, each, _ = exemplars.shape
    means = np.concatenate([part.mean(1, dtype=np.float64) for part in _parts(exemplars)])
    common = means.mean(0)
    whole = norm(exemplars)
    around = whole**2 - np.square(means).sum(-1).mean()  # mean square distance from the own class's mean, biased
    within = around * each / (each - 1) if each > 1 else 0.0
    between = np.square(means - common).sum(-1).mean() - (within / each if each > 1 else 0.0)
    rows = np.random.default_rng(0).permutation(classes * each)[:_SAMPLE]
    sample = exemplars[rows // each, rows % each].astype(np.float64)
    sample -= sample.mean(0)
    values = np.linalg.eigvalsh(sample.T @ sample if sample.shape[0] > sample.shape[1] else sample @ sample.T)
    ratio = values.sum() ** 2 / np.square(values).sum() if values.any() else 0.0
    apart = np.sqrt(max(within, 0.0) / between) if between > 0 else float("inf")
    return Geometry(whole, float(np.linalg.norm(common)), float(apart), float(ratio))


def _parts(exemplars: np.ndarray):
    """A few hundred classes at a time as float32: a mapped file of half precision need not fit into memory twice."""
    for row in range(0, len(exemplars), 256):
        yield exemplars[row : row + 256].astype(np.float32)
