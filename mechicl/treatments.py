"""What is done to a model or its data *during* training, as fields of a recipe.

A treatment holds for the updates start, start + 1, ... stop - 1 (stop None: to the end), where
update s takes the weights of step s to those of step s + 1. It is a pure function of the Config
and the step, so that a treated run resumes and densifies bit for bit as any other.

    kind      what                                                              needs
    ablate    heads' outputs are 0, forward and backward                        heads
    clamp     heads' attention patterns are held (PATTERNS)                     heads, pattern
    clamp_match  heads of the last layer attend from the query to the right     heads [strength]
              label with a given strength, to the others with the rest
              (interventions.ClampMatch)
    clamp_layer  the first of two layers is perfect (interventions.ClampLayer)
    clamp_copy   the answer is read from the attention scores of a head of the  heads
              last layer (interventions.ClampCopy)
    freeze    parameters (GROUPS) are not updated, nor their Adam moments       groups
    reset     parameters are drawn anew from the init distribution, their       groups [every]
              moments cleared: at `start`, then every `every` updates
              (active forgetting: Anand et al. 2024, 2406.00053)
    data      sequences follow another SequenceConfig                           sequences
    relabel   the class -> label map is permuted anew at `start`, then every    every
              `every` updates; the last map stays in force after `stop`
    graft     the initial weights of groups are another run's (Singh et al. 2025)  groups, source, step

Evaluators recorded in training score a checkpoint under the treatments of the update that made
it (step 0: of the first): heads that were ablated or clamped are so in the evaluation, and
canonical labels are those of the map then in force. Each line of metrics.jsonl names them.
Evaluation sets otherwise follow `Config.sequences`, whatever `data` says. `series.evaluate` and
the measures take the weights as they are: pass `ablate=` to take heads out there too.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from mechicl.errors import ConfigError
from mechicl.loading import check_types
from mechicl.tasks.exemplar_label.settings import SequenceConfig

if TYPE_CHECKING:
    from mechicl.config import Config, ModelConfig

PATTERNS = {
    "uniform": "the same attention to every position so far, itself included",
    "previous": "all attention on the position before (the first: on itself)",
    "self": "all attention on the position itself",
    "forbid_previous": "as learned, but labels do not see the exemplar before them "
    "(masked before the softmax: Singh et al. 2025, Fig. 4)",
}
GROUPS = ("all", "attention", "mlp", "embeddings", "unembedding", "attention.L", "mlp.L", "layer.L")
# of the layer L, with the LayerNorm that each reads through. Unlike in OptimConfig.l2_group, 'embeddings' are the
# tables into the residual stream and what encodes pictures; 'unembedding' is the final LayerNorm and what reads it.

_USES = {
    "ablate": ("heads",),
    "clamp": ("heads", "pattern"),
    "clamp_match": ("heads", "strength"),
    "clamp_layer": (),
    "clamp_copy": ("heads",),
    "freeze": ("groups",),
    "reset": ("groups", "every"),
    "data": ("sequences", "fresh_moments"),
    "relabel": ("every",),
    "graft": ("groups", "source", "step"),
}
_OPTIONAL = (("clamp_match", "strength"), ("reset", "every"), ("data", "fresh_moments"))


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """One treatment; the module says what each kind does and which fields it needs."""

    kind: Literal[
        "ablate", "clamp", "clamp_match", "clamp_layer", "clamp_copy", "freeze", "reset", "data", "relabel", "graft"
    ]
    start: int = 0
    stop: int | None = None
    heads: tuple[tuple[int, int], ...] = ()  # (layer, head), from 0
    pattern: Literal["uniform", "previous", "self", "forbid_previous"] | None = None
    strength: float = 1.0  # clamp_match: the share of attention on the right label, 0 to 1
    groups: tuple[str, ...] = ()
    every: int | None = None
    sequences: SequenceConfig | None = None
    fresh_moments: bool = False  # data: clear Adam's moments at `start`, as a new optimiser would have them
    source: str | None = None  # graft: a run's directory, needed only when training starts; '{seed}' is
    # the run's own seed
    step: int | None = None  # graft: which of its checkpoints

    def __post_init__(self) -> None:
        check_types(self, "treatment")
        default = {f.name: f.default for f in fields(self)}
        for name in sorted({n for used in _USES.values() for n in used}):
            given, used = getattr(self, name) != default[name], name in _USES[self.kind]
            if given and not used:
                raise ConfigError(
                    f"treatment {self.kind!r} does not use {name}: it uses "
                    f"{', '.join(_USES[self.kind]) or 'nothing else'}."
                )
            if used and not given and (self.kind, name) not in _OPTIONAL:
                raise ConfigError(f"treatment {self.kind!r} needs {name}.")
        if not 0 <= self.strength <= 1:
            raise ConfigError(
                f"treatment {self.kind!r}: strength={self.strength}: expected a share of attention, 0 to 1."
            )
        if self.start < 0 or (self.stop is not None and self.stop <= self.start):
            raise ConfigError(
                f"treatment {self.kind!r}: start={self.start}, stop={self.stop}: expected 0 <= start < stop."
            )
        if self.every is not None and self.every < 1:
            raise ConfigError(f"treatment {self.kind!r}: every={self.every}: expected at least 1.")
        if self.step is not None and self.step < 0:
            raise ConfigError(f"treatment {self.kind!r}: step={self.step}: expected at least 0.")
        if self.kind == "reset" and self.start == 0:
            raise ConfigError(
                "treatment 'reset' at step 0 would only draw the initial weights again: start at 1 or later."
            )
        if self.kind == "graft" and (self.start or self.stop is not None):
            raise ConfigError("treatment 'graft' sets the initial weights: it has no start and no stop.")

    def holds(self, update: int) -> bool:
        """Whether it is in force in the update that takes step `update` to `update` + 1."""
        return self.start <= update and (self.stop is None or update < self.stop)

    def falls_on(self, update: int) -> bool:
        """Whether a repeated treatment strikes just before this update."""
        since = update - self.start
        return self.holds(update) and (since == 0 or (self.every is not None and since % self.every == 0))

    def __str__(self) -> str:
        heads = " ".join(f"L{la}H{h}" for la, h in self.heads)
        every = f"every {self.every}" if self.every else ""
        source = f"from {self.source} step {self.step}" if self.source else ""
        strength = f"{self.strength:g}" if self.kind == "clamp_match" else ""
        return " ".join(filter(None, (self.kind, self.pattern, strength, heads, *self.groups, every, source)))


def in_force(treatments: tuple[Treatment, ...], step: int) -> tuple[Treatment, ...]:
    """The treatments under which the checkpoint of a step was made: those of the update before."""
    return tuple(t for t in treatments if t.kind != "graft" and t.holds(max(0, step - 1)))


def in_groups(name: str, groups: tuple[str, ...]) -> bool:
    """Whether a parameter, by its packed or its TransformerLens name, belongs to one of the groups."""
    return any(_in_group(name, group) for group in groups)


def _in_group(name: str, group: str) -> bool:
    kind, _, layer = group.partition(".")
    if layer and not name.startswith(f"blocks.{layer}."):
        return False
    if kind in ("all", "layer"):
        return True
    if kind == "attention":
        return ".attn." in name or ".ln1." in name
    if kind == "mlp":
        return ".mlp." in name or ".ln2." in name
    last = name.startswith(("unembed.", "ln_final."))
    return last if kind == "unembedding" else not last and not name.startswith("blocks.")


def check_treatments(config: Config) -> None:
    """Refuse treatments that this run cannot have, with the reason.

    Raises:
        ConfigError: which treatment, and why.
    """
    for i, treatment in enumerate(config.treatments):
        try:
            _check(treatment, config)
        except ConfigError as error:
            raise ConfigError(f"treatments[{i}] ({treatment}): {error}") from None
    for one, other in itertools.combinations(config.treatments, 2):
        _check_pair(one, other)


def _check(treatment: Treatment, config: Config) -> None:
    model = config.model
    if treatment.start >= config.steps or (treatment.stop or 0) > config.steps:
        raise ConfigError(
            f"start={treatment.start}, stop={treatment.stop}, but the run has updates 0..{config.steps - 1}."
        )
    for layer, head in treatment.heads:
        if not (0 <= layer < model.n_layers and 0 <= head < model.n_heads):
            raise ConfigError(
                f"there is no head L{layer}H{head}: this model has layers 0..{model.n_layers - 1} "
                f"with heads 0..{model.n_heads - 1}."
            )
    if treatment.kind == "clamp_layer":
        check_layer_clamp(model)
    for head in treatment.heads:
        if treatment.kind in ("clamp_match", "clamp_copy"):
            check_reading_head(head, model)
    if treatment.kind == "clamp_copy" and len(treatment.heads) != 1:
        raise ConfigError(f"heads={treatment.heads}: the answer is read from one head.")
    for group in treatment.groups:
        _check_group(group, config)
    if treatment.kind == "relabel" and config.sequences.labels == "random":
        raise ConfigError("sequences.labels='random' draws labels per sequence: there is no map that could change.")
    if treatment.sequences is not None:
        from mechicl.tasks.exemplar_label.sequences import check

        if treatment.sequences.n_pairs != config.sequences.n_pairs:
            raise ConfigError(
                f"its n_pairs={treatment.sequences.n_pairs}, but the model is built for the run's "
                f"sequences.n_pairs={config.sequences.n_pairs}."
            )
        bank = config.bank
        check(treatment.sequences, n_classes=bank.n_classes, n_exemplars=bank.n_exemplars, n_labels=bank.labels)


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


def _check_group(group: str, config: Config) -> None:
    model = config.model
    kind, dot, layer = group.partition(".")
    known = group in GROUPS[:5] or (kind in ("attention", "mlp", "layer") and dot and layer.isdigit())
    if not known or group.endswith(".L"):
        raise ConfigError(f"there is no group {group!r}: expected one of {', '.join(GROUPS)}, with L a layer, from 0.")
    if layer and int(layer) >= model.n_layers:
        raise ConfigError(f"group {group!r}: this model has layers 0..{model.n_layers - 1}.")
    with_mlp = [la for la in range(model.n_layers) if model.has_mlp(la)]
    if kind == "mlp" and not ([la for la in with_mlp if la == int(layer)] if layer else with_mlp):
        raise ConfigError(f"group {group!r}: there is no MLP there.")


def _check_pair(one: Treatment, other: Treatment) -> None:
    patterns = ("clamp", "clamp_match")
    if not _overlap(one, other) or (one.kind != other.kind and not (one.kind in patterns and other.kind in patterns)):
        return
    both = f"treatments '{one}' (from {one.start}) and '{other}' (from {other.start})"
    if one.kind in ("data", "relabel", "clamp_layer", "clamp_copy"):
        raise ConfigError(f"{both} overlap: stop the first before the second starts.")
    shared = sorted(set(one.heads) & set(other.heads))
    if one.kind in patterns and shared:
        raise ConfigError(f"{both} both hold head L{shared[0][0]}H{shared[0][1]}: one pattern at a time.")


def _overlap(one: Treatment, other: Treatment) -> bool:
    return (other.stop is None or one.start < other.stop) and (one.stop is None or other.start < one.stop)
