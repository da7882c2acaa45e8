"""The data that an update trains on, where training interventions change it: its sequences and its label map."""

from __future__ import annotations

import dataclasses

import numpy as np

from mechicl.config import Config, SequenceConfig
from mechicl.tasks.exemplar_label.banks.bank import Bank

_MAPS = 3  # stream of the data seed for label maps (banks/bank.py has the others)


def sequences_at(config: Config, update: int) -> SequenceConfig:
    """How the sequences of an update are drawn."""
    for treatment in config.training_interventions:
        if treatment.sequences is not None and treatment.holds(update):
            return treatment.sequences
    return config.sequences


def relabels(config: Config) -> bool:
    """Whether the class -> label map changes during training."""
    return any(treatment.kind == "relabel" for treatment in config.training_interventions)


def map_at(config: Config, update: int) -> tuple[int, int] | None:
    """Which label map an update trains on: a name for it, or None for the bank's own."""
    begun = [t for t in config.training_interventions if t.kind == "relabel" and t.start <= update]
    if not begun:
        return None
    last = max(begun, key=lambda t: t.start)  # they do not overlap: the latest is in force
    until = update if last.stop is None else min(update, last.stop - 1)
    return last.start, (until - last.start) // (last.every or 1)


def bank_of(config: Config, bank: Bank, update: int) -> Bank:
    """The bank with the label map that an update trains on: the labels of the training classes,
    permuted over the classes, which is a function of the data seed and the map alone."""
    if not relabels(config):
        return bank
    name, labels = map_at(config, update), bank.label_of_class.copy()
    if name is not None:
        rng = np.random.default_rng([config.seeds.data, _MAPS, *name])
        labels[: bank.n_classes] = rng.permutation(labels[: bank.n_classes])
    return dataclasses.replace(bank, label_of_class=labels, map_known=True)


def bank_at(config: Config, bank: Bank, step: int) -> Bank:
    """The bank with the label map that the checkpoint of a step was trained on, which is that
    of the update before it."""
    return bank_of(config, bank, max(0, step - 1))
