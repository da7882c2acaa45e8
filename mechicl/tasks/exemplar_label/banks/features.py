"""A bank from a file: features that an encoder made once (features/file.py), or your own exemplars (features/own.py).

The data seed decides which classes are trained on, and which exemplars of each. Classes that are the same thing seen in
several ways (a character under its eight flips and turns: the file's `group`) are held out together.

Layouts of classes. `as_stored`: a class is what the file says. `released`: the layout of the feature extractor that was
published with Singh et al. 2025 (2503.05631). It reads the drawings of a character in another order than it wrote them:
a row holds 2.5 drawings of one character, each under all eight transforms, instead of 20 drawings under one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mechicl.config import BankConfig
from mechicl.errors import ConfigError
from mechicl.tasks.exemplar_label.banks.bank import Bank, assign_labels
from mechicl.tasks.exemplar_label.banks.shaping import norm
from mechicl.tasks.exemplar_label.features import file, own

_COLUMNS = 12  # of a table, that a message names


def features_bank(config: BankConfig, seed: int, data: str | Path | None = None) -> Bank:
    """The bank of a file of features, [class, exemplar, d], raw.

    Args:
        seed: decides which classes and which of their exemplars are trained on.
        data: the file, where it is not (or no longer) at `config.path`.

    Raises:
        ConfigError: no file, one that was altered, or one with too few classes or exemplars.
    """
    path = config.path if data is None else data
    if path is None:
        raise ConfigError(
            "bank.kind='features' needs a file of features: give --data FILE. `mechicl features SOURCE "
            "--encoder efficientnet-lite0 --out FILE` makes this file."
        )
    found = file.read(path)
    file.check(path, found)
    return _bank(config, found, seed, path, "or make a larger file with `mechicl features`")


def file_bank(config: BankConfig, seed: int, data: str | Path | None = None) -> Bank:
    """The bank of your own file (features/own.py has the formats), raw. As `features_bank`."""
    path = config.path if data is None else data
    if path is None:
        raise ConfigError(
            "bank.kind='file' needs a file with exemplars [class, exemplar, d], .npy, .npz, .safetensors "
            "or .parquet: give --data FILE, or --set bank.path=FILE."
        )
    return _bank(config, own.read(path), seed, path, "or make a larger file")


def _bank(config: BankConfig, found: file.Features, seed: int, path: str | Path, larger: str) -> Bank:
    _check(config, found, path, larger)
    classes, exemplars = _chosen(config, found, seed)
    rows = classes[:, None], exemplars
    x = np.asarray(_arranged(config, found, found.exemplars)[rows])
    images = None if found.pictures is None else np.asarray(_arranged(config, found, found.pictures)[rows])
    return Bank(
        x,
        assign_labels(config, len(classes), seed),
        config.n_classes,
        config.n_exemplars,
        _names(config, found, classes),
        images,
        norm=norm(x[: config.n_classes, : config.n_exemplars]),
    )


def _taken(columns: tuple[str, ...]) -> str:
    """Which columns of a table are features, for a message: one that says the class would be one, too."""
    if not columns:
        return ""
    some = columns if len(columns) <= _COLUMNS else (*columns[: _COLUMNS // 2], "...", *columns[-_COLUMNS // 2 :])
    return f"its features are the columns {', '.join(some)}. Remove those that are none, such as a label, or "


def _check(config: BankConfig, found: file.Features, path: str | Path, larger: str) -> None:
    """Refuse sizes that the file cannot serve."""
    classes, exemplars, dim = found.exemplars.shape
    if dim != config.dim:
        raise ConfigError(
            f"{path} holds {dim} features per exemplar, but bank.dim={config.dim}: {_taken(found.columns)}set "
            f"bank.dim={dim}."
        )
    if config.n_classes % found.group or config.n_holdout_classes % found.group:
        raise ConfigError(
            f"{path}: {found.group} neighbouring classes are transforms of one original class. All of them are trained "
            f"on or all are held out, so bank.n_classes={config.n_classes} and "
            f"n_holdout_classes={config.n_holdout_classes} must be multiples of "
            f"{found.group}."
        )
    for key, wanted, there in (
        ("classes", config.n_classes + config.n_holdout_classes, classes),
        ("exemplars", config.n_exemplars + config.n_holdout_exemplars, exemplars),
    ):
        if wanted > there:
            raise ConfigError(
                f"{path} holds {there} {key}, but bank.n_{key} and n_holdout_{key} ask for {wanted}: "
                f"lower them, {larger}."
            )
    if config.layout == "released" and config.n_exemplars + config.n_holdout_exemplars != exemplars:
        raise ConfigError(
            f"bank.layout='released' uses all {exemplars} exemplars of {path}: set bank.n_exemplars="
            f"{exemplars} and n_holdout_exemplars=0."
        )


def _chosen(config: BankConfig, found: file.Features, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which classes [c] and which exemplars of each [c, e] of the file: shuffled, training first on both axes."""
    rng = np.random.default_rng([seed, 0])  # stream 0 of the data seed is the bank's
    wanted = (config.n_classes + config.n_holdout_classes) // found.group
    groups = rng.permutation(len(found.exemplars) // found.group)[:wanted]
    classes = (groups[:, None] * found.group + np.arange(found.group)).ravel()
    there = np.tile(np.arange(found.exemplars.shape[1]), (len(classes), 1))
    return classes, rng.permuted(there, axis=1)[:, : config.n_exemplars + config.n_holdout_exemplars]


def _arranged(config: BankConfig, found: file.Features, x: np.ndarray) -> np.ndarray:
    """[class, exemplar, ...] of the file in the layout that the config asks for."""
    if config.layout == "as_stored":
        return x
    groups = x.reshape(-1, found.group, *x.shape[1:])  # [character, transform, drawing, ...]
    return groups.swapaxes(1, 2).reshape(x.shape)  # rows of the items as they lie: drawing by drawing


def _names(config: BankConfig, found: file.Features, classes: np.ndarray) -> tuple[str, ...]:
    if config.layout == "as_stored":
        return tuple(found.names[c] for c in classes)
    return tuple(f"{found.names[c - c % found.group]} row {c % found.group}" for c in classes)
