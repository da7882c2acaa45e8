"""What is done to a model or its data *during* training, as fields of a recipe.

An intervention holds for the updates start, start + 1, ... stop - 1 (stop None: to the end), where update s takes the
weights of step s to those of step s + 1. It is a pure function of the Config and the step, so that such a run resumes
and densifies bit for bit as any other.

    kind      what                                                              needs
    ablate    heads' outputs are 0, forward and backward                        heads
    clamp     heads' attention patterns are held (PATTERNS), all of the         heads, pattern
              attention or a share of it                                        [strength]
    clamp_match  heads of the last layer attend from the query to the right     heads [strength]
              label with a given strength, to the others with the rest
              (interventions.ClampMatch)
    clamp_layer  the first of two layers is perfect (interventions.ClampLayer)
    clamp_copy   the answer is read from the attention scores of a head of the  heads
              last layer (interventions.ClampCopy)
    freeze    parameters (GROUPS), Adam's moments and its count stand still     groups
    reset     parameters are drawn anew from the init distribution, their       groups [every]
              moments cleared: at `start`, then every `every` updates
              (active forgetting: Anand et al. 2024, 2406.00053)
    fresh_moments  Adam's moments are cleared at `start`, as a new optimiser would have them
    graft     the initial weights of groups are another run's (Singh et al. 2025)  groups, source, step

A task adds kinds and patterns (`KINDS`, `PATTERNS`): those of the default task are in tasks/exemplar_label/training.py.

Evaluators recorded in training score a checkpoint under the interventions of the update that made it (step 0: of the
first): heads that were ablated or clamped are so in the evaluation. Each line of metrics.jsonl names them.
`series.evaluate` and the measures take the weights as they are: pass `ablate=` to take heads out there too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from mechicl.attention_patterns import PATTERNS
from mechicl.doors import Door, of_tasks
from mechicl.errors import ConfigError
from mechicl.loading import check_types
from mechicl.parameter_groups import check_group, in_groups
from mechicl.protocol.known import task_of
from mechicl.tasks.exemplar_label.settings import OfTrainingIntervention

if TYPE_CHECKING:
    from mechicl.config import Config, ModelConfig


def _anything(intervention: TrainingIntervention, config: Config) -> None:
    """No check of its own."""


def _nothing(intervention: TrainingIntervention, config: Config) -> list[str]:
    """No details: `str` says it all."""
    return []


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of training intervention.

    needs, takes: fields that it must have, and others that it may have.
    check: raises ConfigError where a run cannot have it.
    details: what `str` leaves out of it, each in a word or two, for a run of this config.
    alone: two of this kind do not hold at the same time.
    one_answer: it needs a task whose sequences have one answer, which stands in their context (`Task.one_answer`).
    task: the one task that has it; None: every task.
    """

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    check: Callable[[TrainingIntervention, Config], None] = _anything
    details: Callable[[TrainingIntervention, Config], list[str]] = _nothing
    alone: bool = False
    one_answer: bool = False
    task: str | None = None


KINDS: Door[Kind] = Door("kind of training intervention", built_in=(__name__, *of_tasks("training")))


