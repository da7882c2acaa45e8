"""What an intervention is.

A new intervention is one file: a frozen dataclass that derives from `Intervention` and says which intact
activations it `needs` and which `edits` it makes, or how it changes the `weights`. `series.evaluate(ablate=...)`,
`model.hooks_for(...)`, `series.answers(...)`, the pictures of attention and the cache of tables then take it as they
take AblateHeads.

Axes of an activation: [b, t, h, k] for q, k, v and z, [b, h, q, s] for scores and patterns, [b, t, d] elsewhere;
s checkpoints and c conditions come before b. Conditions ride on axis c of one pass (`one_pass.edits`).
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit
from mechicl.errors import ConfigError
from mechicl.interventions.labels import check_labels
from mechicl.interventions.others import USUAL
from mechicl.models.params import Params
from mechicl.protocol.batch import TaskBatch

if TYPE_CHECKING:
    from mechicl.series import Series

Checkpoint = Callable[[int], Params]  # a step of the series -> its weights, in TransformerLens names and shapes


class Intervention(ABC):
    """An intervention on a model's forward pass, as data: printable, comparable, saved with the result."""

    @property
    @abstractmethod
    def baseline(self) -> str:
        """What takes the place of what was there, in words: the tables' column `baseline`."""

    def edits(self, model: ModelConfig, intact: Mapping[str, Tensor], batch: TaskBatch | None) -> dict[str, Edit]:
        """Hook name -> Edit, of this intervention alone.

        Args:
            intact: the activations named by `needs`, from the intact model on the same batch: plain, or with
                [s, 1] in front. It may hold more. In the last layer they may have the query's position only.
            batch: the sequences; None only where the caller knows that the edits do not depend on them.
        """
        return {}

    def weights(self, weights: Params, checkpoint: Checkpoint) -> Params:
        """The model's weights, changed; those given are left as they are.

        Args:
            weights: in TransformerLens names and shapes, as `series.weights(step)` gives them.
            checkpoint: other steps' weights of the same series, those that `donors` names.
        """
        return weights

    @property
    def changes_weights(self) -> bool:
        """Whether it does. Then it has a forward pass of its own for every checkpoint."""
        return type(self).weights is not Intervention.weights

    @property
    def donors(self) -> tuple[int, ...]:
        """Steps whose weights it takes: the result depends on their files, too."""
        return ()

    def needs(self, model: ModelConfig) -> list[str]:
        """Hooks whose intact activations `edits` must be given; `elsewhere` names one of other sequences."""
        return []

    def check(self, model: ModelConfig) -> None:  # noqa: B027 (nothing to check is the rule)
        """Raise ConfigError if the model has not what is to be changed."""

    def check_on(self, batch: TaskBatch) -> None:  # noqa: B027 (nothing to check is the rule)
        """Raise ConfigError if the sequences have not what is to be changed, as a role."""

    def found_in(self, batch: TaskBatch) -> bool:
        """Whether there is anything to change in these sequences: in some, nothing has the role that an edge names."""
        return True

    @property
    def first_layer(self) -> int:
        """A layer up to whose input everything is as in the intact model. (0 is always right, later is quicker.)"""
        return 0

    @property
    def reads(self) -> tuple[int, int] | None:
        """The head (layer, head) whose attention scores at the labels are the answer, where it is not the
        unembedding's: the same for all conditions of a family."""
        return None

    @property
    def family(self) -> str:
        """Conditions of one family share forward passes, and stand together in a table."""
        return type(self).__name__

    @property
    def place(self) -> tuple[int | None, int | None]:
        """(layer, head), where it is at one: the tables' columns of that name."""
        return None, None

    drawn: ClassVar[Mapping[str, str]] = {}  # what others replace in its controls: its kind (`others.USUAL`) -> field
    kept_heads: tuple[tuple[int, int], ...] = ()  # heads that its controls act on, too

    def controls(self, model: ModelConfig, count: int) -> list[Intervention]:
        """The same done to random others: as many components of the same layers, from a fixed seed. Up to `count`
        different ones; fewer where there are no more, none where nothing else could be chosen."""
        return []

    def same_pattern(self, layer: int, head: int) -> str:
        """Why a head's attention pattern is that of the intact model, in words; '' where it may differ."""
        return "nothing before it is changed" if layer < self.first_layer else ""

    @property
    def alike(self) -> str:
        """What its controls are, in words: 'as many other heads of the same layers'."""
        return ", ".join(USUAL[kind] for kind, field in self.drawn.items() if getattr(self, field)) or "random others"

    @property
    def of_step(self) -> bool:
        """Whether it is another one at every step: then only `at_step(series, step)` can be applied."""
        return False

    def at_step(self, series: Series, step: int) -> Intervention:
        """What it is at one checkpoint: itself, unless `of_step`."""
        return self

    @property
    def note(self) -> str:
        """What a reader of attention patterns under it must know."""
        return f"{self}: {self.baseline}."


