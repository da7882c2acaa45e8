"""Tasks by name: those there are, and the one of a run."""

import importlib
from dataclasses import dataclass

import pytest

from mechicl import recipes
from mechicl.config import Config
from mechicl.errors import ConfigError
from mechicl.protocol.known import DEFAULT, TASKS, every_task, kind_of, register, task_of
from mechicl.tasks.exemplar_label.task import ExemplarLabel
from mechicl.tasks.markov import Markov


def test_a_config_that_names_no_task_is_of_exemplars_and_labels():
    task = task_of(recipes.demo())
    assert isinstance(task, ExemplarLabel)
    assert (task.n_tokens, task.n_outputs) == (5, 1024)


@pytest.mark.parametrize(
    ("old", "new", "used"),
    [
        ("base", ("known", "task"), {"Circuit", "Task", "register", "task_of", "TASKS", "DEFAULT"}),
        ("batch", ("batch",), {"TaskBatch", "stack_batches", "embed_tokens"}),
        ("attention_scores", ("attention_scores",), {"SCORES", "Score"}),
    ],
)
def test_modules_of_a_plugin_may_import_the_old_names(old, new, used):
    before = importlib.import_module(f"mechicl.tasks.{old}")
    now = [importlib.import_module(f"mechicl.protocol.{name}") for name in new]
    names = {name for name in vars(before) if name[0] != "_"}
    assert names >= used
    assert all(getattr(before, name) is next(vars(m)[name] for m in now if name in vars(m)) for name in names)


def test_two_tasks_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="already"):
        register(dataclass(frozen=True, kw_only=True)(type("Again", (Markov,), {"__module__": "elsewhere"})))
    assert TASKS["markov"] is Markov


def test_a_task_without_a_name_is_refused():
    class Nameless(Markov):
        kind: str = None  # type: ignore[assignment]

    with pytest.raises(ConfigError, match="give its field `kind` the task's name"):
        register(dataclass(frozen=True, kw_only=True)(Nameless))


def test_every_task_is_there_and_the_one_without_a_name_first():
    assert every_task() == [ExemplarLabel, *TASKS.values()]
    assert kind_of(recipes.demo()) == DEFAULT
    assert kind_of(Config(name="x", steps=8, task=Markov(n_chains=5))) == "markov"
