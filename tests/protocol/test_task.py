"""A run says the settings of its own task, and no others."""

import json
from dataclasses import replace

import pytest

from mechicl import recipes
from mechicl.config import BankConfig, Config, ModelConfig, TrainingIntervention, from_dict, to_dict
from mechicl.errors import ConfigError
from mechicl.tasks.markov import Markov

RUN = Config(name="x", steps=8, task=Markov(n_chains=5))


def test_config_files_hold_the_settings_of_the_run_s_task_alone():
    data = json.loads(json.dumps(to_dict(RUN)))
    assert not {"bank", "sequences", "eval_first", "eval_exemplars"} & set(data)
    assert data["task"] == {"kind": "markov", "n_states": 6, "n_chains": 5, "length": 40, "concentration": 1.0}
    assert from_dict(Config, data) == RUN
    assert "task" not in to_dict(recipes.demo())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"kind": "regresion"}, "--plugin"),
        ({"n_chains": 3}, "kind"),
        ("markov", "kind"),
        (3, "expected a task"),
        ({"kind": "markov", "n_chain": 3}, "n_chains"),
    ],
)
def test_what_is_no_task_is_refused_with_those_there_are(value, said):
    with pytest.raises(ConfigError, match=r"markov|n_chains") as error:
        replace(RUN, task=value)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"bank": BankConfig(n_classes=9)},
        {"eval_first": (2, 1)},
        {"model": ModelConfig(encoder="conv")},
        {"training_interventions": (TrainingIntervention(kind="relabel", every=2),)},
        {"training_interventions": (TrainingIntervention(kind="clamp", heads=((0, 0),), pattern="forbid_previous"),)},
    ],
)
def test_settings_of_exemplars_are_refused_in_a_run_of_another_task(changes):
    with pytest.raises(ConfigError, match="task is 'markov'"):
        replace(RUN, **changes)
