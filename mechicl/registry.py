"""Evaluators, one entry each. Everything about an evaluator is in its entry and nowhere else.

Code that records, draws, tabulates or describes evaluators goes over EVALUATORS in its order and reads what it needs
from each entry; `register` adds one. Each task has its own (`tasks/*/evaluators.py`); `mechicl/evaluators.py` draws the
sets and scores them.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from mechicl import own_code
from mechicl.config import Config
from mechicl.doors import Door, check_name, of_tasks
from mechicl.errors import ConfigError
from mechicl.options import check_takes
from mechicl.protocol.known import DEFAULT, TASKS, kind_of, task_of
from mechicl.protocol.task import Task

if TYPE_CHECKING:
    import numpy as np

    from mechicl.protocol.batch import TaskBatch


Favours = Literal["context", "weights", "both"]
Role = Literal["main", "more", "training"]
# Markers of curves, by plotly's names, and the sign that stands for each in a line of text.
MARKERS = {
    "circle": "●",
    "square": "■",
    "triangle-up": "▲",
    "triangle-down": "▼",
    "diamond": "◆",
    "x": "✖",
    "star": "★",
    "cross": "✚",
    "pentagon": "⬟",
    "hexagon": "⬢",
}


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """How an evaluation set is drawn, what it is for, and how it is shown."""

    name: str
    # The kind of the task whose runs have it (protocol/task.py); None: of every task for which `applies` says so.
    task: str | None = DEFAULT
    # How its set is drawn: from the config, the run's source, a number of sequences and a generator.
    draw: Callable[[Config, Any, int, np.random.Generator], TaskBatch]
    applies: Callable[[Config], bool] = lambda config: True  # whether the question makes sense for a run of its task
    needs: str = "nothing"  # what `applies` asks for, in words
    label: str  # as in a legend; what stands in brackets is left out where there is little room
    meaning: str  # what its sequences are, in a few words
    explanation: str = ""  # the same where there is room; by default `meaning`
    favours: Favours  # which strategy answers right
    colour: str
    symbol: str
    primary_metric: str = "in_context_acc"  # guessing is computed from the set (`evaluators.chance`)
    quantity: str = "accuracy"  # what the primary metric measures, in a word, as at an axis
    caution: str = ""  # a sentence to bear in mind when its numbers are read
    answer_shown: bool = True  # whether the right label stands in the context
    # 'main': shown wherever evaluators are; 'more': recorded, and in curves and tables of phases, but not on the page;
    # 'training': sequences as in training, which have no phases and come last
    role: Role = "main"
    # Whether the primary metric is a share that says who wins: above one half the context, below it the weights.
    decides: bool = False
    # The evaluator with which it shares random draws, so that sequence i of both differs in one thing: for controls.
    control_of: str | None = None
    # The evaluator whose colour it has, since it asks the same of other sequences; their markers differ.
    like: str | None = None

    def __post_init__(self) -> None:
        check_name("evaluator", self.name)
        for field, possible in (("favours", get_args(Favours)), ("role", get_args(Role)), ("symbol", MARKERS)):
            if getattr(self, field) not in possible:
                raise ConfigError(
                    f"evaluator {self.name!r}: {field}={getattr(self, field)!r}: expected one of {', '.join(possible)}."
                )
        if not (isinstance(self.colour, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", self.colour)):
            raise ConfigError(f"evaluator {self.name!r}: colour={self.colour!r}: expected one such as '#0072B2'.")
        for field in ("draw", "applies"):
            if not callable(getattr(self, field)):
                raise ConfigError(f"evaluator {self.name!r}: {field}={getattr(self, field)!r}: expected a function.")
        check_takes(self.draw, f"evaluator {self.name!r}", "config", "source", "n", "rng")

    def asked_of(self, config: Config) -> bool:
        """Whether a run has it: it is of the run's task, and its question makes sense for the run."""
        return self.task in (None, kind_of(config)) and self.applies(config)

    def lacking(self, config: Config) -> str:
        """In words, what a run lacks that does not have it."""
        kind = kind_of(config)
        return self.needs if self.task in (None, kind) else f"the task {self.task!r}, not {kind!r}"

    def drawn(self, config: Config, source: Any, n: int, rng: np.random.Generator) -> Any:
        """Its set, of `n` sequences.

        Raises:
            ConfigError: it cannot be drawn from this source; or a plugin's `draw` returned what no model of the run can
                read.
        """
        try:
            drawn = self.draw(config, source, n, rng)
        except ConfigError as error:
            raise ConfigError(f"evaluator {self.name!r}: {error}") from None
        if own_code.is_yours(EVALUATORS.what, self.name):
            from mechicl.protocol.drawn import check_drawn

            check_drawn(drawn, task_of(config), n, own_code.whose(EVALUATORS.what, self.name))
        return drawn

    @property
    def sign(self) -> int:
        """1 where more of its primary metric is better, -1 where less is, as of an error."""
        return -1 if is_error(self.primary_metric, self.task) else 1

    @property
    def best(self) -> str:
        """What its curve's best value is called: 'peak', or of an error 'minimum'."""
        return "peak" if self.sign == 1 else "minimum"

    @property
    def explained(self) -> str:
        """What its sequences are, at length."""
        return self.explanation or self.meaning

    @property
    def short(self) -> str:
        """The label without what stands in brackets, unless another evaluator of the task has the same without it."""
        bare = self.label.split(" (")[0]
        others = (e for e in EVALUATORS.values() if e.name != self.name and e.task in (self.task, None))
        return self.label if any(e.label.split(" (")[0] == bare for e in others) else bare


