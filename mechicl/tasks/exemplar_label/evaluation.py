"""How the evaluation sets of exemplars and labels are drawn: a sampler setting over one part of the bank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mechicl.config import Config, SequenceConfig
from mechicl.errors import ConfigError
from mechicl.tasks.exemplar_label.banks.bank import Bank
from mechicl.tasks.exemplar_label.batch import Batch
from mechicl.tasks.exemplar_label.relabelled import relabels
from mechicl.tasks.exemplar_label.sequences import check


def draw(
    part_of: Callable[[Bank], Bank],
    changed: Callable[[SequenceConfig], SequenceConfig],
    config: Config,
    bank: Bank,
    n: int,
    rng: np.random.Generator,
) -> Batch:
    """`n` sequences of a changed setting over a part of the run's whole bank.

    Raises:
        ConfigError: its part of the bank is too small, or labels change during training and the bank is of no step.
    """
    if relabels(config) and not bank.map_known:
        raise ConfigError(
            "the labels of this run's classes change during training, so its evaluation sets do, too: "
            "give a step, as in series.evaluation_set(name, step=1000)."
        )
    part, setting = part_of(bank), changed(config.sequences)
    if config.eval_first is not None:
        part = part.first(*config.eval_first)
    if config.eval_exemplars == "as_training":
        setting = replace(setting, exemplars=config.sequences.exemplars)
    if part.n_classes < 2:
        raise ConfigError(
            f"expected at least 2 classes in its part of the bank, which has {part.n_classes}: "
            "raise bank.n_holdout_classes."
        )
    check(
        setting,
        n_classes=part.n_classes,
        n_exemplars=part.n_exemplars,
        n_labels=config.bank.labels if setting.labels == "random" else len(np.unique(part.label_of_class)),
    )
    return part.draw(setting, n, rng, config.bank.labels)
