"""Kinds of banks: an entry says everything, and what a function makes is checked."""

import dataclasses

import numpy as np
import pytest
import torch

from mechicl.config import BankConfig, Config, ModelConfig
from mechicl.errors import ConfigError
from mechicl.tasks.exemplar_label.banks.bank import Bank
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.banks.kinds import BANKS, bank

TINY = {"n_classes": 3, "n_holdout_classes": 2, "n_exemplars": 2, "n_holdout_exemplars": 1, "dim": 4}


def built(**fields) -> Bank:
    return build_bank(Config(name="x", steps=1, bank=BankConfig(**(TINY | fields))))


def test_an_unknown_kind_lists_the_kinds_and_how_to_add_one():
    with pytest.raises(
        ConfigError,
        match=r"bank.kind='gausian'.*gaussian, omniglot, tokens, features, file.*Did you "
        r"mean 'gaussian'.*--plugin MODULE",
    ):
        BankConfig(kind="gausian")


def test_every_setting_that_a_kind_names_is_a_field():
    fields = {f.name for f in dataclasses.fields(BankConfig)}
    assert all(set(kind.settings) <= fields for kind in BANKS.values())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"path": "x"},
            "bank.path='x' is a setting of bank.kind='features' or 'file', but this bank's kind is 'gaussian'",
        ),
        ({"kind": "file", "offset": 1.0}, "bank.offset=1.0 is a setting of bank.kind='gaussian'"),
        ({"kind": "file", "layout": "released"}, "bank.layout='released' is a setting of bank.kind='features'"),
    ],
)
def test_a_setting_of_another_kind_is_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        BankConfig(**fields)


def test_bare_exemplars_become_a_bank(plugin_folder):
    @bank("counting")
    def counting(config, seed, data, *, start: int = 0):
        return np.arange(5 * 3 * 4).reshape(5, 3, 4) + start

    found = built(kind="counting", options={"start": 2})
    assert found.exemplars.dtype == np.float32
    assert found.exemplars[0, 0, 0] == 2
    assert found.label_of_class.tolist() == [0, 1, 2, 0, 1]
    trained = found.exemplars[:3, :2].astype(float)
    assert found.norm == pytest.approx(np.sqrt(np.square(trained).sum(-1).mean()))
    assert built(kind="counting", scale=1.0).norm == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (np.zeros((5, 3, 5)), r"shape \(5, 3, 5\): expected \(5, 3, 4\)"),
        (np.zeros((5, 12)), "expected"),
        ([[1.0]], "made list: expected a Bank, or a numpy array"),
        (np.full((5, 3, 4), np.nan), "exemplars of class 0 have numbers that are not finite"),
    ],
)
def test_what_is_no_bank_is_refused(plugin_folder, made, words):
    bank("wrong")(lambda config, seed, data: made)
    with pytest.raises(ConfigError, match=words):
        built(kind="wrong")


def test_convolutions_read_a_kind_unless_it_says_that_it_has_no_pictures(plugin_folder):
    bank("squares")(lambda config, seed, data: np.zeros((5, 3, 4)))
    bank("words", no_pictures="words")(lambda config, seed, data: np.zeros((5, 3, 4)))
    conv = ModelConfig(encoder="conv")
    Config(name="x", steps=1, bank=BankConfig(kind="squares", **TINY), model=conv)
    with pytest.raises(ConfigError, match="this bank's exemplars are words"):
        Config(name="x", steps=1, bank=BankConfig(kind="words", **TINY), model=conv)


def made_bank(**changes) -> Bank:
    fields = {"exemplars": np.ones((5, 3, 4), np.float32), "label_of_class": np.arange(5) % 3, "n_classes": 3}
    return Bank(**(fields | {"n_exemplars": 2} | changes))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: np.ones((5, 3, 4)).astype(str), "made exemplars of type <U32: expected an array of numbers"),
        (lambda: np.full((5, 3, 4), None), "made exemplars of type object"),
        (lambda: made_bank(exemplars=torch.ones(5, 3, 4)), "made exemplars of type Tensor"),
        (lambda: made_bank(label_of_class=np.arange(5)), "labels from 0 to 4: expected 0 to 2"),
        (lambda: made_bank(label_of_class=np.arange(5) - 2), "labels from -2 to 2"),
        (lambda: made_bank(label_of_class=np.arange(3)), r"label_of_class is int64, \(3,\): expected .*int64, \(5,\)"),
        (lambda: made_bank(label_of_class=np.ones(5)), "label_of_class is float64"),
        (lambda: made_bank(n_classes=5), "n_classes=5, n_exemplars=2: expected those of the config, 3 and 2"),
    ],
)
def test_what_no_model_could_read_is_refused(plugin_folder, made, words):
    bank("odd", numbers="x")(own(lambda config, seed, data: made()))
    with pytest.raises(ConfigError, match=words):
        built(kind="odd")


def test_a_bank_of_ones_own_is_taken(plugin_folder):
    bank("sound", numbers="x")(own(lambda config, seed, data: made_bank()))
    assert built(kind="sound").label_of_class.tolist() == [0, 1, 2, 0, 1]


def own(function):
    function.__module__ = "somebodys"
    return function