EVALUATORS: Door[Evaluator] = Door("evaluator", built_in=(*of_tasks("evaluators"), "mechicl.tasks.conflict"))


def is_error(metric: str, task: str | None) -> bool:
    """Whether less of a metric is better, as the task of that name says (`Task.errors`); None: as any task says."""
    if task is None:
        return any(metric in each.errors for each in (Task, *TASKS.values()))
    return metric in TASKS.get(task, Task).errors  # the default task has the class's own


class Said(Mapping[str, str]):
    """Evaluator -> one field of its entry, for all evaluators, also those registered later."""

    def __init__(self, of: Callable[[Evaluator], str]):
        self._of = of

    def __getitem__(self, name: str) -> str:
        return self._of(EVALUATORS[name])

    def __iter__(self) -> Iterator[str]:
        return iter(EVALUATORS)

    def __len__(self) -> int:
        return len(EVALUATORS)


def register(evaluator: Evaluator) -> Evaluator:
    """Add an evaluator: everything that goes over evaluators has it from now on.

    Raises:
        ConfigError: it is no `Evaluator`, or another module has registered this name.
    """
    if not isinstance(evaluator, Evaluator):
        raise ConfigError(f"register({evaluator!r}): expected an Evaluator(name=..., draw=..., ...).")
    EVALUATORS.add(evaluator.name, evaluator, sys._getframe(1).f_globals["__name__"])
    return evaluator


def applying(config: Config) -> list[str]:
    """Names of the evaluators that a run records."""
    return [name for name, e in EVALUATORS.items() if e.asked_of(config)]


def main(config: Config | None = None) -> list[str]:
    """Those that are shown everywhere; given a run's config, of those that it records."""
    return [name for name, e in EVALUATORS.items() if e.role == "main" and (config is None or e.asked_of(config))]


def main_in_context(config: Config) -> list[str]:
    """Those of `main` whose right label is in the context, where attention can find it."""
    return [name for name in main(config) if EVALUATORS[name].answer_shown]


def with_phases() -> list[str]:
    """Those whose curves have phases: all but training's own sequences."""
    return [name for name, e in EVALUATORS.items() if e.role != "training"]


def on_page() -> list[str]:
    """Those whose numbers the page has, training's own sequences last."""
    return main() + [name for name, e in EVALUATORS.items() if e.role == "training"]


def leading(names: Collection[str]) -> str | None:
    """Of these, the evaluator whose phases count as those of ICL: the first in `main` that only the context answers."""
    return next((name for name in main() if name in names and EVALUATORS[name].favours == "context"), None)


def quantity(config: Config) -> str:
    """What a run's primary metrics measure, as at an axis that several share."""
    return " or ".join(dict.fromkeys(EVALUATORS[name].quantity for name in main(config)))


LOWEST_SHOWN = -0.5  # of gains, which have no least value: an axis goes down so far


def floor(config: Config) -> float:
    """Where the axis of a run's primary metrics begins: at 0, which is the least accuracy or error, or at
    LOWEST_SHOWN."""
    shown = [EVALUATORS[name] for name in main(config)]
    return 0.0 if all(each.quantity == "accuracy" or each.sign < 0 for each in shown) else LOWEST_SHOWN


def ceiling(highest: float) -> float:
    """Where the axis of primary metrics ends: at 1, or above the highest value, of what can be more, as nats."""
    return 1.01 if highest <= 1 else 1.02 * highest


def span(name: str, values: Iterable[float]) -> tuple[float, float]:
    """Where the scale of one evaluator's primary metric begins and ends, beside others: 0 and 1. What can be less or
    more, as nats, has the next half below and the next whole number above these values."""
    known = [0.0, 1.0, *(x for x in values if math.isfinite(x))]
    if EVALUATORS[name].quantity == "accuracy":
        return 0.0, 1.0
    return math.floor(2 * min(known)) / 2, float(math.ceil(max(known)))


def controls_of(name: str, config: Config) -> list[str]:
    """The evaluators of a run that are controls of one."""
    return [other for other, e in EVALUATORS.items() if e.control_of == name and e.asked_of(config)]


def looked_at(config: Config) -> str:
    """The evaluator whose sequences are shown first: the leading one, or the first that the run has."""
    names = main(config)
    return leading(names) or names[0]