@dataclass(frozen=True, kw_only=True)
class TrainingIntervention(OfTrainingIntervention):
    """One thing that is done in training; the module says what each kind does and which fields it needs."""

    kind: str
    start: int = 0
    stop: int | None = None
    heads: tuple[tuple[int, int], ...] = ()  # (layer, head), from 0
    pattern: str | None = None  # clamp: one of PATTERNS
    strength: float = 1.0  # clamp: the share of attention that is held; clamp_match: that on the right label; 0 to 1
    groups: tuple[str, ...] = ()
    every: int | None = None
    fresh_moments: bool = False  # data: clear Adam's moments at `start`, as a new optimiser would have them
    source: str | None = None  # graft: a run's directory, needed only when training starts; '{seed}' is
    # the run's own seed
    step: int | None = None  # graft: which of its checkpoints

    def __post_init__(self) -> None:
        check_types(self, "training intervention")
        kind, default = KINDS.find(self.kind), {f.name: f.default for f in fields(self)}
        uses = (*kind.needs, *kind.takes)
        for name in sorted(set(default) - {"kind", "start", "stop"}):
            given = getattr(self, name) != default[name]
            if given and name not in uses:
                raise ConfigError(f"{self._called} does not use {name}: it uses {', '.join(uses) or 'nothing else'}.")
            if not given and name in kind.needs:
                raise ConfigError(f"{self._called} needs {name}.")
        if self.pattern is not None:
            PATTERNS.find(self.pattern)
        if not 0 <= self.strength <= 1:
            raise ConfigError(f"{self._called}: strength={self.strength}: expected a share of attention, 0 to 1.")
        if self.start < 0 or (self.stop is not None and self.stop <= self.start):
            raise ConfigError(f"{self._called}: start={self.start}, stop={self.stop}: expected 0 <= start < stop.")
        if self.every is not None and self.every < 1:
            raise ConfigError(f"{self._called}: every={self.every}: expected at least 1.")
        if self.step is not None and self.step < 0:
            raise ConfigError(f"{self._called}: step={self.step}: expected at least 0.")
        if self.kind == "reset" and self.start == 0:
            raise ConfigError(
                f"{self._called} at step 0 would only draw the initial weights again: start at 1 or later."
            )
        if self.kind == "fresh_moments" and self.start == 0:
            raise ConfigError(f"{self._called} at step 0: a run begins with fresh moments. Start at 1 or later.")
        if self.kind == "graft" and (self.start or self.stop is not None):
            raise ConfigError(f"{self._called} sets the initial weights: it has no start and no stop.")

    @property
    def _called(self) -> str:
        return f"training intervention {self.kind!r}"

    def holds(self, update: int) -> bool:
        """Whether it is in force in the update that takes step `update` to `update` + 1."""
        return self.start <= update and (self.stop is None or update < self.stop)

    def falls_on(self, update: int) -> bool:
        """Whether a repeated intervention strikes just before this update."""
        since = update - self.start
        return self.holds(update) and (since == 0 or (self.every is not None and since % self.every == 0))

    def __str__(self) -> str:
        heads = " ".join(f"L{la}H{h}" for la, h in self.heads)
        every = f"every {self.every}" if self.every else ""
        source = f"from {self.source} step {self.step}" if self.source else ""
        said = self.kind == "clamp_match" or self.strength != 1
        strength = f"{self.strength:g}" if said else ""
        return " ".join(filter(None, (self.kind, self.pattern, strength, heads, *self.groups, every, source)))


Several = tuple[TrainingIntervention, ...]


def in_force(interventions: Several, step: int) -> Several:
    """Those under which the checkpoint of a step was made: those of the update before."""
    return tuple(x for x in interventions if x.kind != "graft" and x.holds(max(0, step - 1)))


def frozen(interventions: Several, update: int, name: str) -> bool:
    """Whether this update leaves a parameter as it is."""
    return any(x.kind == "freeze" and x.holds(update) and in_groups(name, x.groups) for x in interventions)


def moments_since(interventions: Several, update: int, name: str) -> int:
    """The step at which a parameter's Adam moments were last cleared, up to this update. 0 where they never were."""
    return max((_last(x, update) for x in interventions if _clears(x, name)), default=0)


def updates_of_moments(interventions: Several, update: int, name: str) -> int:
    """How often a parameter's Adam moments were updated since they were cleared, with this update: Adam's t, which
    stands still while the parameter is frozen. At least 1."""
    since = moments_since(interventions, update, name)
    done, counted = update + 1 - since, since
    held = (x for x in interventions if x.kind == "freeze" and in_groups(name, x.groups) and x.start <= update)
    for start, stop in sorted((x.start, min(x.stop or update + 1, update + 1)) for x in held):  # they may overlap
        done -= max(0, stop - max(start, counted))
        counted = max(counted, stop)
    return max(1, done)


def _clears(intervention: TrainingIntervention, name: str) -> bool:
    if intervention.fresh_moments or intervention.kind == "fresh_moments":
        return True
    return intervention.kind == "reset" and in_groups(name, intervention.groups)


