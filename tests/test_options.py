"""A plugin's own settings: read-only, and as strict as the config's."""

import dataclasses
import json
import pickle

import pytest

from mechicl.config import BankConfig, from_dict, to_dict
from mechicl.errors import ConfigError
from mechicl.loading import Options
from mechicl.options import filled, own_settings_of
from mechicl.tasks.exemplar_label.banks.kinds import bank


def turning(config, seed, data, *, turns: float = 1.0, sides: tuple[int, ...] = (3,), mode: str = "a"):
    return None


OWN = own_settings_of(turning)


def test_what_is_left_out_is_at_its_default():
    assert filled({"turns": 2}, OWN, "bank.options") == {"turns": 2.0, "sides": (3,), "mode": "a"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"turn": 1}, r"bank.options.turn: no such setting; there are turns, sides, mode. Did you mean 'turns'\?"),
        ({"turns": "1"}, "bank.options.turns='1': expected float, got str"),
        ({"turns": float("nan")}, "expected a finite number"),
        ({"sides": [1.5]}, r"sides\[0\]=1.5: expected int"),
    ],
)
def test_what_cannot_be_is_refused(given, words):
    with pytest.raises(ConfigError, match=words):
        filled(given, OWN, "bank.options")


def test_a_setting_needs_a_type_and_a_default():
    def typeless(config, seed, data, *, turns=1): ...
    def without(config, seed, data, *, turns: int): ...

    for function in (typeless, without):
        with pytest.raises(ConfigError, match="its setting turns needs a type and a default"):
            own_settings_of(function)


def test_a_config_with_options_is_saved_opened_sent_and_hashed(plugin_folder):
    bank("turning")(turning)
    config = BankConfig(kind="turning", options=Options(turns=3, sides=[4, 5]))
    assert from_dict(BankConfig, json.loads(json.dumps(to_dict(config)))) == config
    assert pickle.loads(pickle.dumps(config)) == config
    assert hash(config) == hash(dataclasses.replace(config)) != hash(dataclasses.replace(config, options={}))
    with pytest.raises(TypeError, match="read-only"):
        config.options["turns"] = 1.0
    assert type(to_dict(config)["options"]) is dict


def test_a_config_without_options_reads_as_before_there_were_any():
    assert "options" not in to_dict(BankConfig())
    with pytest.raises(ConfigError, match=r"bank.options.x: no such setting; this kind has no settings of its own"):
        BankConfig(options=Options(x=1))
