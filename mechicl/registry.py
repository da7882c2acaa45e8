"""Evaluators, one entry each: everything that is said of one stands here and nowhere else.

What records, draws, tabulates or writes about evaluators goes over EVALUATORS, in its order, and asks an entry for
what it needs; `register` adds one. Nothing here computes, so that importing it is quick (`evaluators.py` has how sets
are drawn and scored, and the table of what the built-in ones ask).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from mechicl import doors
from mechicl.config import Config, SequenceConfig
from mechicl.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from mechicl.tasks.batch import TaskBatch
    from mechicl.tasks.exemplar_label.banks.bank import Bank


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """How an evaluation set is drawn, what it is for, and how it is shown."""

    name: str
    task: str = "exemplar_label"  # the kind of the task whose runs have it (tasks/base.py)
    # How its set is drawn, from the config, the run's source, a number of sequences and a generator. Of exemplars and
    # labels, instead: how the training sequences' setting is changed, and over which part of the bank.
    draw: Callable[[Config, Any, int, np.random.Generator], TaskBatch] | None = None
    sequences: Callable[[SequenceConfig], SequenceConfig] | None = None
    part: Callable[[Bank], Bank] | None = None
    applies: Callable[[Config], bool] = lambda config: True  # whether the question makes sense for a run of its task
    needs: str = "nothing"  # what `applies` asks for, in words
    label: str  # as in a legend; what stands in brackets is left out where there is little room
    meaning: str  # what its sequences are, in a few words
    favours: Literal["context", "weights", "both"]  # which strategy answers right
    colour: str
    symbol: str
    headline: str = "in_context_acc"  # the primary metric; guessing is computed from the set (`evaluators.chance`)
    quantity: str = "accuracy"  # what the headline measures, in a word, as at an axis
    answer_shown: bool = True  # whether the right label stands in the context
    # 'main': shown wherever evaluators are; 'more': recorded, and in curves and tables of phases, but not on the page;
    # 'training': sequences as in training, which have no phases and come last
    role: Literal["main", "more", "training"] = "main"

    def __post_init__(self) -> None:
        if self.draw is None and (self.sequences is None or self.part is None):
            raise ConfigError(f"evaluator {self.name!r} does not say how its set is drawn: give draw=..., or, of "
                              "exemplars and labels, sequences=... and part=....")  # fmt: skip

    def asked_of(self, config: Config) -> bool:
        """Whether a run has it: one of its task, for which the question makes sense."""
        kind = "exemplar_label" if config.task is None else config.task.kind
        return self.task == kind and self.applies(config)

    def lacking(self, config: Config) -> str:
        """What a run lacks that has it not, in words."""
        kind = "exemplar_label" if config.task is None else config.task.kind
        return self.needs if self.task == kind else f"the task {self.task!r}, not {kind!r}"

    def drawn(self, config: Config, source: Any, n: int, rng: np.random.Generator) -> Any:
        """Its set, of `n` sequences."""
        if self.draw is not None:
            return self.draw(config, source, n, rng)
        from mechicl.tasks.exemplar_label.evaluation import draw

        return draw(self, config, source, n, rng)

    @property
    def short(self) -> str:
        """The label without what stands in brackets."""
        return self.label.split(" (")[0]


EVALUATORS: dict[str, Evaluator] = {}


class Said(Mapping[str, str]):
    """Evaluator -> one thing that its entry says, of all there are, those registered later included."""

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
        ConfigError: there is one of this name.
    """
    if evaluator.name in EVALUATORS:
        raise ConfigError(f"there is an evaluator named {evaluator.name!r} already: choose another name.")
    EVALUATORS[evaluator.name] = evaluator
    doors.note("evaluator", evaluator.name)
    return evaluator


def applying(config: Config) -> list[str]:
    """Names of the evaluators that a run records."""
    return [name for name, e in EVALUATORS.items() if e.asked_of(config)]


def main(config: Config | None = None) -> list[str]:
    """Those that are shown everywhere; given a run's config, of those that it records."""
    return [name for name, e in EVALUATORS.items() if e.role == "main" and (config is None or e.asked_of(config))]


def main_in_context(config: Config) -> list[str]:
    """Those of `main` whose right label stands in the context, where attention can find it."""
    return [name for name in main(config) if EVALUATORS[name].answer_shown]


def with_phases() -> list[str]:
    """Those whose curves have phases: all but training's own sequences."""
    return [name for name, e in EVALUATORS.items() if e.role != "training"]


def on_page() -> list[str]:
    """Those whose numbers the page has, training's own sequences last."""
    return main() + [name for name, e in EVALUATORS.items() if e.role == "training"]


def leading(names: Collection[str]) -> str | None:
    """Of these, the one whose phases are those of ICL: the first shown everywhere that only the context answers."""
    return next((name for name in main() if name in names and EVALUATORS[name].favours == "context"), None)


def quantity(config: Config) -> str:
    """What a run's headlines measure, as at an axis that several share."""
    return " or ".join(dict.fromkeys(EVALUATORS[name].quantity for name in main(config)))


LOWEST_SHOWN = -0.5  # of gains, which have no least value: an axis goes down so far


def floor(config: Config) -> float:
    """Where the axis of a run's headlines begins: at 0, which is the least accuracy, or at LOWEST_SHOWN."""
    return 0.0 if all(EVALUATORS[name].quantity == "accuracy" for name in main(config)) else LOWEST_SHOWN


def looked_at(config: Config) -> str:
    """The evaluator on whose sequences one looks first: that which leads, or the first that the run has."""
    names = main(config)
    return leading(names) or names[0]


def _labels_of_classes(config: Config) -> bool:
    """Whether a class has a label of its own. Not where few labels are dealt out anew in every sequence."""
    return config.sequences.labels != "random" or config.bank.labels >= config.bank.n_classes


