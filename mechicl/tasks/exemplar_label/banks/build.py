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
        return made
    x = np.ascontiguousarray(x, np.float32)
    return Bank(
        x,
        assign_labels(config, len(x), seed),
        config.n_classes,
        config.n_exemplars,
        norm=norm(x[: config.n_classes, : config.n_exemplars]),
    )


def shaped(bank: Bank, config: BankConfig) -> Bank:
    """The bank with its exemplars spread, centred and scaled as its config says (shaping.py)."""
    x = shape(config, bank.exemplars)
    if x is bank.exemplars:
        return bank
    return replace(bank, exemplars=x, norm=norm(x[: bank.n_classes, : bank.n_exemplars]))
