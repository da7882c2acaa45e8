"""The settings of exemplars and labels that stand in a run's model."""

from dataclasses import replace

import pytest

from mechicl.config import Config, ModelConfig, from_dict, to_dict
from mechicl.errors import ConfigError
from mechicl.tasks.markov import Markov


@pytest.mark.parametrize("channels", [(), (16, 0), (-1,)])
def test_a_convolution_has_channels(channels):
    with pytest.raises(ConfigError, match=r"model\.channels=.*expected at least one convolution"):
        ModelConfig(channels=channels)


def test_a_run_of_another_task_has_no_encoder():
    run = Config(name="x", steps=8, task=Markov(n_chains=5))
    assert run.model.of_default_task == ""
    conv = ModelConfig(encoder="conv")
    assert conv.of_default_task == "model.encoder='conv'"
    with pytest.raises(ConfigError, match=r"model\.encoder='conv' is a setting of the task 'exemplar_label'"):
        replace(run, model=conv)


def test_a_config_file_has_them_under_model_in_their_order():
    """Files of old runs have them there, and configs are compared as they are written."""
    written = to_dict(ModelConfig())
    keys = list(written)
    assert keys[keys.index("init") + 1 :] == ["encoder", "channels"]  # `hooked` is left out where it is empty
    assert from_dict(ModelConfig, {"encoder": "conv", "channels": [3, 4]}) == ModelConfig(
        encoder="conv", channels=(3, 4)
    )
