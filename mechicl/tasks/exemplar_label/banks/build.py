"""The bank of a run, by its kind: built, checked and shaped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from mechicl.config import BankConfig, Config
from mechicl.errors import ConfigError
from mechicl.system.surroundings import own_settings
from mechicl.tasks.exemplar_label.banks.bank import Bank, assign_labels
from mechicl.tasks.exemplar_label.banks.kinds import BANKS
from mechicl.tasks.exemplar_label.banks.shaping import norm, shape


@own_settings()
def build_bank(config: Config, data: str | Path | None = None, threads: int | None = 1) -> Bank:
    """The bank of a run.

    Args:
        data: the folder of images or the file, for kinds that need one.
        threads: of BLAS and OpenMP, which decide the last bits of principal components and clusters; None:
            as many as the environment has, as in runs that were made before this was fixed.

    Raises:
        ConfigError: the kind is not known or cannot be made as the config wants it.
    """
    bank, kind = config.bank, BANKS.find(config.bank.kind)
    with threadpool_limits(threads):
        made = kind.build(bank, config.seeds.data, None if data is None else Path(data), **bank.options)
    return shaped(checked(made, bank, config.seeds.data), bank)


def checked(made: Bank | np.ndarray, config: BankConfig, seed: int) -> Bank:
    """What a kind's function made, as a bank of the sizes and the numbers that are expected; bare exemplars get labels.

    Raises:
        ConfigError: it has other sizes, or numbers that are not finite.
    """
    if not isinstance(made, (Bank, np.ndarray)):
        raise ConfigError(
            f"bank.kind={config.kind!r} made {type(made).__name__}: expected a Bank, or a numpy array "
            "[class, exemplar, feature]."
        )
    x = made if isinstance(made, np.ndarray) else made.exemplars
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "fiu":
        kind = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise ConfigError(f"bank.kind={config.kind!r} made exemplars of type {kind}: expected an array of numbers.")
    each = config.n_exemplars + config.n_holdout_exemplars
    expected = (config.n_classes + config.n_holdout_classes, each, config.dim)
    if x.shape != expected:
        raise ConfigError(
            f"bank.kind={config.kind!r} made exemplars of shape {x.shape}: expected {expected}, which is "
            "(bank.n_classes + n_holdout_classes, n_exemplars + n_holdout_exemplars, dim)."
        )
    for c, exemplars in enumerate(x):
        if not np.isfinite(exemplars).all():
            name = made.name(c) if isinstance(made, Bank) else f"class {c}"
            raise ConfigError(
                f"bank.kind={config.kind!r}: exemplars of {name} have numbers that are not finite: remove them."
            )
    if isinstance(made, Bank):
        _check_bank(made, config)
        return made
    x = np.ascontiguousarray(x, np.float32)
    return Bank(
        x,
        assign_labels(config, len(x), seed),
        config.n_classes,
        config.n_exemplars,
        norm=norm(x[: config.n_classes, : config.n_exemplars]),
    )


def _check_bank(made: Bank, config: BankConfig) -> None:
    """Raise ConfigError where a Bank of a kind's function is not of the config: labels are read as rows of tables."""
    labels, classes = made.label_of_class, len(made.exemplars)
    if (made.n_classes, made.n_exemplars) != (config.n_classes, config.n_exemplars):
        raise ConfigError(
            f"bank.kind={config.kind!r} made a Bank of n_classes={made.n_classes}, n_exemplars={made.n_exemplars}: "
            f"expected those of the config, {config.n_classes} and {config.n_exemplars}."
        )
    if not isinstance(labels, np.ndarray) or labels.shape != (classes,) or labels.dtype != np.int64:
        kind = f"{labels.dtype}, {labels.shape}" if isinstance(labels, np.ndarray) else type(labels).__name__
        raise ConfigError(
            f"bank.kind={config.kind!r} made a Bank whose label_of_class is {kind}: expected an array "
            f"int64, ({classes},)."
        )
    if labels.min() < 0 or labels.max() >= config.labels:
        raise ConfigError(
            f"bank.kind={config.kind!r} made a Bank with labels from {labels.min()} to {labels.max()}: expected 0 to "
            f"{config.labels - 1}, since there are {config.labels} labels."
        )


def shaped(bank: Bank, config: BankConfig) -> Bank:
    """The bank with its exemplars spread, centred and scaled as its config says (shaping.py)."""
    x = shape(config, bank.exemplars)
    if x is bank.exemplars:
        return bank
    return replace(bank, exemplars=x, norm=norm(x[: bank.n_classes, : bank.n_exemplars]))
