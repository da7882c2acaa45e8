"""Which tasks there are, by name, and which one a run has."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

from mechicl.doors import Door, of_tasks
from mechicl.errors import ConfigError

if TYPE_CHECKING:
    from mechicl.config import Config
    from mechicl.protocol.task import Task

TASKS: Door[type[Task]] = Door("task", built_in=of_tasks("__init__"))
DEFAULT = "exemplar_label"  # the task of a config that names none
Some = TypeVar("Some", bound="type[Task]")


def register(cls: Some) -> Some:
    """Class decorator: configs can name the task from now on, by the default of its field `kind`.

    Raises:
        ConfigError: it gives itself no name, or there is a task of that name.
    """
    kind = next(f.default for f in fields(cls) if f.name == "kind")
    if not isinstance(kind, str):
        raise ConfigError(f"{cls.__name__}: give its field `kind` the task's name, such as kind: str = 'regression'.")
    TASKS.add(kind, cls, cls.__module__)
    return cls


def kind_of(config: Config) -> str:
    """The name of a run's task."""
    return DEFAULT if config.task is None else config.task.kind


def task_of(config: Config) -> Task:
    """The task of a run: the one that its config names, or that of configs that name none."""
    if config.task is not None:
        return config.task
    from mechicl.tasks.exemplar_label.task import ExemplarLabel

    return ExemplarLabel(config=config)


def every_task() -> list[type[Task]]:
    """All tasks, that of configs that name none first."""
    from mechicl.tasks.exemplar_label.task import ExemplarLabel

    return [ExemplarLabel, *TASKS.values()]