def _last(intervention: TrainingIntervention, update: int) -> int:
    """The last strike of an intervention at or before an update; 0 before the first."""
    if update < intervention.start:
        return 0
    last = update if intervention.stop is None else min(update, intervention.stop - 1)
    since = last - intervention.start
    return intervention.start + (since // intervention.every * intervention.every if intervention.every else 0)


def check_interventions(config: Config) -> None:
    """Refuse training interventions that this run cannot have, with the reason.

    Raises:
        ConfigError: which one, and why.
    """
    for i, intervention in enumerate(config.training_interventions):
        try:
            _check(intervention, config)
        except ConfigError as error:
            raise ConfigError(f"training_interventions[{i}] ({intervention}): {error}") from None
    for one, other in itertools.combinations(config.training_interventions, 2):
        _check_pair(one, other)


def _check(intervention: TrainingIntervention, config: Config) -> None:
    model, kind, task = config.model, KINDS.find(intervention.kind), task_of(config)
    pattern = PATTERNS.get(intervention.pattern or "")
    for owner in (kind.task, pattern and pattern.task):
        if owner not in (None, task.kind):
            raise ConfigError(f"this is one of the task {owner!r}, but this run's task is {task.kind!r}.")
    if kind.one_answer and not task.one_answer:
        raise ConfigError(
            f"it needs sequences with one answer, which stands in the context; the task {task.kind!r} has others."
        )
    if intervention.start >= config.steps or (intervention.stop or 0) > config.steps:
        raise ConfigError(
            f"start={intervention.start}, stop={intervention.stop}, but the run has updates 0..{config.steps - 1}."
        )
    for layer, head in intervention.heads:
        if not (0 <= layer < model.n_layers and 0 <= head < model.n_heads):
            raise ConfigError(
                f"there is no head L{layer}H{head}: this model has layers 0..{model.n_layers - 1} "
                f"with heads 0..{model.n_heads - 1}."
            )
    for group in intervention.groups:
        check_group(group, model)
    kind.check(intervention, config)


def check_layer_clamp(model: ModelConfig) -> None:
    """Raise unless the model is one whose first layer can be clamped."""
    if model.n_layers != 2 or model.has_mlp(0):
        raise ConfigError(
            f"a clamped first layer is defined for two layers, the first without an MLP; this model has "
            f"{model.n_layers} layers{', with an MLP in the first' if model.has_mlp(0) else ''}."
        )


def check_reading_head(head: tuple[int, int], model: ModelConfig) -> None:
    """Raise unless it is a head of the last layer, from where the answer is read."""
    last = model.n_layers - 1
    if head[0] != last or not 0 <= head[1] < model.n_heads:
        raise ConfigError(
            f"L{head[0]}H{head[1]} is no head of the last layer: expected L{last}H0 to L{last}H{model.n_heads - 1}."
        )


def _check_clamp(intervention: TrainingIntervention, config: Config) -> None:
    if intervention.strength != 1 and PATTERNS.find(str(intervention.pattern)).held is None:
        raise ConfigError(
            f"strength={intervention.strength}: {intervention.pattern!r} masks attention, which has no strength; "
            f"patterns that do: {', '.join(name for name, each in PATTERNS.items() if each.held is not None)}."
        )


def _check_match(intervention: TrainingIntervention, config: Config) -> None:
    for head in intervention.heads:
        check_reading_head(head, config.model)


def _check_copy(intervention: TrainingIntervention, config: Config) -> None:
    _check_match(intervention, config)
    if len(intervention.heads) != 1:
        raise ConfigError(f"heads={intervention.heads}: the answer is read from one head.")


def _check_pair(one: TrainingIntervention, other: TrainingIntervention) -> None:
    patterns = ("clamp", "clamp_match")
    if not _overlap(one, other) or (one.kind != other.kind and not (one.kind in patterns and other.kind in patterns)):
        return
    both = f"training interventions '{one}' (from {one.start}) and '{other}' (from {other.start})"
    if KINDS[one.kind].alone:
        raise ConfigError(f"{both} overlap: stop the first before the second starts.")
    shared = sorted(set(one.heads) & set(other.heads))
    if one.kind in patterns and shared:
        raise ConfigError(f"{both} both hold head L{shared[0][0]}H{shared[0][1]}: one pattern at a time.")


def _overlap(one: TrainingIntervention, other: TrainingIntervention) -> bool:
    return (other.stop is None or one.start < other.stop) and (one.stop is None or other.start < one.stop)


for _name, _kind in {
    "ablate": Kind(needs=("heads",)),
    "clamp": Kind(needs=("heads", "pattern"), takes=("strength",), check=_check_clamp),
    "clamp_match": Kind(needs=("heads",), takes=("strength",), check=_check_match, one_answer=True),
    "clamp_layer": Kind(check=lambda _, config: check_layer_clamp(config.model), alone=True, one_answer=True),
    "clamp_copy": Kind(needs=("heads",), check=_check_copy, alone=True, one_answer=True),
    "freeze": Kind(needs=("groups",)),
    "fresh_moments": Kind(),
    "reset": Kind(needs=("groups",), takes=("every",)),
    "graft": Kind(needs=("groups", "source", "step")),
}.items():
    KINDS.add(_name, _kind, __name__)
