"""Tasks by name: a run says the settings of its own task, and no others."""

import importlib
import json
from dataclasses import dataclass, replace

import pytest

from mechicl import recipes
from mechicl.config import BankConfig, Config, ModelConfig, TrainingIntervention, from_dict, to_dict
from mechicl.errors import ConfigError
from mechicl.protocol.task import TASKS, register, task_of
from mechicl.tasks.exemplar_label.task import ExemplarLabel
from mechicl.tasks.markov import Markov

RUN = Config(name="x", steps=8, task=Markov(n_chains=5))


def test_a_config_that_names_no_task_is_of_exemplars_and_labels():
    task = task_of(recipes.demo())
    assert isinstance(task, ExemplarLabel)
    assert (task.n_tokens, task.n_outputs) == (5, 1024)


@pytest.mark.parametrize(
    ("old", "new", "used"),
    [
        ("base", "task", {"Circuit", "Task", "register", "task_of", "TASKS", "DEFAULT"}),
        ("batch", "batch", {"TaskBatch", "stack_batches", "embed_tokens"}),
        ("attention_scores", "attention_scores", {"SCORES", "Score"}),
    ],
)
def test_modules_of_a_plugin_may_import_the_old_names(old, new, used):
    before, now = (importlib.import_module(f"mechicl.{name}") for name in (f"tasks.{old}", f"protocol.{new}"))
    names = {name for name in vars(before) if name[0] != "_"}
    assert names >= used
    assert all(getattr(before, name) is getattr(now, name) for name in names)


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


def test_two_tasks_of_one_name_and_one_without_are_refused():
    with pytest.raises(ConfigError, match="already"):
        register(dataclass(frozen=True, kw_only=True)(type("Again", (Markov,), {"__module__": "elsewhere"})))
    assert TASKS["markov"] is Markov
