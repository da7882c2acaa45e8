"""Banks of Gaussian clusters."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mechicl.config import BankConfig
from mechicl.errors import ConfigError
from mechicl.tasks.exemplar_label.banks.bank import Bank, assign_labels

_BANK = 0  # a stream of the data seed


def gaussian_bank(config: BankConfig, seed: int, data: str | Path | None = None) -> Bank:
    """Gaussian clusters: x = (mu + s*eta)/sqrt(1 + s^2) with s = within_class_std, mu and eta ~ N(0, 1/dim) per
    coordinate (Reddy 2023, 2312.03002), so that |x| is about 1 whatever the dimension.

    With a `spectrum` the coordinates' variances fall as a power law and still sum to 1: features
    that are correlated, as those of images are, seen along their principal axes. `offset` adds one vector of
    that norm, in a random direction, to every exemplar: a common mean, as a network's features have after a ReLU."""
    if config.kind != "gaussian":
        raise ConfigError(f"gaussian_bank was given a bank of kind {config.kind!r}.")
    rng = np.random.default_rng([seed, _BANK])
    classes = config.n_classes + config.n_holdout_classes
    exemplars = config.n_exemplars + config.n_holdout_exemplars
    scale = np.sqrt(variances(config)).astype(np.float32)
    mu = rng.standard_normal((classes, 1, config.dim), dtype=np.float32) * scale
    eta = rng.standard_normal((classes, exemplars, config.dim), dtype=np.float32) * scale
    s = config.within_class_std
    x = (mu + np.float32(s) * eta) / np.float32(np.sqrt(1 + s**2))
    if config.offset:
        common = rng.standard_normal(config.dim)
        x += (config.offset * common / np.linalg.norm(common)).astype(np.float32)
    return Bank(x, assign_labels(config, classes, seed), config.n_classes, config.n_exemplars)


def variances(config: BankConfig) -> np.ndarray:
    """[dim], sum 1: of each coordinate of a Gaussian bank's mu and eta."""
    v = np.arange(1, config.dim + 1, dtype=np.float64) ** -config.spectrum
    return v / v.sum()