def _relabelled(config: Config) -> bool:
    return not _labels_of_classes(config)


def _two_classes(labels: str) -> Callable[[SequenceConfig], SequenceConfig]:
    def setting(trained: SequenceConfig) -> SequenceConfig:
        if trained.n_pairs % 2:
            raise ConfigError(
                f"sequences.n_pairs={trained.n_pairs}: the icl and flip evaluators fill the context "
                "with two classes, n_pairs/2 each, so n_pairs must be even."
            )
        return _evaluation(trained, burstiness=trained.n_pairs // 2, labels=labels)

    return setting


def _no_support(copy_query_label: bool) -> Callable[[SequenceConfig], SequenceConfig]:
    return lambda trained: _evaluation(
        trained, burstiness=0, rest="unique", copy_query_label=copy_query_label
    )


def _evaluation(trained: SequenceConfig, **changes) -> SequenceConfig:
    """Everything fixed but context length and noise, which are the task's."""
    return SequenceConfig(n_pairs=trained.n_pairs, noise=trained.noise, distinct_labels=True, **changes)


def _as_trained(trained: SequenceConfig) -> SequenceConfig:
    """As in training, but that classes which share a label do not meet: unless labels are dealt out anew, when
    their own say nothing."""
    return replace(trained, distinct_labels=trained.distinct_labels or trained.labels != "random")


def _dealt(pairs: Literal["trained", "held_out"]) -> Callable[[SequenceConfig], SequenceConfig]:
    """Labels dealt out as in training, over these pairs; classes and exemplars uniform, as in every evaluator."""
    return lambda trained: replace(trained, label_pairs=pairs, zipf=0.0, exemplars="replacement")


def _train(bank: Bank) -> Bank:
    return bank.train()


def _new_classes(bank: Bank) -> Bank:
    """Of each, as many exemplars as are trained on: with one, matching needs no generalisation within a class."""
    return bank.holdout_classes().first(len(bank.exemplars), bank.n_exemplars)


_FIXED = "a label of each class's own (sequences.labels='canonical', or as many labels as classes)"
_DEALT = "few labels that are dealt out anew in every sequence (sequences.labels='random', bank.n_labels < n_classes)"

# Okabe & Ito's palette, with IWL, CIWL and Train moved: its pink, green and grey are one to a colour-blind reader.
# Scales have other hues (figures/scales.py). Evaluators that no run has both of may share a colour and a symbol.
for _evaluator in (
    Evaluator(
        name="train", sequences=_as_trained, part=_train, applies=lambda config: True, needs="nothing",
        label="Train", meaning="sequences as in training", favours="both", colour="#ABABAB", symbol="x",
        role="training",
    ),
    Evaluator(
        name="icl", sequences=_two_classes("binary"), part=_train, applies=_labels_of_classes, needs=_FIXED,
        label="ICL", meaning="new labels in context", favours="context", colour="#0072B2", symbol="circle",
    ),
    Evaluator(
        name="flip", sequences=_two_classes("swapped"), part=_train, applies=_labels_of_classes, needs=_FIXED,
        label="Flip", meaning="labels swapped in context", favours="context", colour="#E69F00", symbol="square",
    ),
    Evaluator(
        name="ciwl", sequences=_no_support(True), part=_train, applies=_labels_of_classes, needs=_FIXED,
        label="CIWL", meaning="label on a wrong exemplar", favours="weights", colour="#009668", symbol="triangle-up",
    ),
    Evaluator(
        name="iwl", sequences=_no_support(False), part=_train, applies=_labels_of_classes, needs=_FIXED,
        label="IWL (full vocabulary)", meaning="label not in context", favours="weights", colour="#C8501E",
        symbol="diamond", headline="acc", answer_shown=False,
    ),
    Evaluator(
        name="icl_holdout", sequences=_two_classes("binary"), part=lambda bank: bank.holdout_classes(),
        applies=lambda config: _labels_of_classes(config) and config.bank.n_holdout_classes >= 2,
        needs=f"at least 2 held-out classes (raise bank.n_holdout_classes) and {_FIXED}",
        label="ICL, held-out classes", meaning="classes never trained on", favours="context", colour="#56B4E9",
        symbol="star", role="more",
    ),
    Evaluator(
        name="holdout_pairs", sequences=_dealt("held_out"), part=_train,
        applies=lambda config: _relabelled(config) and config.sequences.held_out_pairs > 0,
        needs=f"sequences.held_out_pairs of at least 1, and {_DEALT}",
        label="Held-out label pairs (all labels)", meaning="labels never trained on together", favours="context",
        colour="#0072B2", symbol="circle", headline="acc",
    ),
    Evaluator(
        name="holdout_classes", sequences=_dealt("trained"), part=_new_classes,
        applies=lambda config: _relabelled(config) and config.bank.n_holdout_classes >= 2,
        needs=f"at least 2 held-out classes (raise bank.n_holdout_classes), and {_DEALT}",
        label="Held-out classes (all labels)", meaning="classes never trained on", favours="context",
        colour="#009668", symbol="triangle-up", headline="acc",
    ),
    Evaluator(
        name="holdout_exemplars", sequences=_dealt("trained"), part=lambda bank: bank.holdout_exemplars(),
        applies=lambda config: _relabelled(config) and config.bank.n_holdout_exemplars >= 1,
        needs=f"bank.n_holdout_exemplars of at least 1, and {_DEALT}",
        label="Held-out exemplars (all labels)", meaning="exemplars never trained on", favours="context",
        colour="#E69F00", symbol="square", headline="acc",
    ),
):  # fmt: skip
    register(_evaluator)