_ELSEWHERE = "@"  # no character of a hook's name


def elsewhere(counterfactual: str, hook: str) -> str:
    """The name under which `needs` asks for an activation of the counterfactual sequences, and `edits` finds it."""
    return f"{counterfactual}{_ELSEWHERE}{hook}"


def by_sequences(wanted: Iterable[str]) -> dict[str | None, list[str]]:
    """Hooks by the sequences that they are asked of: None the batch itself, else a counterfactual's name."""
    out: dict[str | None, list[str]] = {}
    for name in wanted:
        which, at, hook = name.rpartition(_ELSEWHERE)
        out.setdefault(which if at else None, []).append(hook)
    return out


def as_interventions(ablate: object) -> list[Intervention]:
    """One intervention, several or None, as a list.

    Raises:
        ConfigError: it is something else, such as hooks, or two that differ have one label (`labels.check_labels`).
    """
    if ablate is None:
        return []
    single = isinstance(ablate, (str, Intervention))
    listed: list[Any] = list(ablate) if isinstance(ablate, Iterable) and not single else [ablate]
    for each in listed:
        if not isinstance(each, Intervention):
            hooks = " Hooks go to model.run_with_hooks(batch, fwd_hooks=...)." if isinstance(each, tuple) else ""
            raise ConfigError(
                f"ablate={each!r}: expected an intervention or several, such as "
                f"AblateHeads(heads=((1, 3),)), not {type(each).__name__}.{hooks}"
            )
    check_labels(listed)
    return listed


def controls_of(condition: Intervention, model: ModelConfig, count: int) -> list[Intervention]:
    """Its `controls`.

    Raises:
        ConfigError: somebody's own returned something else.
    """
    found: Any = condition.controls(model, count)
    wrong = "None" if found is None else f"a {type(found).__name__}"
    if isinstance(found, (list, tuple)):
        if all(isinstance(each, Intervention) for each in found):
            return list(found)
        wrong = f"a {type(found).__name__} with {next(x for x in found if not isinstance(x, Intervention))!r}"
    raise ConfigError(
        f"{type(condition).__name__}.controls returned {wrong}: expected a list of interventions, [] where nothing "
        "else could be chosen."
    )


def described(condition: Intervention) -> dict[str, Any]:
    """All that a result depends on, as plain data: the class, its fields, and, where it is not mechicl's own (whose
    code the cache knows), the text of its module.

    Raises:
        OSError, TypeError: Python knows no text of it, as in an interactive session, or a field is no plain data.
    """
    cls = type(condition)
    fields = {f.name: getattr(condition, f.name) for f in dataclasses.fields(condition)}  # type: ignore[arg-type]
    inner = {name: list(map(described, x)) for name, x in fields.items() if _interventions(x)}
    own = cls.__module__.split(".")[0] == "mechicl"
    code = "" if own else inspect.getsource(sys.modules.get(cls.__module__))  # type: ignore[arg-type]
    return json.loads(json.dumps({"class": f"{cls.__module__}.{cls.__qualname__}", "code": code, **fields, **inner}))


def _interventions(x: object) -> bool:
    return isinstance(x, tuple) and any(isinstance(each, Intervention) for each in x)
